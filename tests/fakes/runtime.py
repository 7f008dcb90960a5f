"""A runtime without containers, for tests of whoever drives one: it keeps the seam's promises in memory.

It passes the contract suite (`tests/contracts/test_runtime.py`) wherever no kernel is needed. A test ends processes by
`finish`, `kill_pause`; makes verbs fail by `fail_next`; gives command results by `programs`; reads `calls`.

Commands: what ends with `exit N` (as in `sh -c "…; exit N"`) ends at once with N, `echo WORDS` before it is written to
the log and to exec's output (`>&2`: standard error), `true` and `false` end with 0 and 1, `nope` does not exist;
everything else runs until it is stopped, and dies of TERM at once unless it says `trap`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Sequence

from carob.runtime.types import (
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    Duplex,
    Exited,
    FilesystemUsage,
    Image,
    NotFound,
    Process,
    RegistryAuth,
    Resources,
    RuntimeFailure,
    RuntimeHandler,
    RuntimeStatus,
    SandboxConfig,
    SandboxState,
    SandboxStats,
    SandboxStatus,
)

Program = tuple[int, bytes, bytes]
"""Exit code, standard output, standard error."""

_ECHO = re.compile(r"echo (?P<words>[^;>&]+)(?P<error>>&2)?")
_EXIT = re.compile(r"exit (?P<code>\d+)\s*$")


class FakeRuntime:
    """Implements `Runtime`. `network_ip` numbers the Pods from 10.42.0.2 on."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.calls: list[tuple[str, str]] = []
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.configs: dict[str, ContainerConfig] = {}
        self.images: dict[str, Image] = {}
        self.pullable: dict[str, Image] = {}
        """What a registry would have: `pull_image` finds it here."""
        self.groups: dict[str, Resources] = {}
        self.silent = False
        """Nobody answers when the runtime is asked how it is."""
        self.health = RuntimeStatus(handlers=[RuntimeHandler("", recursive_readonly_mounts=True)])
        self.programs: dict[tuple[str, ...], Program] = {}
        self.stats: dict[str, ContainerStats] = {}
        self.sandbox_counters: dict[str, SandboxStats] = {}
        self.ports: dict[tuple[str, int], Duplex] = {}
        self._now = now
        self._numbers = itertools.count(1)
        self._addresses = itertools.count(2)
        self._subscribers: list[Callable[[Exited], None]] = []
        self._ended: dict[str, asyncio.Event] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, list[Exception]] = {}
        self._start_failures: dict[str, str] = {}

    # --- what a test does to it

    def add_image(self, name: str, **config: object) -> Image:
        """An image that is on the node already."""
        image = Image(id=f"sha256:{name}", tags=[name], digests=[f"{name}@sha256:{'0' * 64}"], config=dict(config))
        self.images[name] = image
        return image

    def fail_next(self, verb: str, error: Exception) -> None:
        """The next call of this verb raises."""
        self._failures.setdefault(verb, []).append(error)

    def forgive(self) -> None:
        """No call fails any more."""
        self._failures.clear()

    def finish(self, container_id: str, code: int = 0, reason: str = "", message: str = "") -> None:
        """A running container ends."""
        status = self.containers[container_id]
        if status.state is ContainerState.EXITED:
            return
        status.state, status.exit_code, status.finished_at = ContainerState.EXITED, code, self._now()
        status.reason, status.message = reason or ("Completed" if code == 0 else "Error"), message
        status.pid = 0
        timer = self._timers.pop(container_id, None)
        if timer is not None:
            timer.cancel()
        self._ended[container_id].set()
        self._notify(Exited(status.sandbox_id, container_id))

    def kill_pause(self, sandbox_id: str) -> None:
        """The sandbox's pause process ends."""
        sandbox = self.sandboxes[sandbox_id]
        if sandbox.state is SandboxState.READY:
            sandbox.state = SandboxState.NOT_READY
            self._notify(Exited(sandbox_id, ""))

    def _notify(self, exited: Exited) -> None:
        for subscriber in self._subscribers:
            subscriber(exited)

    def _called(self, verb: str, what: str) -> None:
        self.calls.append((verb, what))
        waiting = self._failures.get(verb)
        if waiting:
            raise waiting.pop(0)

    def _container(self, container_id: str) -> ContainerStatus:
        if container_id not in self.containers:
            raise NotFound(f'container "{container_id}": not found')
        return self.containers[container_id]

    def _sandbox(self, sandbox_id: str) -> SandboxStatus:
        if sandbox_id not in self.sandboxes:
            raise NotFound(f'sandbox "{sandbox_id}": not found')
        return self.sandboxes[sandbox_id]

    # --- the seam

    async def start(self) -> None:
        self._called("start", "")

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def subscribe(self, exited: Callable[[Exited], None]) -> None:
        self._subscribers.append(exited)

    async def version(self) -> tuple[str, str]:
        return "fake", "0"

    async def status(self) -> RuntimeStatus:
        self._called("status", "")
        if self.silent:
            raise TimeoutError("Deadline Exceeded")
        return self.health

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        self._called("run_sandbox", config.uid)
        number = next(self._numbers)
        status = SandboxStatus(
            id=f"sandbox-{number}",
            config=config,
            state=SandboxState.READY,
            created_at=self._now(),
            ips=[f"10.42.0.{next(self._addresses)}"] if config.network.value == "pod" else [],
            pause_pid=10_000 + number,
        )
        self.sandboxes[status.id] = status
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self._called("stop_sandbox", sandbox_id)
        if sandbox_id not in self.sandboxes:
            return
        for container in list(self.containers.values()):
            if container.sandbox_id == sandbox_id:
                self.finish(container.id, 137)
        self.kill_pause(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        self._called("remove_sandbox", sandbox_id)
        for container in [c for c in self.containers.values() if c.sandbox_id == sandbox_id]:
            del self.containers[container.id]
        self.sandboxes.pop(sandbox_id, None)

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self._sandbox(sandbox_id)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        return list(self.sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        self._called("create_container", config.name)
        sandbox = self._sandbox(sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise RuntimeFailure(f'sandbox "{sandbox_id}" is not ready', "CreateContainerError")
        image = await self.image_status(config.image)
        if image is None:
            raise RuntimeFailure(f'image "{config.image}": not found', "CreateContainerError")
        new_id = f"container-{next(self._numbers)}"
        log_directory = sandbox.config.log_directory
        self.containers[new_id] = ContainerStatus(
            id=new_id,
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            created_at=self._now(),
            image=config.image_spec or config.image,
            image_id=image.digests[0] if image.digests else image.id,
            labels=config.labels,
            annotations=config.annotations,
            log_path=f"{log_directory}/{config.log_path}" if config.log_path and log_directory else "",
            stop_signal=config.stop_signal or str(image.config.get("StopSignal") or "") or "SIGTERM",
            resources=config.resources,
        )
        self.configs[new_id] = config
        self._ended[new_id] = asyncio.Event()
        return new_id

    def command(self, container_id: str) -> tuple[str, ...]:
        """What the container runs, by Kubernetes' rules."""
        config = self.configs[container_id]
        image = self.images.get(config.image, Image(id=""))
        command, args = list(config.command or ()), list(config.args or ())
        if not command:
            command = list(image.config.get("Entrypoint") or ())
            args = args or list(image.config.get("Cmd") or ())
        return tuple(command + args)

    def _run(self, command: Sequence[str]) -> Program | None:
        """None: it runs on."""
        known = self.programs.get(tuple(command))
        if known is not None:
            return known
        text = " ".join(command)
        if text in ("true", "false"):
            return int(text == "false"), b"", b""
        outputs = {True: b"", False: b""}
        for echo in _ECHO.finditer(text):
            outputs[bool(echo["error"])] += echo["words"].strip().encode() + b"\n"
        ended = _EXIT.search(text)
        if ended is None and not (command and command[0] == "echo"):
            return None
        return int(ended["code"]) if ended else 0, outputs[False], outputs[True]

    async def start_container(self, container_id: str) -> None:
        self._called("start_container", container_id)
        status = self._container(container_id)
        if status.state is not ContainerState.CREATED:
            raise RuntimeFailure(f'container "{container_id}" is in {status.state} state', "RunContainerError")
        command = self.command(container_id)
        if command and command[0] == "nope":
            words = 'exec: "nope": executable file not found in $PATH: unknown'
            message = f"OCI runtime create failed: unable to start container process: {words}"
            self.finish(container_id, 128, "StartError", message)
            raise RuntimeFailure(message, "RunContainerError")
        status.state, status.started_at, status.pid = ContainerState.RUNNING, self._now(), next(self._numbers) + 20_000
        result = self._run(command)
        if result is not None:
            asyncio.get_running_loop().call_soon(self.finish, container_id, result[0])

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        self._called("stop_container", container_id)
        status = self.containers.get(container_id)
        if status is None or status.state is ContainerState.EXITED:
            return
        if status.state is ContainerState.CREATED or grace_seconds <= 0:
            self.finish(container_id, 137)
            return
        if "trap" not in " ".join(self.command(container_id)):
            self.finish(container_id, 143)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(container_id)
        if timer is None or timer.when() > loop.time() + grace_seconds:
            if timer is not None:
                timer.cancel()
            self._timers[container_id] = loop.call_later(grace_seconds, self.finish, container_id, 137)
        await self._ended[container_id].wait()

    async def remove_container(self, container_id: str) -> None:
        self._called("remove_container", container_id)
        if container_id in self.containers:
            self.finish(container_id, 137)
            del self.containers[container_id]

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._container(container_id)

    async def list_containers(self) -> list[ContainerStatus]:
        return list(self.containers.values())

    async def set_group_resources(self, path: str, resources: Resources) -> None:
        self.groups[path] = resources

    async def update_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        self._called("update_sandbox_resources", sandbox_id)
        self._sandbox(sandbox_id).config.resources = resources

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        self._called("update_resources", container_id)
        self._container(container_id).resources = resources

    async def reopen_log(self, container_id: str) -> None:
        self._called("reopen_log", container_id)
        self._container(container_id)

    def _running(self, container_id: str) -> ContainerStatus:
        status = self._container(container_id)
        if status.state is not ContainerState.RUNNING:
            raise RuntimeFailure(f'container "{container_id}" is not running')
        return status

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0.0, *, keep_bytes: int = 16 << 10
    ) -> tuple[int, bytes, bytes]:
        self._called("exec_sync", container_id)
        self._running(container_id)
        refused = self._refused(command)
        if refused is not None:
            raise RuntimeFailure(refused[2].decode().strip())
        result = self._run(command)
        if result is None:
            await asyncio.sleep(timeout_seconds)
            raise TimeoutError(f"command {list(command)!r} timed out after {timeout_seconds:g}s")
        return result

    def _refused(self, command: Sequence[str]) -> Program | None:
        if command[0] != "nope":
            return None
        words = 'exec: "nope": executable file not found in $PATH: unknown'
        text = f"OCI runtime exec failed: exec failed: unable to start container process: {words}\r\n"
        return 127, b"", text.encode()

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        self._called("exec", container_id)
        self._running(container_id)
        return FakeProcess(self._refused(command) or self._run(command), stdin)

    async def attach(self, container_id: str) -> Process:
        self._called("attach", container_id)
        self._running(container_id)
        return FakeProcess(None, self.configs[container_id].stdin)

    async def port_forward(self, sandbox_id: str, port: int) -> Duplex:
        self._called("port_forward", sandbox_id)
        self._sandbox(sandbox_id)
        if (sandbox_id, port) not in self.ports:
            raise ConnectionError(f"failed to connect to localhost:{port} inside sandbox {sandbox_id}")
        return self.ports[sandbox_id, port]

    async def sandbox_stats(self) -> list[SandboxStats]:
        ready = [one.id for one in self.sandboxes.values() if one.state is SandboxState.READY]
        return [self.sandbox_counters.get(i) or SandboxStats(id=i, timestamp=self._now()) for i in ready]

    async def container_stats(self, *, disk: bool = True) -> list[ContainerStats]:
        running = [c.id for c in self.containers.values() if c.state is ContainerState.RUNNING]
        return [self.stats.get(i) or ContainerStats(id=i, timestamp=self._now(), process_count=1) for i in running]

    async def image_status(self, name: str) -> Image | None:
        for image in self.images.values():
            if name in (image.id, *image.tags, *image.digests):
                return image
        return None

    async def list_images(self) -> list[Image]:
        return list(self.images.values())

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        self._called("pull_image", name)
        if name not in self.pullable:
            raise RuntimeFailure(f'failed to pull and unpack image "{name}": not found', "ErrImagePull")
        self.images[name] = self.pullable[name]
        return self.images[name]

    async def remove_image(self, name: str) -> None:
        self._called("remove_image", name)
        found = await self.image_status(name)
        self.images = {key: image for key, image in self.images.items() if image is not found}

    async def image_filesystem(self) -> FilesystemUsage:
        return FilesystemUsage(mountpoint="/", used_bytes=0, capacity_bytes=1 << 40, available_bytes=1 << 40)


class FakeProcess:
    """A command with a known result, or one that echoes its input until that ends."""

    def __init__(self, result: Program | None, stdin: bool) -> None:
        self._pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(64)
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._stdin = stdin
        self.sizes: list[tuple[int, int]] = []
        if result is not None:
            code, out, err = result
            for piece in ((1, out), (2, err)):
                if piece[1]:
                    self._pieces.put_nowait(piece)
            self._end(code)

    def _end(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)
            self._pieces.put_nowait(None)

    async def read(self) -> tuple[int, bytes] | None:
        return await self._pieces.get()

    async def write(self, data: bytes) -> None:
        if self._stdin and not self._code.done():
            await self._pieces.put((1, data))

    async def close_stdin(self) -> None:
        self._end(0)

    def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def close(self) -> None:
        self._end(0)
