"""`describe` of what makes Pods: Deployment, ReplicaSet, Job.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.containers import containers
from carob.cli.describers.volumes import volumes
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

REVISION = "deployment.kubernetes.io/revision"


def pod_template(writer: Writer, template: Tree) -> None:
    """`Pod Template:` and what its Pods will be."""
    writer.line(0, "Pod Template:")
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    parts.labels(writer, "  Labels", metadata.get("labels"))
    if metadata.get("annotations"):
        parts.annotation_lines(writer, "  Annotations", metadata["annotations"])
    if spec.get("serviceAccountName"):
        writer.line(0, f"  Service Account:\t{spec['serviceAccountName']}")
    if spec.get("initContainers"):
        containers(writer, "Init Containers", spec["initContainers"], None, {}, template=True)
    containers(writer, "Containers", spec.get("containers") or [], None, {}, template=True)
    volumes(writer, spec.get("volumes"), template=True)
    parts.spread_constraints(writer, "  Topology Spread Constraints", spec.get("topologySpreadConstraints") or [])
    if spec.get("priorityClassName"):
        writer.line(0, f"  Priority Class Name:\t{spec['priorityClassName']}")
    parts.labels(writer, "  Node-Selectors", spec.get("nodeSelector"))
    parts.tolerations(writer, "  Tolerations", spec.get("tolerations"))


def pods_status(writer: Writer, pods: Sequence[Tree]) -> None:
    """How many of these Pods are in which phase."""
    phases = [(p.get("status") or {}).get("phase") for p in pods]
    counts = [phases.count(phase) for phase in ("Running", "Pending", "Succeeded", "Failed")]
    writer.line(
        0, f"Pods Status:\t{counts[0]} Running / {counts[1]} Waiting / {counts[2]} Succeeded / {counts[3]} Failed"
    )


def selector_text(selector: Tree | None) -> str:
    """`app=web,tier in (a,b)`."""
    from carob.cli.pods import selector_of

    return selector_of({"spec": {"selector": selector or {}}}) or "<none>"


def describe_deployment(tree: Tree, replica_sets: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text; `replica_sets` are those that it controls."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"CreationTimestamp:\t{parts.rfc1123(metadata['creationTimestamp'])}")
    parts.marks(writer, metadata)
    writer.line(0, f"Selector:\t{selector_text(spec.get('selector'))}")
    counts = [status.get(f, 0) for f in ("updatedReplicas", "replicas", "availableReplicas", "unavailableReplicas")]
    writer.line(
        0,
        f"Replicas:\t{spec.get('replicas', 1)} desired | {counts[0]} updated | {counts[1]} total | "
        f"{counts[2]} available | {counts[3]} unavailable",
    )
    strategy = spec.get("strategy") or {}
    writer.line(0, f"StrategyType:\t{strategy.get('type', '')}")
    writer.line(0, f"MinReadySeconds:\t{spec.get('minReadySeconds', 0)}")
    rolling = strategy.get("rollingUpdate")
    if rolling:
        writer.line(
            0,
            f"RollingUpdateStrategy:\t{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge",
        )
    pod_template(writer, spec.get("template") or {})
    parts.plain_conditions(writer, status.get("conditions") or [])
    _replica_sets(writer, tree, replica_sets)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _replica_sets(writer: Writer, tree: Tree, replica_sets: Sequence[Tree]) -> None:
    if not replica_sets:
        return
    revision = (tree["metadata"].get("annotations") or {}).get(REVISION)
    new = [r for r in replica_sets if (r["metadata"].get("annotations") or {}).get(REVISION) == revision][:1]
    old = [r for r in replica_sets if r not in new]

    def shown(one: Tree) -> str:
        made = (one.get("status") or {}).get("replicas", 0)
        return f"{one['metadata']['name']} ({made}/{(one.get('spec') or {}).get('replicas', 1)} replicas created)"

    writer.line(0, f"OldReplicaSets:\t{', '.join(shown(r) for r in old) or '<none>'}")
    writer.line(0, f"NewReplicaSet:\t{', '.join(shown(r) for r in new) or '<none>'}")


def describe_replica_set(tree: Tree, pods: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text; `pods` are those that it selects."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"Selector:\t{selector_text(spec.get('selector'))}")
    parts.marks(writer, metadata)
    owner = parts.controlled_by(tree)
    if owner:
        writer.line(0, f"Controlled By:\t{owner}")
    writer.line(0, f"Replicas:\t{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired")
    pods_status(writer, pods)
    pod_template(writer, spec.get("template") or {})
    parts.plain_conditions(writer, status.get("conditions") or [])
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_job(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    if spec.get("selector"):
        writer.line(0, f"Selector:\t{selector_text(spec['selector'])}")
    parts.marks(writer, metadata)
    owner = parts.controlled_by(tree)
    if owner:
        writer.line(0, f"Controlled By:\t{owner}")
    for field, title in (
        ("parallelism", "Parallelism"),
        ("completions", "Completions"),
        ("completionMode", "Completion Mode"),
        ("suspend", "Suspend"),
        ("backoffLimit", "Backoff Limit"),
        ("ttlSecondsAfterFinished", "TTL Seconds After Finished"),
    ):
        if spec.get(field) is not None:
            value = str(spec[field]).lower() if isinstance(spec[field], bool) else spec[field]
            writer.line(0, f"{title}:\t{value}")
        elif field == "completions":
            writer.line(0, "Completions:\t<unset>")
    for field, title in (("startTime", "Start Time"), ("completionTime", "Completed At")):
        if status.get(field):
            writer.line(0, f"{title}:\t{parts.rfc1123(status[field])}")
    if status.get("startTime") and status.get("completionTime"):
        from carob.api.human import human_duration

        took = parts.parse_time(status["completionTime"]) - parts.parse_time(status["startTime"])
        writer.line(0, f"Duration:\t{human_duration(took.total_seconds())}")
    if spec.get("activeDeadlineSeconds") is not None:
        writer.line(0, f"Active Deadline Seconds:\t{spec['activeDeadlineSeconds']}s")
    active = f"{status.get('active', 0)} Active"
    if status.get("ready") is not None:
        active += f" ({status['ready']} Ready)"
    writer.line(
        0, f"Pods Statuses:\t{active} / {status.get('succeeded', 0)} Succeeded / {status.get('failed', 0)} Failed"
    )
    if spec.get("completionMode") == "Indexed":
        writer.line(0, f"Completed Indexes:\t{status.get('completedIndexes') or '<none>'}")
    pod_template(writer, spec.get("template") or {})
    if events is not None:
        parts.events(writer, events)
    return writer.text()
