"""`describe` of what keeps Pods without ReplicaSets: DaemonSet, StatefulSet, ReplicationController, CronJob.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.cli.describers import parts
from carob.cli.describers.workloads import pod_template, pods_status, selector_text
from carob.cli.describers.writer import Writer
from carob.cli.printers.table import format_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree


def describe_daemon_set(tree: Tree, pods: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text; `pods` are those that it selects."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"Selector:\t{selector_text(spec.get('selector'))}")
    template = spec.get("template") or {}
    selector = (template.get("spec") or {}).get("nodeSelector") or {}
    writer.line(0, f"Node-Selector:\t{format_labels(selector)}")
    parts.marks(writer, metadata)
    for field, title in (
        ("desiredNumberScheduled", "Desired Number of Nodes Scheduled"),
        ("currentNumberScheduled", "Current Number of Nodes Scheduled"),
        ("updatedNumberScheduled", "Number of Nodes Scheduled with Up-to-date Pods"),
        ("numberAvailable", "Number of Nodes Scheduled with Available Pods"),
        ("numberMisscheduled", "Number of Nodes Misscheduled"),
    ):
        writer.line(0, f"{title}: {status.get(field, 0)}")
    pods_status(writer, pods)
    pod_template(writer, template)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_stateful_set(tree: Tree, pods: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text; `pods` are those that it selects."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"CreationTimestamp:\t{parts.rfc1123(metadata['creationTimestamp'])}")
    writer.line(0, f"Selector:\t{selector_text(spec.get('selector'))}")
    parts.marks(writer, metadata)
    writer.line(0, f"Service Name:\t{spec.get('serviceName', '')}")
    writer.line(0, f"Pod Management Policy:\t{spec.get('podManagementPolicy', '')}")
    writer.line(0, f"Replicas:\t{spec.get('replicas', 0)} desired | {status.get('replicas', 0)} total")
    strategy = spec.get("updateStrategy") or {}
    writer.line(0, f"Update Strategy:\t{strategy.get('type', '')}")
    rolling = strategy.get("rollingUpdate")
    if rolling:
        writer.line(1, f"Partition:\t{rolling.get('partition', 0)}")
        if rolling.get("maxUnavailable") is not None:
            writer.line(1, f"MaxUnavailable:\t{rolling['maxUnavailable']}")
    kept = spec.get("persistentVolumeClaimRetentionPolicy")
    if kept:
        writer.line(0, "Persistent Volume Claim Retention Policy:")
        writer.line(1, f"WhenDeleted:\t{kept.get('whenDeleted', '')}")
        writer.line(1, f"WhenScaled:\t{kept.get('whenScaled', '')}")
    pods_status(writer, pods)
    pod_template(writer, spec.get("template") or {})
    _volume_claims(writer, spec.get("volumeClaimTemplates") or [])
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _volume_claims(writer: Writer, claims: Sequence[Tree]) -> None:
    if not claims:
        writer.line(0, "Volume Claims:\t<none>")
        return
    writer.line(0, "Volume Claims:")
    for claim in claims:
        metadata, spec = claim.get("metadata") or {}, claim.get("spec") or {}
        writer.line(1, f"Name:\t{metadata.get('name')}")
        writer.line(1, f"StorageClass:\t{parts.storage_class(claim)}")
        _map_lines(writer, "Labels", metadata.get("labels"))
        _map_lines(writer, "Annotations", metadata.get("annotations"))
        capacity = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        writer.line(1, f"Capacity:\t{capacity or '<default>'}")
        writer.line(1, f"Access Modes:\t[{' '.join(spec.get('accessModes') or [])}]")


def _map_lines(writer: Writer, title: str, values: dict[str, str] | None) -> None:
    """As labels are shown, annotations too, one level in."""
    writer.write(1, f"{title}:\t")
    if not values:
        writer.line(0, "<none>")
    for index, key in enumerate(sorted(values or {})):
        writer.line(0, ("  \t" if index else "") + f"{key}={(values or {})[key]}")


def describe_replication_controller(tree: Tree, pods: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text; `pods` are those that it selects."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"Selector:\t{format_labels(spec.get('selector') or {})}")
    parts.marks(writer, metadata)
    writer.line(0, f"Replicas:\t{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired")
    pods_status(writer, pods)
    pod_template(writer, spec.get("template") or {})
    parts.plain_conditions(writer, status.get("conditions") or [])
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_cron_job(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    parts.head(writer, metadata)
    writer.line(0, f"Schedule:\t{spec.get('schedule', '')}")
    writer.line(0, f"Concurrency Policy:\t{spec.get('concurrencyPolicy', '')}")
    writer.line(0, f"Suspend:\t{'True' if spec.get('suspend') else 'False'}")
    writer.line(0, f"Time Zone:\t{_or_unset(spec.get('timeZone'))}")
    writer.line(0, f"Successful Job History Limit:\t{_or_unset(spec.get('successfulJobsHistoryLimit'))}")
    writer.line(0, f"Failed Job History Limit:\t{_or_unset(spec.get('failedJobsHistoryLimit'))}")
    deadline = spec.get("startingDeadlineSeconds")
    writer.line(0, f"Starting Deadline Seconds:\t{_or_unset(None if deadline is None else f'{deadline}s')}")
    _job_template(writer, (spec.get("jobTemplate") or {}).get("spec") or {})
    last = status.get("lastScheduleTime")
    writer.line(0, f"Last Schedule Time:\t{parts.rfc1123(last) if last else '<unset>'}")
    active = [str(job.get("name", "")) for job in status.get("active") or []]
    writer.line(0, f"Active Jobs:\t{', '.join(active) or '<none>'}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _job_template(writer: Writer, job: Tree) -> None:
    selector = job.get("selector")
    writer.line(0, f"Selector:\t{selector_text(selector) if selector else '<unset>'}")
    writer.line(0, f"Parallelism:\t{_or_unset(job.get('parallelism'))}")
    writer.line(0, f"Completions:\t{_or_unset(job.get('completions'))}")
    if job.get("activeDeadlineSeconds") is not None:
        writer.line(0, f"Active Deadline Seconds:\t{job['activeDeadlineSeconds']}s")
    pod_template(writer, job.get("template") or {})


def _or_unset(value: Any) -> str:
    return "<unset>" if value is None else str(value)
