"""Where the embedded runtime keeps things: one class that knows every path, so that everything can be found again.

`state_dir` lives on disk (records, writable layers); what is of use only until the machine stops lives in memory, also
where the machine has its /run on a disk (`mount_namespace`): namespaces, bundles, crun's state, exits. A file system on
a disk is slow at making files where many were removed a moment ago. Both folders belong to the runtime alone.
"""

from __future__ import annotations

from msgspec import Struct


class Places(Struct, frozen=True):
    """Paths of one cluster's runtime."""

    state_dir: str
    run_dir: str

    @property
    def mount_namespace(self) -> str:
        """The file that pins the agent's mount namespace; it is bound in the namespace above it."""
        return f"{self.run_dir}/mount-namespace/mnt"

    @property
    def crun(self) -> str:
        """crun on a read-only mount: it then need not copy itself before each use."""
        return f"{self.run_dir}/bin/crun"

    @property
    def crun_root(self) -> str:
        return f"{self.run_dir}/crun"

    @property
    def exits(self) -> str:
        return f"{self.run_dir}/exits"

    @property
    def streams(self) -> str:
        """Process files and console sockets of running execs."""
        return f"{self.run_dir}/streams"

    @property
    def seccomp(self) -> str:
        return f"{self.state_dir}/seccomp"

    @property
    def sandbox_records(self) -> str:
        return f"{self.state_dir}/records/sandboxes"

    @property
    def container_records(self) -> str:
        return f"{self.state_dir}/records/containers"

    @property
    def containers(self) -> str:
        return f"{self.state_dir}/containers"

    @property
    def writable_layers(self) -> str:
        return f"{self.state_dir}/writable"

    @property
    def mount_points(self) -> str:
        return f"{self.state_dir}/mount-points"

    @property
    def sandboxes(self) -> str:
        return f"{self.run_dir}/sandboxes"

    def in_memory(self) -> list[str]:
        """Folders that hold nothing that outlives the machine's power."""
        return [self.exits, self.streams, self.crun_root, self.sandboxes, self.containers]

    def folders(self) -> list[str]:
        """All that must exist before the runtime can work."""
        return [
            *self.in_memory(),
            self.sandbox_records,
            self.container_records,
            self.writable_layers,
            self.mount_points,
        ]

    def sandbox(self, sandbox_id: str) -> str:
        """Holds `ns/`, `shm/`, `hostname`, `resolv.conf`."""
        return f"{self.sandboxes}/{sandbox_id}"

    def namespace(self, sandbox_id: str, kind: str) -> str:
        return f"{self.sandboxes}/{sandbox_id}/ns/{kind}"

    def bundle(self, container_id: str) -> str:
        """Holds `config.json`, `rootfs/` and conmon's files."""
        return f"{self.containers}/{container_id}"

    def writable(self, container_id: str) -> str:
        """Holds `upper/` and `work/`."""
        return f"{self.writable_layers}/{container_id}"
