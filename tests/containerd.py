"""A containerd of a test's own: Debian's package with runc and CNI plugins, its folders, its images, and its end.

Nothing of it is shared with a containerd that the machine may have; `stop` takes back all that it made outside of its
folder: shims, mounts, namespaces, and the folders that it makes at fixed places if nobody else has them.
"""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

CNI_PLUGINS = Path("/usr/lib/cni")
PAUSE_IMAGE = "carob.local/pause:1"
TOLD = "{{.PodCIDR}}"
START_SECONDS = 60
END_SECONDS = 20
# where containerd and its CNI library put things whatever they are configured to
FIXED = (Path("/run/containerd/s"), Path("/run/containerd"), Path("/var/lib/cni/results"), Path("/var/lib/cni"))

_CONFIG = """
version = 2
root = "{folder}/root"
state = "{run}/state"
oom_score = 0
disabled_plugins = [{disabled}]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{run}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
    conf_template = "{template}"
"""
_DISABLED = ("snapshotter.v1.btrfs", "snapshotter.v1.aufs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper")


class Containerd:
    """One daemon. `run` is a short path: sockets lie below it.

    `network` is a CNI configuration; with `TOLD` as its subnet it waits until a node tells its range.
    """

    def __init__(self, folder: Path, run: Path, network: Mapping[str, Any]) -> None:
        self.folder = folder
        self.run = run
        self.socket = run / "c.sock"
        self._network = network
        self._process: subprocess.Popen[bytes] | None = None
        self._there_before = {place for place in FIXED if place.exists()}

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Returns when it answers."""
        for place in (self.folder / "cni", self.run):
            place.mkdir(parents=True, exist_ok=True)
        network = json.dumps(self._network)
        (self.folder / ("cni.template" if TOLD in network else "cni/10-test.conflist")).write_text(network)
        config = self.folder / "config.toml"
        config.write_text(
            _CONFIG.format(
                folder=self.folder,
                run=self.run,
                socket=self.socket,
                pause=PAUSE_IMAGE,
                cni=CNI_PLUGINS,
                template=self.folder / "cni.template" if TOLD in network else "",
                disabled=", ".join(f'"io.containerd.{name}"' for name in _DISABLED),
            )
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["containerd", "--config", str(config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self.folder)},
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, f"containerd has ended:\n{self.log()}"
            if self.socket.exists() and self.ctr("version", check=False).returncode == 0:
                return
            assert time.monotonic() < deadline, f"containerd does not answer:\n{self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-5000:]

    def ctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """containerd's own client, in the CRI's namespace."""
        done = subprocess.run(
            ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *words],
            capture_output=True,
            text=True,
            timeout=END_SECONDS * 3,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done

    def load(self, name: str, root: Path, config: Mapping[str, Any]) -> None:
        """An image of one layer: the folder `root`."""
        archive = self.folder / "image.tar"
        write_image(archive, name, root, config)
        self.ctr("images", "import", str(archive))
        archive.unlink()

    def kill(self) -> None:
        """The daemon alone: its containers run on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the daemon and whatever it left running, and remove its files."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(END_SECONDS)
            self._process = None
        for pid in list(self._shims()):
            for child in [*_children(pid), pid]:
                _end(child)
        for point in reversed([line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]):
            if point.startswith((f"{self.folder}/", f"{self.run}/")):
                subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder)
        shutil.rmtree(self.run, ignore_errors=True)
        for place in FIXED:
            if place not in self._there_before:
                with suppress(OSError):
                    place.rmdir()

    def _shims(self) -> Iterator[int]:
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with suppress(OSError):
                    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    if "containerd-shim" in words[0] and str(self.socket) in words:
                        yield int(process.name)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    waiter = select.poll()
    waiter.register(descriptor, select.POLLIN)
    waiter.poll(END_SECONDS * 1000)
    os.close(descriptor)


def ptp(subnet: str, state: Path) -> dict[str, Any]:
    """A network for Pods: a cable each, addresses of `subnet`, known in `state`; the machine's rules stay as they are."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": {**ipam, "dataDir": str(state)}}
    return {"cniVersion": "0.4.0", "name": "carob-test", "plugins": [plugin]}


def write_image(archive: Path, name: str, root: Path, config: Mapping[str, Any]) -> None:
    """A docker-archive."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(root, arcname=".")
    content = layer.getvalue()
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(content).hexdigest()}"]},
        "history": [],
    }
    files = {
        "config.json": json.dumps(described).encode(),
        "layer.tar": content,
        "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def load_pause(containerd: Containerd) -> None:
    """The image of sandboxes: the machine's own static catatonit, which is also carob's pause process."""
    root = containerd.folder / "pause"
    root.mkdir()
    program = shutil.which("catatonit") or "/usr/libexec/podman/catatonit"
    shutil.copy(program, root / "catatonit")
    containerd.load(PAUSE_IMAGE, root, {"Entrypoint": ["/catatonit", "-P"]})
