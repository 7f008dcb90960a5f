"""Which claims are prepared on this node for which Pods, kept in a file: what was prepared must be given back, also by the
next kubelet, and also when the API has forgotten the Pod and the claim.

The rules are pure; `load` and `save` touch the file. Source: kubelet `cm/dra/{claiminfo,state}`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1


class PreparedDevice(msgspec.Struct, omit_defaults=True):
    """A device as its driver gave it; without requests it is for all."""

    requests: list[str] = []
    pool: str = ""
    device: str = ""
    cdi: list[str] = []


class PreparedClaim(msgspec.Struct):
    """One claim. `drivers` holds the devices of each driver that has it prepared, or began to."""

    uid: str
    namespace: str
    name: str
    pods: list[str] = []
    drivers: dict[str, list[PreparedDevice]] = {}
    ready: bool = False


class _File(msgspec.Struct):
    version: int = VERSION
    claims: list[PreparedClaim] = []


class PreparedClaims:
    """All of them, by uid."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.claims: dict[str, PreparedClaim] = {}

    def load(self) -> None:
        """Take over what the last kubelet had; a file that cannot be read is as good as none."""
        try:
            with open(self._path, "rb") as stream:
                found = msgspec.json.decode(stream.read(), type=_File)
        except (OSError, msgspec.DecodeError):
            return
        if found.version == VERSION:
            self.claims = {one.uid: one for one in found.claims}

    def save(self) -> None:
        """Durable when this returns. Raises: OSError."""
        if not self.claims:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            return
        fresh = f"{self._path}.new"
        with open(fresh, "wb") as stream:
            stream.write(msgspec.json.encode(_File(claims=list(self.claims.values()))))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, self._path)

    def of_pod(self, uid: str) -> list[PreparedClaim]:
        """Those that a Pod uses."""
        return [one for one in self.claims.values() if uid in one.pods]

    def pods(self) -> set[str]:
        """The uids of all Pods that use any."""
        return {uid for one in self.claims.values() for uid in one.pods}


def cdi_names(claim: PreparedClaim, request: str) -> Iterable[str]:
    """What a container gets of a claim; `request` empty: all of it. An alternative counts as its request."""
    for devices in claim.drivers.values():
        for one in devices:
            names = {part for name in one.requests for part in (name, name.partition("/")[0])}
            if not request or not names or request in names:
                yield from one.cdi
