"""Streams under load: a gigabyte through kubectl cp, hundreds at once, readers that do not read, ends in mid-stream.

python -m tests.soaking.streams [MEGABYTES]
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.cluster import Bench
from carob.api import codec
from carob.api.types import core_v1
from carob.base.ids import SystemRandomness
from carob.transport.stream_clients import ForwardedConnection, RemoteCommand, open_port_forward, open_remote_command
from carob.wire.remotecommand import exit_code_of
from tests.soaking import traces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.client.rest import Client

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from kubectls import kubectl

NAME = "soak-streams"
AT_ONCE = 200
CONNECTIONS = 100
MOST_GROWTH_BYTES = 96 << 20
"""Of a process while streams are open: each has buffers of at most two megabytes, whatever goes through them."""
PIECE = 1 << 20
PATH = "/api/v1/namespaces/default/pods/"


def main() -> int:
    """0 when all went well and nothing is left."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with tempfile.TemporaryDirectory(prefix="carob-soak-") as folder:
        bench = Bench(Path(folder), NAME)
        bench.up()
        try:
            bench.image()
            wrong = uvloop.run(soak(bench, megabytes))
        finally:
            bench.down()
    print("\n".join(wrong) or "all streams came through, and nothing is left of them")
    return 1 if wrong else 0


async def soak(bench: Bench, megabytes: int) -> list[str]:
    """What is wrong, a line each."""
    wrong: list[str] = []
    async with bench.client() as client:
        await _run(client, "target")
        await _many_execs(client, 5)
        await asyncio.sleep(2)
        before, was = traces.look(bench), traces.memory(bench)
        jobs: tuple[tuple[str, Callable[[], Awaitable[list[str]]]], ...] = (
            ("cp", lambda: _copy(bench, megabytes)),
            ("exec", lambda: _many_execs(client, AT_ONCE)),
            ("attach", lambda: _many_attaches(client, AT_ONCE)),
            ("port-forward", lambda: _many_connections(client, CONNECTIONS)),
            ("slow readers", lambda: _slow_readers(client, 20)),
            ("death", lambda: _death(client)),
        )
        for name, work in jobs:
            started = time.monotonic()
            peak = asyncio.get_running_loop().create_task(_peak(bench))
            try:
                async with asyncio.timeout(540):
                    found = await work()
            except (TimeoutError, ConnectionError, AssertionError) as error:
                found = [f"{type(error).__name__} {error}"]
            peak.cancel()
            highest = await peak
            grown = {part: highest[part] - was[part] for part in was}
            shown = ", ".join(f"{part} +{more >> 20} MiB" for part, more in grown.items())
            print(f"{name}: {time.monotonic() - started:.1f} s, {shown}", file=sys.stderr)
            wrong += [f"{name}: {line}" for line in found]
            wrong += [
                f"{name}: {part} grew by {more >> 20} MiB" for part, more in grown.items() if more > MOST_GROWTH_BYTES
            ]
    await asyncio.sleep(2)
    return wrong + await asyncio.to_thread(traces.settled, bench, before)


async def _peak(bench: Bench) -> dict[str, int]:
    """The highest memory of each process until cancelled."""
    highest = traces.memory(bench)
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.25)
            for part, now in traces.memory(bench).items():
                highest[part] = max(highest[part], now)
    return highest


async def _run(client: Client, name: str) -> None:
    container = {"name": "c", "image": "carob.local/web:v1", "stdin": True}
    tree = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    await client.create(codec.from_tree(core_v1.Pod, tree))
    async with client.watch(
        core_v1.Pod, "default", field_selector=f"metadata.name={name}", send_initial_events=True
    ) as events:
        async for event in events:
            pod = event.object
            if isinstance(pod, core_v1.Pod) and any(
                c.type == "Ready" and c.status == "True" for c in pod.status.conditions
            ):
                return


# -- kubectl cp


async def _copy(bench: Bench, megabytes: int) -> list[str]:
    """There and back again, by an unmodified kubectl."""
    source, back = bench.folder / "source", bench.folder / "back"
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(megabytes):
            piece = os.urandom(PIECE)
            digest.update(piece)
            file.write(piece)
    program = kubectl("1.37")
    for words in ((str(source), "target:/tmp/copy"), ("target:/tmp/copy", str(back))):
        done = await asyncio.to_thread(_kubectl_cp, bench, program, words)
        if done.returncode != 0:
            return [f"kubectl cp {' '.join(words)}: {done.stderr}"]
    found = await asyncio.to_thread(lambda: hashlib.sha256(back.read_bytes()).hexdigest())
    source.unlink()
    back.unlink()
    return [] if found == digest.hexdigest() else ["what came back differs"]


def _kubectl_cp(bench: Bench, program: Path, words: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, "cp", *words], env=bench.environment, capture_output=True, text=True)


# -- hundreds at once


async def _open(client: Client, verb: str, query: str, pod: str = "target") -> RemoteCommand:
    return await open_remote_command(client.transport, f"{PATH}{pod}/{verb}", query, SystemRandomness())


async def _many_execs(client: Client, count: int) -> list[str]:
    """Each says something of its own, and hears it back."""

    async def one(number: int) -> bool:
        command = await _open(client, "exec", "container=c&command=cat&stdin=true&stdout=true&stderr=true")
        await command.write(f"{number}\n".encode())
        command.close_stdin()
        heard = b""
        while (piece := await command.read()) is not None:
            heard += piece[1]
        return heard == f"{number}\n".encode() and exit_code_of(command.status) == 0

    return await _failures(one, count)


async def _many_attaches(client: Client, count: int) -> list[str]:
    """All are open at the same time, then all leave."""
    commands = await asyncio.gather(
        *(_open(client, "attach", "container=c&stdout=true&stderr=true") for _ in range(count)), return_exceptions=True
    )
    opened = [one for one in commands if isinstance(one, RemoteCommand)]
    for command in opened:
        command.close()
    return [] if len(opened) == count else [f"{count - len(opened)} of {count} could not attach"]


async def _many_connections(client: Client, count: int) -> list[str]:
    """Each asks for the page, over one session a tenth of them."""

    async def session(number: int) -> bool:
        async with await open_port_forward(
            client.transport, f"{PATH}target/portforward", SystemRandomness()
        ) as forward:
            answers = await asyncio.gather(*(ask(forward.connect(8080)) for _ in range(10)))
        return all(b"Hello from a Pod" in answer for answer in answers)

    async def ask(connection: ForwardedConnection) -> bytes:
        await connection.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := await connection.read():
            answer += piece
        return answer

    return await _failures(session, count // 10)


async def _failures(one: Callable[[int], Awaitable[bool]], count: int) -> list[str]:
    results = await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)
    bad = [result for result in results if result is not True]
    return [f"{len(bad)} of {count} failed, such as {bad[0]!r}"] if bad else []


# -- slow readers, and ends


async def _slow_readers(client: Client, count: int) -> list[str]:
    """Commands that never stop talking to somebody who does not listen."""
    commands = await asyncio.gather(
        *(_open(client, "exec", "container=c&command=yes&stdout=true&stderr=true") for _ in range(count))
    )
    await asyncio.sleep(10)
    for command in commands:
        command.close()
    killed = await _open(client, "exec", "container=c&command=killall&command=-9&command=yes&stdout=true&stderr=true")
    while await killed.read() is not None:
        pass
    return []


async def _death(client: Client) -> list[str]:
    """The container ends under its streams: each of them hears of it."""
    await _run(client, "mortal")
    commands = [
        await _open(client, "exec", "container=c&command=sleep&command=3600&stdout=true&stderr=true", "mortal")
        for _ in range(10)
    ]
    commands.append(await _open(client, "attach", "container=c&stdout=true&stderr=true", "mortal"))
    async with await open_port_forward(client.transport, f"{PATH}mortal/portforward", SystemRandomness()) as forward:
        connection = forward.connect(8080)
        await client.delete(core_v1.Pod, "mortal", "default")
        for command in commands:
            while await command.read() is not None:
                pass
        with contextlib.suppress(ConnectionError):
            while await connection.read():
                pass
    wrong = [one for one in commands[:10] if exit_code_of(one.status) == 0]
    return [f"{len(wrong)} commands of a dead container ended well"] if wrong else []


if __name__ == "__main__":
    sys.exit(main())
