"""The kubeconfig keeps what is not ours and forgets what is."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
import yaml

from carob.client import kubeconfig
from carob.client.kubeconfig import KubeconfigError

FOREIGN = """\
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: work
  cluster: {server: "https://work:6443", certificate-authority: ca.crt}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: team}
current-context: work
users:
- name: me
  user: {tokenFile: token}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", f"{path}:{tmp_path / 'second'}")
    return path


def merge(name: str = "carob-x", server: str = "https://127.0.0.1:6443") -> None:
    kubeconfig.merge_context(
        name, server=server, certificate_authority=b"CA", client_certificate=b"CERT", client_key=b"KEY"
    )


def test_a_context_is_added_beside_what_is_there_and_taken_out_again(config: Path) -> None:
    config.write_text(FOREIGN)
    before = yaml.safe_load(FOREIGN)
    merge()
    merge(server="https://127.0.0.1:7443")
    tree = yaml.safe_load(config.read_text())
    assert tree["current-context"] == "carob-x"
    assert tree["preferences"] == {"colors": True}
    assert [c["name"] for c in tree["clusters"]] == ["work", "carob-x"]
    assert tree["clusters"][1]["cluster"] == {
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
        "server": "https://127.0.0.1:7443",
    }
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    kubeconfig.remove_context("carob-x")
    assert yaml.safe_load(config.read_text()) == before


def test_further_servers_are_kept_as_an_extension_that_kubectl_passes_over(config: Path) -> None:
    others = ("https://127.0.0.1:7443", "https://127.0.0.1:7444")
    kubeconfig.merge_context(
        "x",
        server="https://127.0.0.1:6443",
        certificate_authority=b"",
        client_certificate=b"",
        client_key=b"",
        further=others,
    )
    read = kubeconfig.access("x")
    assert (read.server, read.further_servers) == ("https://127.0.0.1:6443", others)
    merge("y")
    assert kubeconfig.access("y").further_servers == ()


def test_a_file_that_only_had_our_context_goes_with_it(config: Path) -> None:
    merge()
    assert config.exists()
    kubeconfig.remove_context("carob-x")
    assert list(config.parent.iterdir()) == []
    kubeconfig.remove_context("carob-x")


def test_two_clusters_come_and_go_in_any_order(config: Path) -> None:
    merge("carob-a")
    merge("carob-b")
    kubeconfig.remove_context("carob-a")
    assert yaml.safe_load(config.read_text())["current-context"] == "carob-b"
    kubeconfig.remove_context("carob-b")
    assert not config.exists()


@pytest.mark.parametrize("text", ["[1, 2]", "clusters: {a: b}", "a: [", "contexts: [{}]"])
def test_what_is_no_kubeconfig_is_left_alone(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(KubeconfigError, match=str(config)):
        merge()
    assert config.read_text() == text
    assert list(config.parent.iterdir()) == [config]


def test_a_symbolic_link_stays_one(config: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text(FOREIGN)
    config.symlink_to(real)
    merge()
    assert config.is_symlink()
    assert "carob-x" in real.read_text()


def test_access_reads_the_current_context_and_relative_files(config: Path) -> None:
    config.write_text(FOREIGN)
    (config.parent / "ca.crt").write_text("PEM")
    found = kubeconfig.access()
    assert found.server == "https://work:6443"
    assert found.namespace == "team"
    assert found.ca_data == b"PEM"
    assert found.token_file == str(config.parent / "token")


def test_files_of_the_list_are_merged_and_the_first_wins(config: Path) -> None:
    merge("carob-x", "http://127.0.0.1:1")
    second = config.parent / "second"
    second.write_text(
        '{"contexts": [{"name": "carob-x", "context": {}}, {"name": "y", "context": {"cluster": "c"}}],'
        ' "clusters": [{"name": "c", "cluster": {"server": "http://y"}}], "current-context": "y"}'
    )
    assert kubeconfig.access().server == "http://127.0.0.1:1"
    assert kubeconfig.access().key_data == b"KEY"
    assert kubeconfig.access("y").server == "http://y"
    kubeconfig.access("y").transport()


@pytest.mark.parametrize(
    ("context", "says"),
    [("", "no context is chosen"), ("nobody", '"nobody" does not exist'), ("bare", "names no cluster")],
)
def test_an_unusable_context_says_why(config: Path, context: str, says: str) -> None:
    config.write_text('{"contexts": [{"name": "bare", "context": {}}]}')
    with pytest.raises(KubeconfigError, match=says):
        kubeconfig.access(context)
