"""postStart and preStop hooks. Touches the runtime (exec) and the network (httpGet), waits on the clock (sleep).

Source: kubelet `lifecycle/handlers.go`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from carob.kubelet.ports import PortFailure
from carob.kubelet.probes import http
from carob.kubelet.probes.check import http_target
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.kubelet.pod_record import PodRecord
    from carob.runtime.types import Runtime


class HookFailure(Exception):
    """The hook did not succeed; the message is what the container's waiting state says."""


class Hooks:
    """`run` returns when the hook has succeeded."""

    def __init__(self, runtime: Runtime, clock: Clock, address: Callable[[PodRecord], str]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._address = address

    async def run(
        self, record: PodRecord, container: core_v1.Container, container_id: str, handler: core_v1.LifecycleHandler
    ) -> None:
        """Run one hook. Raises: HookFailure."""
        if handler.exec is not None:
            await self._exec(record, container, container_id, handler.exec.command)
        elif handler.http_get is not None:
            await self._http(record, container, handler.http_get)
        elif handler.sleep is not None:
            await self._clock.sleep(handler.sleep.seconds)
        elif handler.tcp_socket is None:
            raise HookFailure(f"invalid handler: {handler}")

    async def _exec(
        self, record: PodRecord, container: core_v1.Container, container_id: str, command: list[str]
    ) -> None:
        try:
            code, out, err = await self._runtime.exec_sync(container_id, command)
        except RuntimeFailure as error:
            raise HookFailure(str(error)) from error
        if code != 0:
            text = (out + err).decode("utf-8", "replace")
            words = " ".join(command)
            metadata = record.pod.metadata
            raise HookFailure(
                f'Exec lifecycle hook ([{words}]) for Container "{container.name}" in Pod '
                f'"{metadata.name}_{metadata.namespace}({metadata.uid})" failed - error: '
                f"command '{words}' exited with {code}: {err.decode('utf-8', 'replace')}, "
                f"message: {json.dumps(text, ensure_ascii=False)}"
            )

    async def _http(self, record: PodRecord, container: core_v1.Container, action: core_v1.HTTPGetAction) -> None:
        try:
            target = http_target(container, action, self._address(record))
            status = (await http.get(target)).status
        except (PortFailure, http.HttpFailure) as error:
            raise HookFailure(str(error)) from error
        if status >= 400:
            raise HookFailure(f"HTTP lifecycle hook ({action.path}) failed: HTTP error code {status}")
