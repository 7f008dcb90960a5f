"""Layers below every image that have the places of the usual mounts, so that crun need not make them in each container.

Nine files and folders fewer are then made and removed on the disk with a container; inside nothing looks different.
Made when the runtime starts, never changed while containers may use them. What an image has itself is above them.
"""

from __future__ import annotations

from collections.abc import Collection

from carob.host.types import Host

_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
_NAMES, _ACCOUNT = "names", "account"
_ALWAYS = ("proc", "dev", "sys")


def make(host: Host, folder: str) -> None:
    """Idempotent. Raises: OSError."""
    host.mkdir(f"{folder}/{_NAMES}/etc")
    for path in _FILES:
        if not host.exists(f"{folder}/{_NAMES}{path}"):
            host.create(f"{folder}/{_NAMES}{path}", mode=0o644)
    host.mkdir(f"{folder}/{_ACCOUNT}{_TOKEN}")
    for layer in (_NAMES, _ACCOUNT):
        for name in _ALWAYS:
            host.mkdir(f"{folder}/{layer}/{name}")


def layers(folder: str, places: Collection[str]) -> list[str]:
    """Those that have nothing but what is mounted at one of `places`."""
    chosen = [_NAMES] if all(path in places for path in _FILES) else []
    chosen += [_ACCOUNT] if _TOKEN in places else []
    return [f"{folder}/{name}" for name in chosen]
