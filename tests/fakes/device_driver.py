"""A driver of devices: registers with a kubelet and prepares what it is asked for, as real ones do over gRPC.

Run as a program (`python -m tests.fakes.device_driver NAME KUBELET_ROOT CDI_FOLDER`) it makes CDI devices that set
`DEVICE_<name>` and offers itself until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from carob.kubelet.devices import messages as wire
from carob.runtime.cri.codec import Message, decode, encode


class FakeDriver:
    def __init__(
        self, name: str, root: str, cdi_folder: str = "", versions: tuple[str, ...] = ("v1.DRAPlugin",)
    ) -> None:
        self.name = name
        self.type = wire.DRA_PLUGIN
        self.versions = versions
        self.prepared: dict[str, str] = {}
        """Names of claims by their uids."""
        self.calls: list[tuple[str, list[str]]] = []
        self.told: list[tuple[bool, str]] = []
        self.refuse = ""
        self.skip = False
        self._registration = f"{root}/plugins_registry/{name}-reg.sock"
        self._endpoint = f"{root}/plugins/{name}/dra.sock"
        self._cdi_folder = cdi_folder
        self._servers: list[Any] = []

    @property
    def kind(self) -> str:
        return f"{self.name}/device"

    async def start(self) -> None:
        os.makedirs(os.path.dirname(self._endpoint), exist_ok=True)
        os.makedirs(os.path.dirname(self._registration), exist_ok=True)
        service = next(iter(wire.SERVICES[v] for v in self.versions if v in wire.SERVICES), "none")
        prepare = {"NodePrepareResources": self._prepare, "NodeUnprepareResources": self._unprepare}
        await self._serve(self._endpoint, service, wire.Claims, prepare)
        await self._serve(
            self._registration,
            wire.REGISTRATION,
            wire.RegistrationStatus,
            {
                "GetInfo": self._info,
                "NotifyRegistrationStatus": self._noted,
            },
        )

    async def _serve(self, path: str, service: str, kind: type[Any], methods: dict[str, Any]) -> None:
        def handler(answer: Callable[[Any], Message]) -> Any:
            async def handle(request: bytes, context: Any) -> bytes:
                return encode(answer(decode(kind, request)))

            return grpc.unary_unary_rpc_method_handler(handle)

        server = grpc.aio.server()
        handlers = {name: handler(answer) for name, answer in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"unix://{path}")
        await server.start()
        self._servers.append(server)

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(None)
        self._servers.clear()
        self._unlink()

    def _unlink(self) -> None:
        for path in (self._registration, self._endpoint):
            Path(path).unlink(missing_ok=True)

    def _info(self, request: Any) -> Message:
        return wire.PluginInfo(
            type=self.type, name=self.name, endpoint=self._endpoint, supported_versions=list(self.versions)
        )

    def _noted(self, status: wire.RegistrationStatus) -> Message:
        self.told.append((status.plugin_registered, status.error))
        return wire.RegistrationStatusResponse()

    def _prepare(self, request: wire.Claims) -> Message:
        self.calls.append(("prepare", [one.name for one in request.claims]))
        entries = []
        for one in [] if self.skip else request.claims:
            if self.refuse:
                entries.append(wire.PreparedEntry(key=one.uid, value=wire.Prepared(error=self.refuse)))
                continue
            self.prepared[one.uid] = one.name
            self._write_cdi()
            device = wire.Device(
                pool_name="pool",
                device_name="one",
                cdi_device_ids=[f"{self.kind}={one.name}"],
            )
            entries.append(wire.PreparedEntry(key=one.uid, value=wire.Prepared(devices=[device])))
        return wire.PrepareResponse(claims=entries)

    def _unprepare(self, request: wire.Claims) -> Message:
        self.calls.append(("unprepare", [one.name for one in request.claims]))
        for one in request.claims:
            self.prepared.pop(one.uid, None)
        self._write_cdi()
        return wire.UnprepareResponse(
            claims=[wire.UnpreparedEntry(key=one.uid, value=wire.Unprepared()) for one in request.claims]
        )

    def _write_cdi(self) -> None:
        if not self._cdi_folder:
            return
        os.makedirs(self._cdi_folder, exist_ok=True)
        path = f"{self._cdi_folder}/{self.name}.json"
        if not self.prepared:
            Path(path).unlink(missing_ok=True)
            return
        devices = [
            {
                "name": name,
                "containerEdits": {
                    "env": [f"DEVICE_OF={name}"],
                    "deviceNodes": [{"path": "/dev/claimed", "hostPath": "/dev/null"}],
                },
            }
            for name in self.prepared.values()
        ]
        Path(path).write_text(json.dumps({"cdiVersion": "0.6.0", "kind": self.kind, "devices": devices}))


async def _main(name: str, root: str, cdi_folder: str) -> None:
    driver = FakeDriver(name, root, cdi_folder)
    await driver.start()
    print("ready", flush=True)
    try:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await driver.stop()
        driver.prepared.clear()
        driver._write_cdi()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:4]))
