"""Probes on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.base.clock import VirtualClock
from carob.kubelet.ports import PortFailure, resolve_port
from carob.kubelet.probes.check import check
from carob.kubelet.probes.manager import Probes
from carob.kubelet.probes.outcome import Outcome
from carob.kubelet.probes.state import ProbeState
from carob.runtime.types import ContainerConfig, SandboxConfig
from tests.fakes.runtime import FakeRuntime
from tests.unit.kubelet.pods import container, pod

OK, BAD, ERROR = Outcome.SUCCESS, Outcome.FAILURE, Outcome.ERROR


def probe(**fields: Any) -> core_v1.Probe:
    return codec.from_tree(core_v1.Probe, fields)


def test_thresholds_count_outcomes_in_a_row() -> None:
    state = ProbeState(probe(failureThreshold=3, successThreshold=2), True)
    assert [state.take(o) for o in (BAD, BAD, OK, BAD, BAD, BAD)] == [False] * 5 + [True]
    assert state.passing is False
    assert [state.take(o) for o in (OK, BAD, OK, OK)] == [False, False, False, True]
    assert state.passing is True


def test_what_could_not_be_tried_says_nothing() -> None:
    state = ProbeState(probe(failureThreshold=1), True)
    assert not state.take(ERROR)
    assert state.passing is True


def test_ports_by_name() -> None:
    made = container(ports=[{"name": "http", "containerPort": 8080}])
    assert resolve_port(made, "http") == 8080
    assert resolve_port(made, 80) == 80
    for port in ("other", 0, 70_000):
        with pytest.raises(PortFailure):
            resolve_port(made, port)


class Recorder:
    """Keeps events."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def event(self, regarding: Any, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        self.told.append((reason, message, field_path))


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.runtime = FakeRuntime(self.clock.now)
        self.recorder = Recorder()
        self.changed: list[str] = []
        self.probes = Probes(self.runtime, self.clock, self.recorder, self.changed.append)  # type: ignore[arg-type]
        self.code = 0

    async def container(self, **probes: Any) -> str:
        """A running container with these probes."""
        self.runtime.add_image("web:1", Cmd=["serve"])
        sandbox = await self.runtime.run_sandbox(SandboxConfig(name="p", namespace="default", uid="u-1"))
        container_id = await self.runtime.create_container(sandbox.id, ContainerConfig(name="web", image="web:1"))
        await self.runtime.start_container(container_id)
        made = container(**probes)
        self.probes.sync(pod(), "127.0.0.1", {container_id: made}, terminating=False)
        return container_id

    def answers(self, code: int) -> None:
        self.runtime.programs[("ask",)] = (code, b"", b"went wrong" if code else b"")


def in_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        task = asyncio.get_running_loop().create_task(world.probes.run())
        try:
            await body(world)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


ASK = {"exec": {"command": ["ask"]}, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 1}


def test_a_container_without_probes_is_ready() -> None:
    async def body(world: World) -> None:
        container_id = await world.container()
        assert world.probes.is_ready(container_id)
        assert world.probes.is_started(container_id)

    in_world(body)


def test_readiness_comes_with_the_first_success_after_its_delay() -> None:
    async def body(world: World) -> None:
        world.answers(0)
        container_id = await world.container(readinessProbe=ASK | {"initialDelaySeconds": 3})
        assert not world.probes.is_ready(container_id)
        await world.clock.advance(2.9)
        assert not world.probes.is_ready(container_id)
        await world.clock.advance(0.2)
        assert world.probes.is_ready(container_id)
        assert world.changed == ["u-1"]
        world.answers(1)
        await world.clock.advance(5)
        assert world.probes.is_ready(container_id)
        await world.clock.advance(5)
        assert not world.probes.is_ready(container_id)
        assert world.recorder.told[0] == (
            "Unhealthy",
            "Readiness probe failed: went wrong",
            "spec.containers{web}",
        )

    in_world(body)


def test_a_server_that_listens_a_moment_later_is_ready_at_once() -> None:
    async def body(world: World) -> None:
        world.answers(1)
        container_id = await world.container(readinessProbe=ASK | {"failureThreshold": 1})
        await world.clock.advance(0.05)
        world.answers(0)
        await world.clock.advance(0.1)
        assert world.probes.is_ready(container_id)
        # being asked too early is nothing to tell people
        assert world.recorder.told == []

    in_world(body)


def test_a_failed_liveness_probe_asks_for_an_end_once() -> None:
    async def body(world: World) -> None:
        world.answers(1)
        container_id = await world.container(livenessProbe=ASK | {"terminationGracePeriodSeconds": 7})
        await world.clock.advance(4)
        assert world.probes.kills == {}
        await world.clock.advance(5)
        kill = world.probes.kills[container_id]
        assert kill.message == "Container web failed liveness probe, will be restarted"
        assert kill.grace_seconds == 7.0
        asked = len(world.runtime.calls)
        await world.clock.advance(60)
        assert len(world.runtime.calls) == asked
        world.probes.sync(pod(), "", {}, terminating=False)
        assert world.probes.kills == {}

    in_world(body)


def test_nothing_else_is_asked_before_the_startup_probe_has_succeeded() -> None:
    async def body(world: World) -> None:
        world.answers(1)
        never = {"exec": {"command": ["true"]}}
        container_id = await world.container(startupProbe=ASK | {"failureThreshold": 10}, readinessProbe=never)
        await world.clock.advance(6)
        assert not world.probes.is_started(container_id)
        assert not world.probes.is_ready(container_id)
        world.answers(0)
        await world.clock.advance(5)
        assert world.probes.is_started(container_id)
        assert world.probes.is_ready(container_id)
        calls = len(world.runtime.calls)
        await world.clock.advance(8)
        # the startup probe has done its work and is not asked again
        assert len(world.runtime.calls) == calls

    in_world(body)


def test_only_readiness_is_asked_while_the_pod_ends() -> None:
    async def body(world: World) -> None:
        world.answers(0)
        container_id = await world.container(livenessProbe=ASK, readinessProbe=ASK)
        await world.clock.advance(1)
        world.probes.sync(pod(), "127.0.0.1", {container_id: container()}, terminating=True)
        world.answers(1)
        await world.clock.advance(30)
        assert world.probes.kills == {}
        assert not world.probes.is_ready(container_id)

    in_world(body)


def test_a_restarted_agent_believes_what_the_api_was_told() -> None:
    async def body(world: World) -> None:
        world.answers(1)
        container_id = await world.container()
        told = {"name": "web", "containerID": f"carob://{container_id}", "ready": True, "started": True}
        known = pod(status={"containerStatuses": [told]})
        made = container(readinessProbe=ASK, startupProbe=ASK)
        world.probes.sync(known, "127.0.0.1", {container_id: made}, terminating=False)
        assert world.probes.is_started(container_id)
        assert world.probes.is_ready(container_id)
        await world.clock.advance(1)
        assert world.probes.is_ready(container_id)
        await world.clock.advance(5)
        assert not world.probes.is_ready(container_id)
        assert world.probes.is_started(container_id)

    in_world(body)


def test_exec_that_cannot_run_is_an_error() -> None:
    async def main() -> None:
        runtime = FakeRuntime()
        outcome, text = await check(runtime, container(), probe(exec={"command": ["x"]}), "gone", "")
        assert outcome is ERROR
        assert "not found" in text
        # a command that cannot be begun says nothing of the container either
        runtime = FakeRuntime()
        sandbox = await runtime.run_sandbox(SandboxConfig(name="p", uid="u-1", namespace="default"))
        runtime.add_image("i")
        made = await runtime.create_container(sandbox.id, ContainerConfig(name="c", image="i"))
        await runtime.start_container(made)
        outcome, text = await check(runtime, container(), probe(exec={"command": ["nope"]}), made, "")
        assert outcome is ERROR
        assert "executable file not found" in text

    asyncio.run(main())


def test_redirects_are_followed_on_the_same_host() -> None:
    """Source: test/e2e/common/node/container_probe.go (local and non-local redirects)."""
    places = {
        "/to-bad": "/bad",
        "/to-good": "good?x=1",
        "/elsewhere": "http://other.example/",
        "/round": "/round",
        "/other-port": "http://127.0.0.1:1/",
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        if path in places:
            writer.write(f"HTTP/1.1 302 Found\r\nContent-Length: 5\r\nLocation: {places[path]}\r\n\r\nmoved".encode())
        else:
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % (500 if path == "/bad" else 200))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def ask(path: str) -> tuple[Outcome, str]:
            asked = probe(timeoutSeconds=5, httpGet={"path": path, "port": port})
            return await check(FakeRuntime(), container(), asked, "c", "127.0.0.1")

        assert await ask("/to-good") == (OK, "ok")
        assert await ask("/to-bad") == (BAD, "HTTP probe failed with statuscode: 500")
        assert await ask("/elsewhere") == (Outcome.WARNING, "Probe terminated redirects, Response body: moved")
        assert await ask("/round") == (BAD, f'Get "http://127.0.0.1:{port}/round": stopped after 10 redirects')
        outcome, text = await ask("/other-port")
        assert outcome is BAD
        assert "connection refused" in text
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_http_and_tcp_probes_over_a_socket() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # a TCP probe says nothing
            writer.close()
            return
        status = 503 if head.startswith(b"GET /bad") else 200
        assert b"x-test: 1\r\n" in head or status == 503
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        made = container(ports=[{"name": "http", "containerPort": port}])
        headers = [{"name": "x-test", "value": "1"}]
        runtime = FakeRuntime()

        async def ask(**fields: Any) -> tuple[Outcome, str]:
            return await check(runtime, made, probe(timeoutSeconds=5, **fields), "c", "127.0.0.1")

        assert await ask(httpGet={"path": "good", "port": "http", "httpHeaders": headers}) == (OK, "ok")
        assert await ask(httpGet={"path": "/bad", "port": port}) == (BAD, "HTTP probe failed with statuscode: 503")
        assert await ask(tcpSocket={"port": "http"}) == (OK, "")
        server.close()
        await server.wait_closed()
        refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        assert await ask(tcpSocket={"port": port}) == (BAD, refused)
        assert await ask(httpGet={"path": "/", "port": port}) == (BAD, f'Get "http://127.0.0.1:{port}/": {refused}')
        assert await ask(httpGet={"path": "/", "port": "none"}) == (ERROR, "couldn't find port: none")

    asyncio.run(main())


def test_grpc_probes_speak_enough_http2() -> None:
    states = {b"": 1, b"sick": 2}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        writer.write(b"\0\0\0\x04\0\0\0\0\0")
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == 1:
                assert b"/grpc.health.v1.Health/Check" in payload
            if head[3] == 0:
                break
        service = payload[7:]
        # a field of one byte behind five bytes of prefix; headers and trailers are not looked at
        answer = b"\0\0\0\0\x02\x08" + bytes([states[service]]) if service in states else b""
        writer.write(b"\0\0\x01\x01\x04\0\0\0\x01\x88")
        if answer:
            writer.write(len(answer).to_bytes(3, "big") + b"\0\0\0\0\0\x01" + answer)
        writer.write(b"\0\0\x01\x01\x05\0\0\0\x01\x88")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def ask(**grpc: Any) -> tuple[Outcome, str]:
            asked = probe(timeoutSeconds=5, grpc={"port": port} | grpc)
            return await check(FakeRuntime(), container(), asked, "c", "127.0.0.1")

        assert await ask() == (OK, "service healthy")
        assert await ask(service="sick") == (BAD, 'service unhealthy (responded with "NOT_SERVING")')
        outcome, text = await ask(service="unknown")
        assert outcome is BAD
        assert "does not implement the grpc health protocol" in text
        server.close()
        await server.wait_closed()
        outcome, text = await ask()
        assert outcome is BAD
        assert text == f'timeout: failed to connect service "127.0.0.1:{port}" within 5s: context deadline exceeded'

    asyncio.run(main())
