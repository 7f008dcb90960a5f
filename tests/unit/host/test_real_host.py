"""The real host's verbs that need no root."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from carob.host.events import wait_child, wait_readable, watch_arrivals
from carob.host.real import RealHost
from carob.host.types import Identity, Redirect


@pytest.fixture
def host() -> RealHost:
    return RealHost()


def test_an_atomic_write_replaces_the_whole(host: RealHost, tmp_path: Path) -> None:
    path = tmp_path / "file"
    host.write_atomic(str(path), b"long before", mode=0o644)
    host.write_atomic(str(path), b"short", sync=True)
    assert path.read_bytes() == b"short"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_atomic_write_keeps_the_old(host: RealHost, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        host.write_atomic(str(tmp_path / "file"), b"x")
    assert os.listdir(tmp_path) == ["file"]


def test_folders_are_made_with_those_above(host: RealHost, tmp_path: Path) -> None:
    path = str(tmp_path / "a/b/c")
    with pytest.raises(FileNotFoundError):
        host.mkdir(path, parents=False)
    assert host.mkdir(path)
    assert not host.mkdir(path)
    assert host.folders(str(tmp_path)) == ["a"]


def test_a_tree_is_removed_without_following_links(host: RealHost, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    deep = tree.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (deep / "file").write_text("x")
    host.rmtree(str(tree))
    host.rmtree(str(tree))
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_unlinking_what_is_gone_succeeds(host: RealHost, tmp_path: Path) -> None:
    host.unlink(str(tmp_path / "none"))


def test_a_child_is_spawned_with_its_descriptors_and_reaped(host: RealHost) -> None:
    async def body() -> None:
        receive, send = os.pipe2(os.O_CLOEXEC)
        try:
            script = "echo $WORD; ls -l /proc/self/fd/0 | grep -c /dev/null; exit 3"
            pid = host.spawn(["/bin/sh", "-c", script], {"WORD": "hello", "PATH": "/bin:/usr/bin"}, [Redirect(1, send)])
            os.close(send)
            assert await wait_child(pid) == 3
            await wait_readable(receive)
            assert os.read(receive, 100) == b"hello\n1\n"
        finally:
            os.close(receive)

    asyncio.run(body())


def test_an_identity_is_one_process_and_no_zombie(host: RealHost) -> None:
    async def body() -> None:
        pid = host.spawn(["/bin/sleep", "100"], {}, session=True)
        process = host.identity(pid)
        assert process is not None
        assert not host.kill(Identity(pid, process.start_ticks + 1), signal.SIGKILL)
        assert host.identity(pid) == process
        assert host.kill(process, signal.SIGKILL)
        assert await wait_child(pid) == -signal.SIGKILL
        assert host.identity(pid) is None
        assert not host.kill(process, signal.SIGKILL)

    asyncio.run(body())


def test_files_renamed_into_a_folder_are_told(tmp_path: Path) -> None:
    async def body() -> None:
        seen: list[str] = []
        told = asyncio.Event()

        def appeared(name: str) -> None:
            seen.append(name)
            if len(seen) == 2:
                told.set()

        watch = watch_arrivals(str(tmp_path), appeared, lambda: None)
        RealHost().create(str(tmp_path / "not-renamed"))
        for name in ("one", "two"):
            RealHost().write_atomic(str(tmp_path / name), b"")
        async with asyncio.timeout(10):
            await told.wait()
        watch.close()
        watch.close()
        assert seen == ["one", "two"]

    asyncio.run(body())


def test_overwriting_never_shortens(host: RealHost, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        host.overwrite(str(path), b"x")
    host.create(str(path), b'{"long": true}')
    host.overwrite(str(path), b"{}")
    assert path.read_bytes() == b"{}            "
    host.overwrite(str(path), b'{"longer": "than before"}')
    assert path.read_bytes() == b'{"longer": "than before"}'
