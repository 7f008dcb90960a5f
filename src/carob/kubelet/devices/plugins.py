"""The drivers on this node: each shows a socket in the kubelet's registration folder, tells who it is, and is told
whether it was taken.

Touches the folder and the drivers' sockets, through gRPC, which is imported with the first one.
Source: kubelet `pluginmanager`, `cm/dra/plugin`. Of a driver that is there twice, as in a rolling update, the one that
came last is asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from carob.base.log import get_logger, pairs
from carob.kubelet.devices import messages as wire
from carob.kubelet.devices.failures import DriverFailure
from carob.runtime.cri.codec import BadMessage, Message, decode, encode
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock

CALL_SECONDS = 45.0
"""Source: `defaultClientCallTimeout`."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 5.0
MAX_SOCKETS = 256
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3000),
)
M = TypeVar("M", bound=Message)

_log = get_logger("kubelet.devices")


class Drivers(Protocol):
    """As much as preparing devices needs."""

    async def prepare(self, driver: str, claims: list[wire.Claim]) -> dict[str, wire.Prepared]:
        """What the driver says of each claim, by uid. Raises: DriverFailure."""
        ...

    async def unprepare(self, driver: str, claims: list[wire.Claim]) -> dict[str, wire.Unprepared]:
        """As above."""
        ...


class _Plugin(Struct):
    """One registered socket. `identity` is the file's, so that a new one under the old name is seen."""

    name: str
    endpoint: str
    service: str
    identity: tuple[int, int]


class Plugins:
    """`settle` brings them up to date; `changed` is called when a driver comes, `lost` with its name when the last of it goes."""

    def __init__(self, folder: str, clock: Clock, changed: Callable[[], None], lost: Callable[[str], None]) -> None:
        self._folder = folder
        self._clock = clock
        self._changed = changed
        self._lost = lost
        self._plugins: dict[str, _Plugin] = {}
        """By their sockets, in the order in which they came."""
        self._refused: dict[str, tuple[int, int]] = {}
        self._channels: dict[str, Any] = {}

    @property
    def names(self) -> set[str]:
        """The drivers that are there."""
        return {one.name for one in self._plugins.values()}

    async def settle(self) -> None:
        """Register and forget until the drivers are those whose sockets are there."""
        delay = FIRST_RETRY_SECONDS
        while not await self._look():
            # a driver makes its socket before it listens
            await self._clock.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def close(self) -> None:
        """Let go of all."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def _look(self) -> bool:
        """Bring the plugins up to date; False if one did not answer and is to be asked again."""
        there = self._sockets()
        for path in [path for path, one in self._plugins.items() if there.get(path) != one.identity]:
            await self._forget(path)
        for path in [path for path, identity in self._refused.items() if there.get(path) != identity]:
            del self._refused[path]
        settled = True
        for path, identity in there.items():
            if path not in self._plugins and path not in self._refused:
                settled = await self._register(path, identity) and settled
        return settled

    def _sockets(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in sorted(entries, key=lambda one: one.name)[:MAX_SOCKETS]:
                    status = entry.stat(follow_symlinks=True)
                    if entry.name.endswith(".sock") and not entry.name.startswith("."):
                        found[entry.path] = (status.st_ino, status.st_ctime_ns)
        except OSError as error:
            _log.info("cannot read the drivers' folder %s", pairs(folder=self._folder, error=error))
        return found

    async def _register(self, path: str, identity: tuple[int, int]) -> bool:
        try:
            info = await self._call(path, wire.REGISTRATION, "GetInfo", wire.InfoRequest(), wire.PluginInfo)
        except DriverFailure as error:
            _log.info("driver does not answer %s", pairs(socket=path, error=error))
            return False
        why, service = _judge(info)
        status = wire.RegistrationStatus(plugin_registered=not why, error=why)
        try:
            await self._call(
                path, wire.REGISTRATION, "NotifyRegistrationStatus", status, wire.RegistrationStatusResponse
            )
        except DriverFailure as error:
            _log.info("driver cannot be told %s", pairs(socket=path, driver=info.name, error=error))
            return False
        if why:
            _log.warning("driver refused %s", pairs(socket=path, driver=info.name, why=why))
            self._refused[path] = identity
            return True
        _log.info("driver registered %s", pairs(driver=info.name, endpoint=info.endpoint))
        self._plugins[path] = _Plugin(info.name, info.endpoint, service, identity)
        self._changed()
        return True

    async def _forget(self, path: str) -> None:
        gone = self._plugins.pop(path)
        _log.info("driver gone %s", pairs(driver=gone.name, socket=path))
        for endpoint in (path, gone.endpoint):
            channel = self._channels.pop(endpoint, None)
            if channel is not None:
                await channel.close()
        if gone.name not in self.names:
            self._lost(gone.name)

    # what preparing devices asks

    async def prepare(self, driver: str, claims: list[wire.Claim]) -> dict[str, wire.Prepared]:
        """Raises: DriverFailure."""
        plugin = self._plugin(driver)
        answer = await self._call(
            plugin.endpoint, plugin.service, "NodePrepareResources", wire.Claims(claims=claims), wire.PrepareResponse
        )
        return {one.key: one.value or wire.Prepared() for one in answer.claims}

    async def unprepare(self, driver: str, claims: list[wire.Claim]) -> dict[str, wire.Unprepared]:
        """Raises: DriverFailure."""
        plugin = self._plugin(driver)
        answer = await self._call(
            plugin.endpoint,
            plugin.service,
            "NodeUnprepareResources",
            wire.Claims(claims=claims),
            wire.UnprepareResponse,
        )
        return {one.key: one.value or wire.Unprepared() for one in answer.claims}

    def _plugin(self, driver: str) -> _Plugin:
        found = [one for one in self._plugins.values() if one.name == driver]
        if not found:
            raise DriverFailure(f"DRA driver {driver} is not registered")
        return found[-1]

    async def _call(self, socket: str, service: str, rpc: str, request: Message, answer: type[M]) -> M:
        from carob.runtime.cri.server import grpc

        try:
            package = grpc()
        except RuntimeFailure as error:
            raise DriverFailure(
                "drivers of devices need the Python package grpcio: pip install 'carob[cri]'"
            ) from error
        channel = self._channels.get(socket)
        if channel is None:
            channel = self._channels[socket] = package.aio.insecure_channel(f"unix://{socket}", options=_OPTIONS)
        try:
            data = await channel.unary_unary(f"/{service}/{rpc}")(encode(request), timeout=CALL_SECONDS)
            return decode(answer, data)
        except package.aio.AioRpcError as error:
            raise DriverFailure(f"rpc error: code = {error.code().name} desc = {error.details()}") from error
        except BadMessage as error:
            raise DriverFailure(f"{rpc}: {error}") from error


def _judge(info: wire.PluginInfo) -> tuple[str, str]:
    """Why it cannot be taken (empty: it can), and the service by which it is asked."""
    if info.type != wire.DRA_PLUGIN:
        return f"no handler registered for plugin type: {info.type}", ""
    if not info.name:
        return "DRA driver name is empty", ""
    if not os.path.isabs(info.endpoint):
        return f"endpoint {info.endpoint!r} is no absolute path", ""
    for version, service in wire.SERVICES.items():
        if version in info.supported_versions:
            return "", service
    supported = ", ".join(info.supported_versions)
    return f"DRA driver {info.name} supports none of {', '.join(wire.SERVICES)}, only {supported or 'nothing'}", ""
