"""Kill -9 under load, twenty times over: nothing that was acknowledged is lost, and no revision is given out twice."""

from __future__ import annotations

import asyncio
import random
import sys
import zlib
from pathlib import Path

import pytest

from carob.store.sqlite import SqliteStore

ROUNDS = 20
WRITERS = 16

# Prints `revision key checksum` behind each acknowledged write; updates and deletes are among them.
WRITER = """
import asyncio, os, random, sys, zlib
from pathlib import Path
from carob.store.sqlite import SqliteStore

async def main(path, round_number, inline):
    store = SqliteStore(path)
    store._pace.inline = inline
    async def write(writer):
        count = 0
        while True:
            key = f"/{round_number}/{writer}/{count}"
            count += 1
            value = random.randbytes(random.randint(0, 3000))
            revision = await store.create(key, value)
            os.write(1, f"{revision} {key} {zlib.crc32(value)}\\n".encode())
            if count % 3 == 0:
                value = random.randbytes(random.randint(0, 3000))
                revision = await store.update(key, value, revision)
                os.write(1, f"{revision} {key} {zlib.crc32(value)}\\n".encode())
            if count % 5 == 0:
                revision = await store.delete(key, revision)
                os.write(1, f"{revision} {key} -\\n".encode())
    await asyncio.gather(*(write(writer) for writer in range(int(sys.argv[4]))))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "inline"))
"""


async def crash(path: Path, round_number: int, mode: str, seconds: float) -> list[tuple[int, str, str]]:
    """Let a child write until it is killed; return what it acknowledged, without a torn last line."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), str(round_number), mode, str(WRITERS), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    first = await child.stdout.readline()
    reading = asyncio.get_running_loop().create_task(child.stdout.read())
    await asyncio.sleep(seconds)
    child.kill()
    await child.wait()
    lines = (first + await reading).decode().split("\n")[:-1]
    parts = [line.split() for line in lines]
    return [(int(revision), key, checksum) for revision, key, checksum in parts]


async def verify(path: Path, acknowledged: dict[int, tuple[str, str]], new: list[tuple[int, str, str]]) -> None:
    for revision, key, checksum in new:
        assert revision not in acknowledged, f"revision {revision} was given out twice"
        acknowledged[revision] = (key, checksum)
    store = SqliteStore(path)
    assert store.revision >= max(acknowledged)
    there: dict[int, tuple[str, str]] = {}

    def note(events: object) -> None:
        for event in events:  # type: ignore[attr-defined]
            assert event.revision not in there
            there[event.revision] = (event.key, "-" if event.value is None else str(zlib.crc32(event.value)))

    oldest = min(revision for revision, _, _ in new)
    await store.watch("", oldest - 1, note)  # type: ignore[arg-type]
    lost = [revision for revision, key, checksum in new if there.get(revision) != (key, checksum)]
    assert not lost, f"{len(lost)} acknowledged writes are lost, the first at revision {lost[0]}"
    assert sorted(there) == list(range(oldest, store.revision + 1)), "the log has holes"
    await store.close()


@pytest.mark.slow
def test_kill_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    print(f"seed {seed}")

    async def main() -> int:
        acknowledged: dict[int, tuple[str, str]] = {}
        for number in range(ROUNDS):
            mode = "inline" if number % 2 else "threaded"
            new = await crash(tmp_path / "state.db", number, mode, moments.uniform(0.02, 0.25))
            await verify(tmp_path / "state.db", acknowledged, new)
        store = SqliteStore(tmp_path / "state.db")
        assert store.revision >= max(acknowledged)
        await store.close()
        return len(acknowledged)

    count = asyncio.run(main())
    print(f"{count} acknowledged writes, none lost")
    assert count > ROUNDS * WRITERS
