"""The kernel says when processes have to wait for memory: then the node is looked at now, not in ten seconds.

A trigger on /proc/pressure/memory, which cgroup v1 and v2 have alike. Where the kernel was built or booted without it,
or /proc may not be written to, the ten seconds stay.
Source: the kernel's accounting/psi.rst.
Differs: upstream asks cgroup v1 for a notice at the threshold itself, and v2 for none.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Protocol

from carob.base.log import get_logger, pairs

if TYPE_CHECKING:
    from collections.abc import Callable

_log = get_logger("kubelet.eviction")
PRESSURE_FILE = "/proc/pressure/memory"
STALL_MICROSECONDS = 150_000
"""So long must some process have waited …"""
WINDOW_MICROSECONDS = 2_000_000
"""… within so long; the kernel tells it at most once in that time. Without CAP_SYS_RESOURCE only whole twos are taken."""


class Notices(Protocol):
    """Calls somebody back while it is open."""

    def open(self) -> None:
        """Begin; idempotent."""
        ...

    def close(self) -> None:
        """No call after this; idempotent."""
        ...


class MemoryNotices:
    """Calls `pressed` on the loop."""

    def __init__(
        self, pressed: Callable[[], None], path: str = PRESSURE_FILE, stall_microseconds: int = STALL_MICROSECONDS
    ) -> None:
        self._pressed = pressed
        self._path = path
        self._stall_microseconds = stall_microseconds
        self._trigger = -1
        self._poll: select.epoll | None = None
        self._refused = False

    @property
    def is_open(self) -> bool:
        """Whether the kernel will tell."""
        return self._poll is not None

    def open(self) -> None:
        if self._poll is not None or self._refused:
            return
        try:
            self._trigger = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._trigger, f"some {self._stall_microseconds} {WINDOW_MICROSECONDS}\0".encode())
            # the loop waits for readable descriptors only; an epoll is one when it has something to tell
            poll = select.epoll()
            poll.register(self._trigger, select.EPOLLPRI)
        except OSError as error:
            _log.info("the kernel gives no notice of memory pressure: %s", pairs(error=error))
            self._refused = True
            self.close()
            return
        self._poll = poll
        asyncio.get_running_loop().add_reader(poll.fileno(), self._readable)

    def close(self) -> None:
        if self._poll is not None:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None
        if self._trigger >= 0:
            os.close(self._trigger)
            self._trigger = -1

    def _readable(self) -> None:
        if self._poll is not None and self._poll.poll(0):
            self._pressed()
