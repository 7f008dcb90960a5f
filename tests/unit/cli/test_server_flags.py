"""What `carob server --store` understands, and how it says what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from carob.cli import server
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags


def parsed(*given: str) -> Arguments:
    flags = Flags("carob server")
    server.add_flags(flags)
    return flags.parse(given)


def test_members_are_named_with_or_without_a_port() -> None:
    layout = server.store_of(parsed("--store", "etcd://10.0.0.1:2379,ten,[::1],[::1]:4,"))
    assert layout.endpoints == ["10.0.0.1:2379", "ten:2379", "[::1]:2379", "[::1]:4"]


def test_certificates_are_absolute_and_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    given = ("--store", "etcd://a", "--etcd-cafile", "ca", "--etcd-certfile", "cert")
    layout = server.store_of(parsed(*given, "--etcd-keyfile", "key"))
    assert (layout.ca_file, layout.key_file) == (str(tmp_path / "ca"), str(tmp_path / "key"))
    with pytest.raises(CommandError, match="belong together"):
        server.store_of(parsed(*given))
    with pytest.raises(CommandError, match="is not a file"):
        server.store_of(parsed("--store", "etcd://a", "--etcd-cafile", "nowhere"))


@pytest.mark.parametrize("url", ["etcd://", "http://a:2379", "a:2379", "etcd://a:0", "etcd://a:port", "etcd://a:70000"])
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(CommandError, match="--store"):
        server.store_of(parsed("--store", url))


def test_terms_that_let_two_lead_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    given = ("--store", "etcd://a", "--data-dir", str(tmp_path / "data"), "--leader-elect-renew-deadline", "15s")
    with pytest.raises(CommandError, match="must be longer"):
        server.run(parsed(*given))
    with pytest.raises(CommandError, match="--peer-servers"):
        server.run(parsed("--store", "etcd://a", "--data-dir", str(tmp_path / "data"), "--peer-servers", "nonsense"))
    assert not (tmp_path / "data").exists()
