"""How long processes had to wait for processors, memory and disks: the kernel's pressure files, of a group or of all.

Source: the kernel's accounting/psi.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

RESOURCES = ("cpu", "memory", "io")


class Stall(Struct, frozen=True):
    """Shares of the last 10, 60 and 300 seconds in percent, and the time since the beginning."""

    total_microseconds: int = 0
    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0


class Pressure(Struct, frozen=True):
    """`some`: at least one process waited; `full`: all that could run did."""

    some: Stall = Stall()
    full: Stall = Stall()


def parse(text: str) -> Pressure:
    """From a pressure file's text. Raises: ValueError."""
    stalls = {}
    for line in text.splitlines():
        kind, *words = line.split()
        found = dict(word.split("=", 1) for word in words)
        averages = (float(found[name]) for name in ("avg10", "avg60", "avg300"))
        stalls[kind] = Stall(int(found["total"]), *averages)
    return Pressure(stalls.get("some", Stall()), stalls.get("full", Stall()))


def read(read_text: Callable[[str], str], file_of: Callable[[str], str]) -> dict[str, Pressure]:
    """Of each resource that the kernel tells of; empty where it tells of none."""
    out = {}
    for resource in RESOURCES:
        try:
            out[resource] = parse(read_text(file_of(resource)))
        except (OSError, ValueError, KeyError):
            continue
    return out
