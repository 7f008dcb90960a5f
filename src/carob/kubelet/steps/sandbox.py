"""Start step: the Pod's shared environment (namespaces, address, cgroup)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet import resize
from carob.kubelet.backoff import Backoff
from carob.kubelet.devices.failures import PrepareFailure
from carob.kubelet.etc_files import dns_config
from carob.kubelet.pod_record import Failure
from carob.kubelet.sandbox_config import sandbox_config
from carob.kubelet.slots import Turn
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

# a sandbox is tried again soon: what was missing (an address, a port) is often there a moment later
RETRY_FIRST_SECONDS = 1.0
RETRY_LONGEST_SECONDS = 30.0
FAILED_PREPARE = "FailedPrepareDynamicResources"


async def start_sandbox(tools: Tools, record: PodRecord, attempt: int) -> None:
    """Make a sandbox; an earlier one that no longer stands is taken down first."""
    pod = record.sized_pod
    now = tools.clock.monotonic()
    try:
        dns, problems = dns_config(pod, tools.options, tools.read_text(tools.options.resolv_conf))
        for problem in problems:
            tools.events(record).warning("DNSConfigForming", problem)
        handler = await _handler(tools, record)
        users = tools.users.of(record)
        node = tools.node()
        sizes = node.groups.page_sizes
        config = sandbox_config(pod, tools.options, attempt, dns, node.hostname, handler, users, sizes)
        for sandbox in record.sandboxes.values():
            await tools.runtime.stop_sandbox(sandbox.id)
        if record.sandboxes:
            tools.events(record).normal("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        await tools.devices.prepare(record.pod)
        async with tools.slots.hold(Turn.SANDBOX):
            status = await tools.runtime.run_sandbox(config)
        if not await tools.gate.passes(pod, status.ips):
            words = "the NetworkPolicies of this Pod do not hold yet: the node's rules cannot be changed"
            tools.events(record).warning("NetworkPolicyNotReady", words)
    except PrepareFailure as error:
        _failed(tools, record, now, FAILED_PREPARE, f"Failed to prepare dynamic resources: {error}")
        return
    except (RuntimeFailure, ValueError, OSError, TimeoutError) as error:
        _failed(tools, record, now, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        return
    record.failures.pop("", None)
    record.sandboxes[status.id] = status
    record.pod_size = None
    if record.allocated is not None and resize.WHOLE in record.allocated:
        record.actuated[resize.WHOLE] = record.allocated[resize.WHOLE]
    await _remove_old(tools, record, keep=status.id)


def _failed(tools: Tools, record: PodRecord, now: float, reason: str, words: str) -> None:
    backoff = record.crashes.setdefault("", Backoff(RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS))
    backoff.advance(now, now)
    record.failures[""] = Failure(reason, words.partition(": ")[2], now + backoff.delay_seconds)
    tools.events(record).warning(reason, words)


async def _handler(tools: Tools, record: PodRecord) -> str:
    """The runtime's handler that the Pod's RuntimeClass names. Raises: ValueError when there is no such class."""
    name = record.pod.spec.runtime_class_name
    if not name:
        return ""
    from carob.api.types import node_v1

    found = await tools.objects.get(node_v1.RuntimeClass, "", name, record.uid)
    if found is None:
        raise ValueError(f'get RuntimeClass "{name}": runtimeclass.node.k8s.io "{name}" not found')
    return str(found.handler)


async def _remove_old(tools: Tools, record: PodRecord, keep: str) -> None:
    """Only sandboxes without containers go: how the last containers ended must stay known."""
    used = {container.sandbox_id for container in record.containers.values()}
    for sandbox_id in [s for s in record.sandboxes if s != keep and s not in used]:
        await tools.runtime.remove_sandbox(sandbox_id)
        del record.sandboxes[sandbox_id]
