"""A real etcd on loopback, of one member or several, with TLS where wanted: what Debian's etcd-server brings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from carob.store.etcd.endpoints import Endpoints, EtcdOptions
from carob.store.etcd.messages import EVERYTHING
from tests.ports import free_port

START_SECONDS = 60
TRIES = 5


class Member:
    """One process of an etcd; `stop` and `start` keep its data."""

    def __init__(self, name: str, folder: Path, tls: Path | None) -> None:
        self.name = name
        self.folder = folder
        self.tls = tls
        self.client_port = free_port()
        self.peer_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer(self) -> str:
        return f"{self.name}=http://127.0.0.1:{self.peer_port}"

    def start(self, peers: str, state: str = "new") -> None:
        """Returns at once."""
        client = f"{'https' if self.tls else 'http'}://{self.endpoint}"
        peer = f"http://127.0.0.1:{self.peer_port}"
        command = ["etcd", "--name", self.name, "--data-dir", str(self.folder), "--logger", "zap"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", peers, "--initial-cluster-state", state]
        if self.tls is not None:
            command += ["--cert-file", str(self.tls / "apiserver.crt"), "--key-file", str(self.tls / "apiserver.key")]
            command += ["--trusted-ca-file", str(self.tls / "ca.crt"), "--client-cert-auth"]
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}
            )

    def kill(self) -> None:
        """As a machine that loses its power."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """As a machine that is cut off: connections stand, nothing answers."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self.folder.parent / f"{self.name}.log").read_text(errors="replace")[-3000:]


class Etcd:
    """Members that are one etcd."""

    def __init__(self, folder: Path, members: int = 1, tls: Path | None = None) -> None:
        self._folder = folder
        self._count = members
        self.tls = tls
        self.members: list[Member] = []

    @property
    def options(self) -> EtcdOptions:
        endpoints = tuple(member.endpoint for member in self.members)
        tls = self.tls
        if tls is None:
            return EtcdOptions(endpoints)
        return EtcdOptions(endpoints, tls / "ca.crt", tls / "admin.crt", tls / "admin.key")

    @property
    def peers(self) -> str:
        return ",".join(member.peer for member in self.members)

    async def start(self) -> None:
        """Returns when it answers. A port that somebody else took meanwhile is no failure: it is tried again."""
        for number in range(TRIES):
            folder = self._folder / f"etcd-{number}"
            folder.mkdir(parents=True)
            self.members = [Member(f"m{n}", folder / f"m{n}", self.tls) for n in range(self._count)]
            for member in self.members:
                member.start(self.peers)
            if await self._answers():
                return
            self.stop()
        raise AssertionError("etcd does not start:\n" + "\n".join(member.log() for member in self.members))

    async def _answers(self) -> bool:
        for _ in range(START_SECONDS // 10):
            try:
                await self.wipe()
            except Exception:
                if any(member.process is None or member.process.poll() is not None for member in self.members):
                    return False
            else:
                return True
        return False

    async def wipe(self) -> None:
        """Delete every key."""
        endpoints = Endpoints(self.options)
        try:
            # key and range_end: everything
            await endpoints.call("/etcdserverpb.KV/DeleteRange", b"\x0a\x01" + EVERYTHING + b"\x12\x01" + EVERYTHING)
        finally:
            await endpoints.close()

    def stop(self) -> None:
        """End every member and forget its data."""
        for member in self.members:
            member.kill()
            shutil.rmtree(member.folder, ignore_errors=True)
