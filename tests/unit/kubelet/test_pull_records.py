"""Who may use an image that another Pod's secret has brought to the node. Source: KEP-2535."""

from __future__ import annotations

from pathlib import Path

import pytest

from carob.kubelet.credentials import PullSecret
from carob.kubelet.pull_records import ALLOW_LISTED, ALWAYS_VERIFY, NEVER_VERIFY, PRELOADED, PullRecords, policy
from carob.runtime.types import RegistryAuth

IMAGE, ID = "reg.example/team/app:1", "sha256:aa"


def secret(name: str = "pull", password: str = "secret", namespace: str = "default") -> PullSecret:
    auth = RegistryAuth(username="carob", password=password)
    return PullSecret(namespace, name, f"uid-of-{namespace}-{name}", auth)


def records(folder: Path, name: str = PRELOADED, *allowed: str) -> PullRecords:
    return PullRecords(str(folder), policy(name, allowed))


def test_what_nobody_here_pulled_is_everybodys(tmp_path: Path) -> None:
    assert records(tmp_path).accessible(IMAGE, ID, ())
    assert not records(tmp_path, ALWAYS_VERIFY).accessible(IMAGE, ID, ())


def test_what_a_secret_opened_is_open_to_who_brings_it(tmp_path: Path) -> None:
    found = records(tmp_path)
    found.begin(IMAGE)
    found.pulled(IMAGE, ID, secret())
    # also after the agent has started again
    for one in (found, records(tmp_path)):
        assert one.accessible(IMAGE, ID, [secret()])
        assert one.accessible(IMAGE, ID, [secret("other", password="wrong"), secret()])
        assert one.accessible(IMAGE, ID, [secret("the-same-credentials", namespace="elsewhere")])
        assert one.accessible(IMAGE, ID, [secret(password="rotated")]), "the same secret with newer credentials"
        assert not one.accessible(IMAGE, ID, ())
        assert not one.accessible(IMAGE, ID, [secret("stranger", password="another")])
        assert not one.accessible("other.example/app:1", ID, [secret()]), "the same image, of another registry"
    assert records(tmp_path, NEVER_VERIFY).accessible(IMAGE, ID, ())


def test_what_needs_no_secret_is_everybodys_for_good(tmp_path: Path) -> None:
    found = records(tmp_path)
    found.pulled(IMAGE, ID, secret())
    found.pulled(IMAGE, ID, None)
    found.pulled(IMAGE, ID, secret())
    assert found.accessible(IMAGE, ID, ())
    assert records(tmp_path).accessible("reg.example/team/app:2", ID, ())


def test_a_pull_in_which_the_agent_was_killed_leaves_nothing_open(tmp_path: Path) -> None:
    records(tmp_path).begin(IMAGE)
    again = records(tmp_path)
    assert not again.accessible(IMAGE, ID, ())
    again.failed(IMAGE)
    assert again.accessible(IMAGE, ID, ())
    assert records(tmp_path).accessible(IMAGE, ID, ())


def test_what_is_no_longer_on_the_node_is_forgotten(tmp_path: Path) -> None:
    found = records(tmp_path)
    found.pulled(IMAGE, ID, secret())
    found.keep({"sha256:bb"})
    assert records(tmp_path).accessible(IMAGE, ID, ())
    assert not list((tmp_path / "pulled").iterdir())


def test_a_broken_record_is_left_aside(tmp_path: Path) -> None:
    found = records(tmp_path)
    found.pulled(IMAGE, ID, secret())
    (file,) = (tmp_path / "pulled").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("{")
    assert records(tmp_path).accessible(IMAGE, ID, ())


@pytest.mark.parametrize(
    ("pattern", "open_"), [("reg.example/team/app", True), ("reg.example/*", True), ("reg.example/team", False)]
)
def test_listed_images_need_no_secret(tmp_path: Path, pattern: str, open_: bool) -> None:
    assert records(tmp_path, ALLOW_LISTED, pattern).accessible(IMAGE, ID, ()) is open_
