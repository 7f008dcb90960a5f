"""Which capabilities a container gets: the default set, what the Pod adds and drops, and what this machine can give.

Source: capabilities(7); containerd oci.WithAddedCapabilities, the CRI's `Capability`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

# in the kernel's order: the position is the bit
NAMES = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)

DEFAULT = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)


def parse_mask(mask: int) -> frozenset[str]:
    """Names of the bits of a mask such as `CapBnd` in /proc/self/status."""
    return frozenset(name for bit, name in enumerate(NAMES) if mask >> bit & 1)


def bounding_set(status: str) -> frozenset[str]:
    """What `/proc/self/status` says we may hand on."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return parse_mask(int(line.split()[1], 16))
    return frozenset()


def chosen(add: Iterable[str], drop: Iterable[str], privileged: bool, possible: Collection[str]) -> list[str]:
    """The container's capabilities, in the kernel's order, never more than `possible`.

    Names come without `CAP_` as in a Pod, in any case; `ALL` stands for every one. What is added by name survives a
    drop of ALL; what is dropped by name is gone, however it was added.
    Differs: what the machine itself lacks is left out where upstream's runtime would refuse to start.
    """
    if privileged:
        return [name for name in NAMES if name in possible]
    added = {_full(name) for name in add}
    dropped = {_full(name) for name in drop}
    result = set(DEFAULT)
    if "CAP_ALL" in added:
        result = set(NAMES)
    if "CAP_ALL" in dropped:
        result = set()
    result = (result | added) - dropped
    return [name for name in NAMES if name in result and name in possible]


def _full(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else "CAP_" + upper
