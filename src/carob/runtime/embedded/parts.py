"""What the verbs of the embedded runtime share; made once, changed by nobody."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from carob.base.clock import Clock
from carob.host.cgroup import Cgroups
from carob.host.threads import Threads
from carob.host.types import Host
from carob.runtime.embedded.conmon import Conmon
from carob.runtime.embedded.containers import Containers
from carob.runtime.embedded.crun import Crun
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.records import ContainerRecord, Records, SandboxRecord
from carob.runtime.embedded.sandboxes import Sandboxes
from carob.runtime.embedded.seccomp import Filters
from carob.runtime.embedded.state import Inventory
from carob.runtime.types import Exited


class Parts(Struct, frozen=True, kw_only=True):
    """The host, the paths, the tools, and what is known of sandboxes and containers."""

    host: Host
    clock: Clock
    places: Places
    threads: Threads
    cgroups: Cgroups
    crun: Crun
    conmon: Conmon
    filters: Filters
    containers: Containers
    sandboxes: Sandboxes
    inventory: Inventory
    sandbox_records: Records[SandboxRecord]
    container_records: Records[ContainerRecord]
    boot_id: str
    notify: Callable[[Exited], None]
    """Tells all subscribers."""
