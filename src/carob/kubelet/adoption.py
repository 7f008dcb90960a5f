"""Finds this node's Pods again after a restart of the agent: from what the runtime and the disk have. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import core_v1, meta_v1
from carob.kubelet import labels
from carob.kubelet.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from carob.kubelet.pod_record import PodRecord
from carob.runtime.types import ContainerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.runtime.types import ContainerStatus, SandboxStatus


def adopt(sandboxes: Iterable[SandboxStatus], containers: Iterable[ContainerStatus]) -> list[PodRecord]:
    """A record for every Pod that has a sandbox; its Pod is made up from labels until the API brings the real one."""
    records: dict[str, PodRecord] = {}
    owners: dict[str, str] = {}
    for sandbox in sandboxes:
        config = sandbox.config
        record = records.get(config.uid)
        if record is None:
            record = records[config.uid] = PodRecord(config.uid, _pod(config.name, config.namespace, config.uid))
        record.sandboxes[sandbox.id] = sandbox
        owners[sandbox.id] = config.uid
    for container in containers:
        uid = owners.get(container.sandbox_id)
        if uid is None:
            continue
        record = records[uid]
        record.containers[container.id] = container
        grace = labels.grace_period_of(container.annotations)
        record.pod.spec.termination_grace_period_seconds = grace
    for record in records.values():
        _seed_crashes(record)
    return list(records.values())


def orphan(uid: str, logs: Mapping[str, str]) -> PodRecord:
    """A Pod of which only files are left; whose they were, the name of its folder of logs tells."""
    namespace, _, name = logs.get(uid, "_").partition("_")
    return PodRecord(uid, _pod(name, namespace, uid))


def pods_with_logs(folders: Iterable[str]) -> dict[str, str]:
    """`<namespace>_<name>` by uid, from folders that are called `<namespace>_<name>_<uid>`."""
    parts = (folder.rpartition("_") for folder in folders)
    return {uid: owner for owner, _, uid in parts if owner.count("_") == 1}


def _pod(name: str, namespace: str, uid: str) -> core_v1.Pod:
    return core_v1.Pod(metadata=meta_v1.ObjectMeta(name=name, namespace=namespace, uid=uid))


def _seed_crashes(record: PodRecord) -> None:
    """A container that was restarted often goes on waiting as long as it did before the agent's restart."""
    for name in {status.name for status in record.containers.values()}:
        latest = record.latest(name)
        if latest is None or latest.attempt == 0:
            continue
        ended = latest.finished_at if latest.state is ContainerState.EXITED else latest.started_at
        delay = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(latest.attempt - 1, 10))
        record.crashes[name] = Backoff(delay_seconds=delay, last_update=latest.started_at or ended)
