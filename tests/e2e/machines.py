"""Machines for tests of clusters that span several: network namespaces with an address each, on a switch for each subnet,
with a router between the switches.

Each is held by a process that sleeps; its end, and that of all that was started in it, is the end of the namespace. What
the machines send reaches only each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

LENGTH = 24


class Machine:
    """One of them."""

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._started: list[subprocess.Popen[bytes]] = []
        own = os.readlink("/proc/self/ns/net")
        end = time.monotonic() + 60
        while self._namespace() in ("", own):
            assert time.monotonic() < end, "a network namespace does not come"
            time.sleep(0.01)
        self.run("ip", "link", "set", "lo", "up")

    def _namespace(self) -> str:
        try:
            return os.readlink(f"/proc/{self.pid}/ns/net")
        except FileNotFoundError:
            return ""

    @property
    def pid(self) -> int:
        """Of the process that holds the namespace."""
        return self._holder.pid

    def inside(self, *command: str | Path) -> list[str]:
        """The command line that runs the command here."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *(str(word) for word in command)]

    def run(self, *command: str | Path) -> str:
        """Run it to its end."""
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, log: Path, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start it, with its output in a file."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.inside(*command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        self._started.append(process)
        return process

    def readdress(self, address: str) -> None:
        """The machine moves."""
        self.run("ip", "addr", "del", f"{self.address}/{LENGTH}", "dev", "eth0")
        self.take(address)

    def take(self, address: str) -> None:
        """Be at this address, with a way out over the subnet's first one."""
        self.run("ip", "addr", "add", f"{address}/{LENGTH}", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "replace", "default", "via", gateway_of(address))
        self.address = address

    def close(self) -> None:
        """End what was started here, and the machine."""
        for process in self._started:
            process.kill()
            process.wait()
        self._holder.kill()
        self._holder.wait()


def gateway_of(address: str) -> str:
    return address.rpartition(".")[0] + ".1"


class Rack:
    """Machines, switches and the router; `add` puts one more in."""

    def __init__(self) -> None:
        self.switch = Machine()
        self.switch.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.switches: dict[str, str] = {}
        self.machines: list[Machine] = []

    def _switch(self, gateway: str) -> str:
        """The bridge of a subnet, whose gateway the router is."""
        name = self.switches.get(gateway)
        if name is None:
            name = self.switches[gateway] = f"sw{len(self.switches)}"
            self.switch.run("ip", "link", "add", "name", name, "type", "bridge")
            self.switch.run("ip", "addr", "add", f"{gateway}/{LENGTH}", "dev", name)
            self.switch.run("ip", "link", "set", name, "up")
        return name

    def add(self, address: str) -> Machine:
        machine = Machine(address)
        port = f"p{len(self.machines)}"
        self.machines.append(machine)
        wire = ("type", "veth", "peer", "name", "eth0", "netns", str(machine.pid))
        self.switch.run("ip", "link", "add", "name", port, *wire)
        self.switch.run("ip", "link", "set", port, "master", self._switch(gateway_of(address)), "up")
        machine.take(address)
        return machine

    def close(self) -> None:
        for machine in (*self.machines, self.switch):
            machine.close()


def carob(*words: str | Path) -> list[str]:
    """The command, for a machine to run."""
    return [sys.executable, "-m", "carob", *(str(word) for word in words)]
