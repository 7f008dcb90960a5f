"""The profile of AppArmor that containers have where neither they are privileged nor their Pod names another.

What it denies is what the namespaces of a container do not keep from it: mounts, the kernel's settings, other programs'
processes. Source: what containerd and CRI-O load for theirs, in our words.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from carob.base.log import get_logger, pairs
from carob.host import apparmor
from carob.host.types import Host
from carob.runtime.types import RuntimeFailure, SecurityContext

_log = get_logger("runtime")
NAME = "carob-default"
TEXT = f"""\
profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,

  # whoever stops containers is not confined; those of one Pod may share their processes
  signal (receive) peer=unconfined,
  signal (send,receive) peer={NAME},
  ptrace (trace,read,tracedby,readby) peer={NAME},

  deny mount,

  deny /proc/* w,
  deny /proc/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
}}
"""
_LOCALHOST = "localhost/"


class Profiles:
    """Chooses profiles; the default one is loaded when it is first needed, unless an agent before has done it."""

    def __init__(self, host: Host, load: Callable[[str], None] = apparmor.load) -> None:
        self._host = host
        self._load = load
        self._lock = threading.Lock()
        self._default: str | None = None

    def prepare(self) -> None:
        """Load the default one before anybody waits for it."""
        if apparmor.is_on(self._host):
            self._loaded()

    def of(self, security: SecurityContext) -> str:
        """The profile's name, empty for none. Raises: RuntimeFailure when the kernel does not know it, in containerd's words."""
        asked = security.apparmor_profile
        if asked == "unconfined" or not apparmor.is_on(self._host):
            return ""
        if not asked.startswith(_LOCALHOST):
            return "" if security.privileged else self._loaded()
        name = asked.removeprefix(_LOCALHOST)
        if name not in apparmor.known(self._host):
            text = f"failed to generate apparmor spec opts: apparmor profile not found {name}"
            raise RuntimeFailure(text, "CreateContainerError")
        return name

    def _loaded(self) -> str:
        with self._lock:
            if self._default is None:
                try:
                    if NAME not in apparmor.known(self._host):
                        self._load(TEXT)
                    self._default = NAME
                except OSError as error:
                    _log.warning("containers are not confined by AppArmor: %s", pairs(error=error))
                    self._default = ""
            return self._default
