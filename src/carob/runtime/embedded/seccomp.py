"""Which system calls a container may make: our profile resolved to this machine, and its ready BPF.

libseccomp needs 20 to 25 ms of CPU to compile a profile; the filter that crun leaves beside the first container made
with it serves all later ones. The cache is keyed by what the filter depends on: the resolved profile and crun itself.

Invariant: without a cached filter the JSON profile is used; no container ever runs without the filter it asked for.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import platform
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from msgspec import Struct

from carob.host.types import Host
from carob.runtime.types import RuntimeFailure, SeccompProfile

BPF_ANNOTATION = "run.oci.seccomp_bpf_data"
_ENOSYS = 38
_CLONE_NEW_FLAGS = 0x7E020000
"""Every CLONE_NEW* flag but CLONE_NEWTIME, which clone(2) cannot take."""


class Filter(Struct, frozen=True):
    """What goes into config.json: the profile, or the ready filter as base64; `key` is empty when unconfined."""

    key: str = ""
    profile: dict[str, Any] | None = None
    bpf: str = ""


UNCONFINED = Filter()


@cache
def _data() -> dict[str, Any]:
    path = os.path.join(os.path.dirname(__file__), "seccomp_default.json")
    with open(path, encoding="utf-8") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded


def runtime_default(capabilities: Collection[str], machine: str) -> dict[str, Any]:
    """The OCI `linux.seccomp` of the profile RuntimeDefault for a container with these capabilities.

    Source: containerd contrib/seccomp DefaultProfile; moby's default.json.
    Differs: sockets of any family but AF_VSOCK and AF_ALG, also of families that do not exist yet.
    """
    data = _data()
    names = set(data["allow"]) | set(data["allow_on"].get(machine, ()))
    for capability, calls in data["allow_with"].items():
        if capability in capabilities:
            names.update(calls)
    rules: list[dict[str, Any]] = [{"names": sorted(names), "action": "SCMP_ACT_ALLOW"}]
    for call, index, op, value in data["allow_when"]:
        rules.append(_rule(call, index, op, value))
    if "CAP_SYS_ADMIN" not in capabilities:
        rules.append(_rule("clone", 0, "SCMP_CMP_MASKED_EQ", _CLONE_NEW_FLAGS))
        # flags of clone3 lie in memory where a filter cannot look: libc falls back to clone on ENOSYS
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": data["architectures"].get(machine, []),
        "syscalls": rules,
    }


def _rule(call: str, index: int, op: str, value: int) -> dict[str, Any]:
    return {"names": [call], "action": "SCMP_ACT_ALLOW", "args": [{"index": index, "value": value, "op": op}]}


class Filters:
    """Resolved profiles and their ready filters; one container compiles, those who come meanwhile wait for it."""

    def __init__(self, host: Host, folder: str, crun: str) -> None:
        self._host = host
        self._folder = folder
        self._ready: dict[str, str] = {}
        self._compiling: dict[str, asyncio.Lock] = {}
        self._uncached: set[str] = set()
        self._resolved: dict[frozenset[str], tuple[str, dict[str, Any]]] = {}
        status = os.stat(crun)
        self._salt = f"{status.st_size} {status.st_mtime_ns} {os.uname().release}"

    @asynccontextmanager
    async def use(
        self, wanted: SeccompProfile, privileged: bool, capabilities: Collection[str]
    ) -> AsyncIterator[Filter]:
        """The filter for one container, to be made inside the block (the first of a profile is made alone).

        Raises: RuntimeFailure (CreateContainerError) when a Localhost profile cannot be read.
        """
        if privileged or wanted.kind == "Unconfined":
            yield UNCONFINED
            return
        key, profile = self._resolve(wanted, capabilities)
        ready = self._ready.get(key) or self._load(key)
        if ready:
            yield Filter(key, None, ready)
            return
        if key in self._uncached:
            yield Filter(key, profile)
            return
        lock = self._compiling.setdefault(key, asyncio.Lock())
        await lock.acquire()
        if key in self._ready or key in self._uncached:
            lock.release()
            ready = self._ready.get(key, "")
            yield Filter(key, None if ready else profile, ready)
            return
        try:
            yield Filter(key, profile)
        finally:
            lock.release()
            self._compiling.pop(key, None)

    def harvest(self, used: Filter, compiled: str) -> None:
        """Keep the filter that crun wrote to the file `compiled` for the profile `used`."""
        if not used.profile or used.key in self._ready:
            return
        try:
            with open(compiled, "rb") as file:
                raw = file.read()
        except OSError:
            self._uncached.add(used.key)  # a crun that leaves no filter has a cache of its own
            return
        if raw and len(raw) % 8 == 0:
            self._ready[used.key] = base64.b64encode(raw).decode()
            self._host.mkdir(self._folder, 0o700)
            self._host.write_atomic(f"{self._folder}/{used.key}.bpf", raw)

    def _load(self, key: str) -> str:
        try:
            with open(f"{self._folder}/{key}.bpf", "rb") as file:
                raw = file.read()
        except OSError:
            return ""
        if not raw or len(raw) % 8:
            return ""
        self._ready[key] = base64.b64encode(raw).decode()
        return self._ready[key]

    def _resolve(self, wanted: SeccompProfile, capabilities: Collection[str]) -> tuple[str, dict[str, Any]]:
        if wanted.kind == "Localhost":
            profile = _localhost(wanted.localhost_path)
            return self._key(profile), profile
        chosen = frozenset(capabilities)
        if chosen not in self._resolved:
            if len(self._resolved) >= 64:
                self._resolved.clear()
            profile = runtime_default(chosen, platform.machine())
            self._resolved[chosen] = (self._key(profile), profile)
        return self._resolved[chosen]

    def _key(self, profile: dict[str, Any]) -> str:
        text = json.dumps(profile, sort_keys=True) + self._salt
        return hashlib.sha256(text.encode()).hexdigest()


def _localhost(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            loaded = json.load(file)
    except (OSError, ValueError) as error:
        why = f"open {path}: {error.strerror.lower()}" if isinstance(error, OSError) and error.strerror else error
        message = f'cannot load seccomp profile "{path}": {why}'
        raise RuntimeFailure(message, "CreateContainerError") from error
    if not isinstance(loaded, dict):
        raise RuntimeFailure(f'seccomp profile "{path}" is no JSON object', "CreateContainerError")
    loaded.pop("archMap", None)
    return loaded
