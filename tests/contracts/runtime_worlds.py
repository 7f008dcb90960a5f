"""Where the runtime's contract is tried: over the fake, and over the real machine.

A world runs a test's body with a runtime, can restart the agent under it, and knows what is left of it afterwards.
The real one works in a thread of its own: the cluster's mount namespace is that thread's, not the test process's.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.host.cgroup import Cgroups
from carob.host.real import RealHost
from carob.host.types import Host
from carob.runtime.cri.client import CriRuntime
from carob.runtime.cri.events import Events, announcing
from carob.runtime.cri.server import CriServer
from carob.runtime.embedded import mount_namespace
from carob.runtime.embedded.cleanup import remove_everything
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.runtime import EmbeddedRuntime
from carob.runtime.types import (
    ContainerConfig,
    FilesystemUsage,
    Image,
    NetworkRequest,
    RegistryAuth,
    Resources,
    Runtime,
    SandboxConfig,
)
from tests.containerd import Containerd, load_pause, ptp
from tests.fakes.runtime import FakeRuntime

IMAGE = "carob.local/busybox:1"
APPLETS = (
    "sh sleep cat ls ps id echo true false tail stty tty mount umount grep head hostname nc env kill touch dd mknod"
)
APPLETS += " mkdir chmod wc yes printf readlink test"
_numbers = itertools.count(1)

Body = Callable[[Runtime], Coroutine[Any, Any, None]]


class World(Protocol):
    """What a contract test needs besides the runtime."""

    real: bool
    logs: Path

    def run(self, *bodies: Body) -> None:
        """Each body with an agent of its own, one after the other, over the same machine."""
        ...


def sandbox(world: World, **changes: Any) -> SandboxConfig:
    """A sandbox as the kubelet would ask for it."""
    number = next(_numbers)
    uid = f"{number:08d}-0000-4000-8000-000000000000"
    asked: dict[str, Any] = {
        "name": f"pod-{number}",
        "namespace": "default",
        "uid": uid,
        "hostname": f"pod-{number}",
        "log_directory": str(world.logs / uid),
        "cgroup_parent": f"/carob-{CLUSTER}/kubepods/burstable/pod{uid}",
        "resources": Resources(cpu_shares=512),
    }
    return SandboxConfig(**{**asked, **changes})


def container(*command: str, **changes: Any) -> ContainerConfig:
    """A container as the kubelet would ask for it."""
    asked: dict[str, Any] = {"name": "main", "image": IMAGE, "command": list(command), "log_path": "main/0.log"}
    return ContainerConfig(**{**asked, **changes})


CLUSTER = f"test-{os.getpid()}"


class FakeWorld:
    """The fake keeps its memory from one body to the next, as the machine does."""

    real = False

    def __init__(self, logs: Path) -> None:
        self.logs = logs

    def run(self, *bodies: Body) -> None:
        async def all_of_them() -> None:
            fake = FakeRuntime()
            fake.add_image(IMAGE, Cmd=["sleep", "1000"])
            for body in bodies:
                await fake.start()
                await body(fake)

        asyncio.run(all_of_them())


class OneImage:
    """An image store that holds one image: a root folder with busybox."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config: dict[str, Any] = {"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin", "COLOUR=image"]}

    async def image_status(self, name: str) -> Image | None:
        return Image(id="sha256:" + "b" * 64, tags=[IMAGE], config=self.config) if name == IMAGE else None

    async def layers(self, image_id: str) -> AsyncIterator[str]:
        yield str(self.root)

    async def list_images(self) -> list[Image]:
        raise NotImplementedError

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        raise NotImplementedError

    async def remove_image(self, name: str) -> None:
        raise NotImplementedError

    async def image_filesystem(self) -> FilesystemUsage:
        return FilesystemUsage(mountpoint="/", used_bytes=1, capacity_bytes=1 << 40, available_bytes=1 << 40)


class NoNetwork:
    """Gives addresses that lead nowhere and remembers who has one."""

    def __init__(self) -> None:
        self.attached: set[str] = set()

    def attach(self, request: NetworkRequest) -> list[str]:
        self.attached.add(request.sandbox_id)
        return [f"10.254.0.{len(self.attached)}"]

    def detach(self, request: NetworkRequest) -> None:
        self.attached.discard(request.sandbox_id)

    def status(self) -> str:
        return ""


class RealWorld:
    """The embedded runtime on this machine, below one folder."""

    real = True

    def __init__(self, folder: Path) -> None:
        busybox_root(folder / "image")
        self._open(folder)

    def _open(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.places = Places(str(folder / "state"), str(folder / "run"))
        self.network = NoNetwork()
        self.images = OneImage(folder / "image")
        self.host: Host = RealHost()

    @classmethod
    def again(cls, folder: Path) -> RealWorld:
        """The same world seen from another process."""
        made = cls.__new__(cls)
        made._open(folder)
        return made

    def runtime(self) -> EmbeddedRuntime:
        """A new agent; call it on the loop, in the world's thread."""
        return EmbeddedRuntime(
            host=self.host,
            clock=SystemClock(),
            randomness=SystemRandomness(),
            places=self.places,
            network=self.network,
            images=self.images,
        )

    def run(self, *bodies: Body) -> None:
        async def one(body: Body) -> None:
            agent = self.runtime()
            await agent.start()
            try:
                await body(agent)
            finally:
                await agent.close()

        def all_of_them() -> None:
            mount_namespace.enter(RealHost(), self.places)
            for body in bodies:
                asyncio.run(one(body))

        in_a_thread(all_of_them)

    def clear(self) -> None:
        """Remove everything, as `carob down` does."""
        assert remove_everything(RealHost(), CLUSTER, self.places.state_dir, self.places.run_dir) == []


class ServedWorld:
    """A runtime once more, by way of its CRI socket: our client speaks to our server."""

    def __init__(self, behind: World, socket: Path) -> None:
        self.real = behind.real
        self._behind = behind
        self.logs = behind.logs
        self.socket = socket

    def run(self, *bodies: Body) -> None:
        def with_socket(body: Body) -> Body:
            async def served(runtime: Runtime) -> None:
                async with serving(runtime, self.socket), driving(f"unix:{self.socket}") as client:
                    await body(client)

            return served

        self._behind.run(*map(with_socket, bodies))


class ContainerdWorld:
    """Debian's containerd with runc, driven by our client."""

    real = True

    def __init__(self, folder: Path, run: Path) -> None:
        self.logs = folder / "logs"
        self._folder = folder
        self._containerd = Containerd(
            folder / "containerd", run, ptp(f"10.254.{os.getpid() % 250 + 1}.0/24", folder / "addresses")
        )

    def start(self) -> None:
        """Bring it up, with the images that the contract needs."""
        self._containerd.start()
        load_pause(self._containerd)
        root = busybox_root(self._folder / "image")
        self._containerd.load(IMAGE, root, {"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin", "COLOUR=image"]})

    def run(self, *bodies: Body) -> None:
        async def one(body: Body) -> None:
            async with driving(self._containerd.endpoint) as client:
                try:
                    await body(client)
                finally:
                    for sandbox_ in await client.list_sandboxes():
                        await client.remove_sandbox(sandbox_.id)

        async def all_but_last(body: Body) -> None:
            async with driving(self._containerd.endpoint) as client:
                await body(client)

        for body in bodies[:-1]:
            asyncio.run(all_but_last(body))
        asyncio.run(one(bodies[-1]))

    def stop(self) -> None:
        """Leave the machine as it was."""
        self._containerd.stop()
        cgroups = Cgroups(RealHost())
        cgroups.remove(f"/carob-{CLUSTER}")


@asynccontextmanager
async def serving(runtime: Runtime, socket: Path) -> AsyncIterator[CriServer]:
    """A runtime's CRI socket."""
    events = Events()
    server = CriServer(
        announcing(runtime, events),
        events,
        socket,
        SystemClock(),
        SystemRandomness(),
        cgroup_parent=f"/carob-{CLUSTER}/cri",
    )
    try:
        await server.listen()
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def driving(endpoint: str) -> AsyncIterator[CriRuntime]:
    """The client of a CRI socket."""
    client = CriRuntime(endpoint, RealHost(), SystemClock(), CLUSTER)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@contextmanager
def open_world() -> Iterator[RealWorld]:
    """A world whose files everybody gets to, as below /var/lib: pytest's own folders are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="carob-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    made = RealWorld(folder)
    try:
        yield made
    finally:
        made.clear()
        left = traces(folder)
        shutil.rmtree(folder)
    assert left == []


def in_a_thread(work: Callable[[], None]) -> None:
    """Run it apart, and raise here what it raises."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def busybox_root(folder: Path) -> Path:
    """A root file system made of the machine's own static busybox."""
    for name in ("bin", "tmp", "etc", "root", "home/web"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    for applet in APPLETS.split():
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nweb:x:1001:\nextra:x:2000:web\n")
    return folder


def clear_killed_runs() -> None:
    """Remove the control groups of runs that were killed: those below cgroup2 would keep controllers from everybody."""
    hierarchies = Path("/sys/fs/cgroup")
    for group in [*hierarchies.glob("carob-test-*"), *hierarchies.glob("*/carob-test-*")]:
        if Path("/proc", group.name.rpartition("-")[2]).exists():
            continue
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # somebody lives in it
                Path(folder).rmdir()
    enabled = hierarchies / "unified/cgroup.subtree_control"
    if enabled.exists() and not any(place.is_dir() for place in enabled.parent.iterdir()):
        for name in enabled.read_text().split():
            enabled.write_text(f"-{name}")


def traces(folder: Path) -> list[str]:
    """What of a cluster can still be seen on this machine: processes, mounts, control groups, namespaces' holders."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                groups = (process / "cgroup").read_text()
                status = (process / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if status[:2] == ["Z", "1"]:
                continue  # init has not reaped it yet
            if str(folder) in words or f"/carob-{CLUSTER}/" in groups:
                found.append(f"process {process.name} {words} {status[:2]}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line.split()[4]}" for line in mounts if str(folder) in line]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/carob-{CLUSTER}*")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"carob-{CLUSTER}*")]
    return found
