"""Looks at the runtime for one Pod, and puts together what its status is made of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.kubelet import failures, labels, resize
from carob.kubelet.backoff import go_duration
from carob.kubelet.container_statuses import Observed
from carob.kubelet.pod_record import container_names
from carob.kubelet.security import pod_description
from carob.kubelet.status import PodView
from carob.kubelet.steps.resize import due
from carob.kubelet.steps.start_container import termination_file_path
from carob.kubelet.termination_message import termination_message
from carob.kubelet.tools import pod_ips
from carob.runtime.types import ContainerState, NotFound

if TYPE_CHECKING:
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools
    from carob.runtime.types import ContainerStatus


async def refresh(tools: Tools, record: PodRecord) -> None:
    """Ask the runtime again for what may have changed."""
    while record.dirty:
        changed = record.dirty.pop()
        try:
            if changed in record.sandboxes:
                record.sandboxes[changed] = await tools.runtime.sandbox_status(changed)
            elif changed in record.containers:
                record.containers[changed] = await tools.runtime.container_status(changed)
        except NotFound:
            record.sandboxes.pop(changed, None)
            record.containers.pop(changed, None)
    for status in record.containers.values():
        if status.state in (ContainerState.EXITED, ContainerState.UNKNOWN) and status.id not in record.messages:
            record.messages[status.id] = await _message(tools, record.uid, status)
            record.hooked.discard(status.id)
            record.hook_kills.pop(status.id, None)


async def _message(tools: Tools, uid: str, status: ContainerStatus) -> str:
    path = status.annotations.get(labels.TERMINATION_MESSAGE_PATH, "")
    policy = status.annotations.get(labels.TERMINATION_MESSAGE_POLICY, "")
    if not path:
        return status.message
    file = termination_file_path(tools, uid, status.name, status.attempt)
    if policy != "FallbackToLogsOnError" or status.exit_code == 0:
        return termination_message(file, policy, status.log_path, status.exit_code) or status.message
    text = await asyncio.to_thread(termination_message, file, policy, status.log_path, status.exit_code)
    return text or status.message


def pod_view(tools: Tools, record: PodRecord, *, over: bool, restarting: bool = False) -> PodView:
    """What the status function needs; `over`: all has ended and nothing starts again."""
    node = tools.node()
    return PodView(
        containers={name: _observed(tools, record, name) for name in container_names(record.pod)}
        if record.failed is None or record.containers
        else {},
        messages=record.messages,
        # the sandbox is made beside the volumes, but counts only with them; that of an ended Pod is on its way out
        sandbox_ready=record.ready_sandbox is not None and record.mounted and not over,
        pod_ips=pod_ips(record, node) if record.mounted or record.pod.spec.host_network else (),
        host_ips=node.host_ips,
        over=over,
        failed=record.failed,
        start_time=record.start_time,
        restarting=restarting,
        allocated=record.allocated or {},
        actuated=record.actuated,
        resize=_resize(record),
        disrupted=record.disrupted,
    )


def _resize(record: PodRecord) -> list[tuple[str, str, str]]:
    """Type, reason and message of the conditions of a resize that is under way."""
    out = []
    if record.resize_refusal is not None:
        out.append((resize.PENDING, record.resize_refusal.reason, record.resize_refusal.message))
    if record.resize_error:
        out.append((resize.IN_PROGRESS, resize.ERROR, record.resize_error))
    elif due(record) or record.resize_kills:
        out.append((resize.IN_PROGRESS, "", ""))
    return out


def _observed(tools: Tools, record: PodRecord, name: str) -> Observed:
    attempts = record.attempts_of(name)
    latest = attempts[0] if attempts else None
    started = latest is not None and tools.probes.is_started(latest.id)
    return Observed(
        latest=latest,
        previous=attempts[1] if len(attempts) > 1 else None,
        waiting=_waiting(tools, record, name, latest),
        ready=latest is not None and tools.probes.is_ready(latest.id),
        started=started,
        hidden=latest is not None and latest.id in record.hooked,
        renewed=latest is not None and latest.id in record.redefined and record.begins_anew(latest),
    )


def _waiting(tools: Tools, record: PodRecord, name: str, latest: ContainerStatus | None) -> tuple[str, str] | None:
    failure = record.failures.get(name)
    if failure is not None:
        return failure.reason, failure.message
    if latest is None or latest.id not in record.backing_off:
        return None
    return failures.CRASH_LOOP_BACK_OFF, crash_text(record, name)


def crash_text(record: PodRecord, name: str) -> str:
    """`back-off 20s restarting failed container=web pod=web-0_default(…)`."""
    crash = record.crashes.get(name)
    delay = go_duration(crash.delay_seconds if crash is not None else 10.0)
    return f"back-off {delay} restarting failed container={name} pod={pod_description(record.pod)}"
