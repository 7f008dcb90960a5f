"""Reading, choosing, following and rotating container logs."""

from __future__ import annotations

import asyncio
import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.kubelet.log_choice import NoLog, log_container_id
from carob.kubelet.log_requests import BadQuery, log_options
from carob.kubelet.log_rotation import tidy
from carob.kubelet.log_stream import LogStream
from carob.kubelet.logs import LogOptions, LogWriter, seek_tail
from carob.kubelet.termination_message import termination_message


def stamp(second: int) -> str:
    return f"2026-11-23T05:53:{second:02d}.123456789+00:00"


LOG = (
    f"{stamp(1)} stdout F one\n"
    f"{stamp(2)} stderr F two\n"
    f"{stamp(3)} stdout P thr\n"
    f"{stamp(3)} stdout F ee\n"
    f"{stamp(4)} stdout F \n"
).encode()


def shown(data: bytes = LOG, piece: int = 1 << 20, **options: Any) -> bytes:
    out: list[bytes] = []
    writer = LogWriter(LogOptions(**options), out.append)
    for start in range(0, len(data), piece):
        writer.feed(data[start : start + piece])
    writer.finish()
    return b"".join(out)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_lines_are_put_together_from_any_pieces(piece: int) -> None:
    assert shown(piece=piece) == b"one\ntwo\nthree\n\n"


def test_time_stamps_stand_before_lines_only() -> None:
    # conmon writes UTC as an offset, Go as Z
    third = b"2026-11-23T05:53:03.123456789Z three\n"
    assert third in shown(timestamps=True)
    assert shown(timestamps=True).startswith(b"2026-11-23T05:53:01.123456789Z one\n")


def test_one_stream_only() -> None:
    assert shown(stream="stderr") == b"two\n"


def test_since_leaves_out_what_is_older() -> None:
    from carob.base.clock import parse_rfc3339

    assert shown(since=parse_rfc3339("2026-11-23T05:53:03Z")) == b"three\n\n"


def test_a_limit_cuts_in_the_middle_of_a_line() -> None:
    assert shown(limit_bytes=5) == b"one\nt"
    assert shown(limit_bytes=0) == b""


def test_bytes_that_are_no_text_pass_through() -> None:
    assert shown(f"{stamp(1)} stdout F ".encode() + b"\xff\x00\n") == b"\xff\x00\n"


@pytest.mark.parametrize(
    ("lines", "wanted"), [(None, b"a\nb\nc\n"), (0, b""), (1, b"c\n"), (2, b"b\nc\n"), (9, b"a\nb\nc\n")]
)
def test_the_tail(lines: int | None, wanted: bytes) -> None:
    stream = io.BytesIO(b"a\nb\nc\n")
    seek_tail(stream, lines)
    assert stream.read() == wanted


def test_the_tail_of_a_large_and_unfinished_file() -> None:
    stream = io.BytesIO(b"".join(b"%06d\n" % i for i in range(50_000)) + b"end")
    seek_tail(stream, 2)
    assert stream.read() == b"049999\nend"


def status(**entry: Any) -> core_v1.PodStatus:
    return codec.from_tree(core_v1.PodStatus, {"containerStatuses": [{"name": "c"} | entry]})


ENDED = {"terminated": {"exitCode": 1, "containerID": "carob://old"}}


@pytest.mark.parametrize(
    ("entry", "previous", "wanted"),
    [
        ({"state": {"running": {}}, "containerID": "carob://new"}, False, "carob://new"),
        ({"state": {"running": {}}, "containerID": "carob://new", "lastState": ENDED}, True, "carob://old"),
        ({"state": ENDED}, False, "carob://old"),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED}, False, "carob://old"),
    ],
)
def test_which_container_is_meant(entry: dict[str, Any], previous: bool, wanted: str) -> None:
    assert log_container_id("p", status(**entry), "c", previous=previous) == wanted


@pytest.mark.parametrize(
    ("entry", "previous", "words"),
    [
        ({"state": {"running": {}}}, True, 'previous terminated container "c" in pod "p" not found'),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, False, "is waiting to start: ContainerCreating"),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, False, "is waiting to start: image can't be pulled"),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff"}}},
            False,
            "is waiting to start: trying and failing to pull image",
        ),
    ],
)
def test_why_there_is_no_log(entry: dict[str, Any], previous: bool, words: str) -> None:
    with pytest.raises(NoLog, match=words):
        log_container_id("p", status(**entry), "c", previous=previous)


def test_the_query() -> None:
    query = {"follow": ["true"], "tailLines": ["3"], "sinceSeconds": ["10"], "stream": ["Stdout"]}
    assert log_options(query, 100.0) == LogOptions(follow=True, tail_lines=3, since=90.0, stream="stdout")
    with pytest.raises(BadQuery, match="tailLines"):
        log_options({"tailLines": ["x"]}, 0.0)


class FakeSink:
    """Keeps what is written; `written` wakes who waits for it."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False
        self.changed = asyncio.Event()
        self._callbacks: list[Any] = []

    def write(self, data: Any) -> None:
        self.data += data
        self.changed.set()

    @property
    def buffered(self) -> int:
        return 0

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.closed = True
        self.changed.set()

    def abort(self) -> None:
        self.close()

    def on_close(self, callback: Any) -> None:
        self._callbacks.append(callback)

    def leave(self) -> None:
        for callback in self._callbacks:
            callback()

    async def until(self, wanted: bytes) -> None:
        async with asyncio.timeout(30):
            while self.data != wanted:
                self.changed.clear()
                await self.changed.wait()


def following(folder: Path, body: Any) -> None:
    async def main() -> None:
        path = folder / "0.log"
        append(path, f"{stamp(1)} stdout F one\n")
        sink = FakeSink()
        alive = [True]
        stream = LogStream(str(path), LogOptions(follow=True), sink, lambda: alive[0])
        task = asyncio.get_running_loop().create_task(stream.run())
        try:
            async with asyncio.timeout(30):
                await body(path, sink, stream, alive, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def rotate(path: Path) -> None:
    path.rename(f"{path}.20261123-055300")


def test_a_followed_log_goes_on_until_the_container_has_ended(tmp_path: Path) -> None:
    async def body(path: Path, sink: FakeSink, stream: LogStream, alive: list[bool], task: Any) -> None:
        await sink.until(b"one\n")
        append(path, f"{stamp(2)} stdout F two\n")
        await sink.until(b"one\ntwo\n")
        append(path, f"{stamp(3)} stdout F last\n")
        alive[0] = False
        stream.wake()
        await task
        assert sink.data == b"one\ntwo\nlast\n"
        assert sink.closed

    following(tmp_path, body)


def test_a_followed_log_goes_on_across_rotation(tmp_path: Path) -> None:
    async def body(path: Path, sink: FakeSink, stream: LogStream, alive: list[bool], task: Any) -> None:
        await sink.until(b"one\n")
        append(path, f"{stamp(2)} stdout F two\n")
        rotate(path)
        append(path, f"{stamp(3)} stdout F three\n")
        await sink.until(b"one\ntwo\nthree\n")

    following(tmp_path, body)


def test_a_follower_that_leaves_ends_the_stream(tmp_path: Path) -> None:
    async def body(path: Path, sink: FakeSink, stream: LogStream, alive: list[bool], task: Any) -> None:
        await sink.until(b"one\n")
        sink.leave()
        await task

    following(tmp_path, body)


def test_old_logs_are_compressed_and_the_oldest_removed(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("now")
    for number in range(5):
        (tmp_path / f"0.log.2026112{number}-000000").write_text(f"old {number}")
    tidy(str(path), 4)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["0.log", "0.log.20261122-000000.gz", "0.log.20261123-000000.gz", "0.log.20261124-000000"]
    assert gzip.decompress((tmp_path / names[1]).read_bytes()) == b"old 2"


def test_last_words(tmp_path: Path) -> None:
    file, log = tmp_path / "message", tmp_path / "0.log"
    log.write_bytes(LOG)
    assert termination_message(str(file), "File", str(log), 1) == ""
    assert termination_message(str(file), "FallbackToLogsOnError", str(log), 0) == ""
    assert termination_message(str(file), "FallbackToLogsOnError", str(log), 1) == "one\ntwo\nthree\n\n"
    file.write_text("x" * 5000)
    assert termination_message(str(file), "FallbackToLogsOnError", str(log), 1) == "x" * 4096
