"""DaemonSets: one Pod on every node that fits. Pure.

Source: kube-controller-manager `daemon/daemon_controller.go`, `daemon/update.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api import codec, int_or_string
from carob.api.selectors import SelectorError, from_node_expressions
from carob.api.types import apps_v1, core_v1
from carob.controllers.replicaset import next_available
from carob.controllers.revisions import HASH_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from carob.controllers.views import PodView
    from carob.controllers.workload_views import DaemonSetView

MAX_BURST = 250
GENERATION_LABEL = "pod-template-generation"
_KEY = "node.kubernetes.io/"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


class Plan(Struct):
    """What is to be done. Shape: `create` are names of nodes; `killed` are nodes whose Pod had failed."""

    create: list[str] = field(default_factory=list)
    delete: list[PodView] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    recheck_seconds: float | None = None
    status: apps_v1.DaemonSetStatus = field(default_factory=apps_v1.DaemonSetStatus)

    def recheck(self, seconds: float) -> None:
        """Look again by then."""
        self.recheck_seconds = seconds if self.recheck_seconds is None else min(self.recheck_seconds, seconds)


def tolerations(template: dict[str, Any]) -> list[dict[str, Any]]:
    """The template's, and those that every daemon has."""
    spec = template.get("spec") or {}
    wanted = [*_TOLERATED, *([("network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else [])]
    own = list(spec.get("tolerations") or [])
    for name, effect in wanted:
        one = {"key": _KEY + name, "operator": "Exists", "effect": effect}
        if one not in own:
            own.append(one)
    return own


class Fit:
    """Which nodes a template's Pods may and should run on; parsed once for all nodes."""

    def __init__(self, template: dict[str, Any]) -> None:
        spec = template.get("spec") or {}
        self._node_name: str = spec.get("nodeName") or ""
        self._labels: dict[str, str] = spec.get("nodeSelector") or {}
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        self._terms = (
            codec.from_tree(core_v1.NodeSelector, required).node_selector_terms if required is not None else None
        )
        self._tolerations = codec.from_tree(list[core_v1.Toleration], tolerations(template))

    def judge(self, node: core_v1.Node) -> tuple[bool, bool]:
        """Whether a Pod should be started there, and whether one that is there may stay."""
        if self._node_name and self._node_name != node.metadata.name:
            return False, False
        labels = node.metadata.labels
        if not self._labels.items() <= labels.items() or not self._matches(node):
            return False, False
        untolerated = {
            taint.effect
            for taint in node.spec.taints
            if taint.effect in ("NoSchedule", "NoExecute") and not any(_covers(t, taint) for t in self._tolerations)
        }
        return not untolerated, "NoExecute" not in untolerated

    def _matches(self, node: core_v1.Node) -> bool:
        return self._terms is None or any(_term_matches(term, node) for term in self._terms)


def _term_matches(term: core_v1.NodeSelectorTerm, node: core_v1.Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    for one in term.match_fields:
        inside = node.metadata.name in one.values
        if one.key != "metadata.name" or inside != (one.operator == "In"):
            return False
    try:
        return from_node_expressions(term.match_expressions).matches(node.metadata.labels)
    except SelectorError:
        return False


def _covers(toleration: core_v1.Toleration, taint: core_v1.Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


def _oldest_first(pod: PodView) -> tuple[bool, str, str]:
    return not pod.spec.node_name, pod.metadata.creation_timestamp or "", pod.metadata.name


def limits(daemon: DaemonSetView, desired: int) -> tuple[int, int]:
    """`maxSurge` and `maxUnavailable` as numbers of nodes."""
    rolling = daemon.spec.update_strategy.rolling_update
    if rolling is None:
        return 0, 1
    surge = int_or_string.scaled(rolling.max_surge or 0, desired, round_up=True)
    unavailable = int_or_string.scaled(
        rolling.max_unavailable if rolling.max_unavailable is not None else 1, desired, round_up=True
    )
    return surge, unavailable if surge or unavailable else 1


def reconcile(
    daemon: DaemonSetView,
    fit: Fit,
    nodes: Iterable[core_v1.Node],
    pods: Sequence[PodView],
    digest: str,
    held: Mapping[str, float],
    now: float,
) -> Plan:
    """The next step.

    Shape: `digest` is the hash of the present template; `held` says, by node, until when a failed Pod is left alone.
    """
    plan = Plan()
    by_node: dict[str, list[PodView]] = {}
    for pod in pods:
        by_node.setdefault(pod.target_node, []).append(pod)
    verdicts = {node.metadata.name: fit.judge(node) for node in nodes}
    plan.status = _status(daemon, verdicts, by_node, digest, now)
    surge, unavailable = limits(daemon, plan.status.desired_number_scheduled)
    rolling = daemon.spec.update_strategy.type == "RollingUpdate"
    wait = next_available(pods, daemon.spec.min_ready_seconds, now)
    if wait is not None:
        plan.recheck(wait)
    if daemon.is_ending:
        return plan
    for name, (should_run, may_stay) in verdicts.items():
        there = by_node.get(name, [])
        if should_run and not there:
            plan.create.append(name)
        elif not may_stay:
            plan.delete.extend(pod for pod in there if not pod.is_ending)
        elif there:
            _tidy(daemon, name, there, held, now, plan, digest if rolling and surge else None)
    # Pods that found no node at all are not left to wait for one that is gone
    plan.delete.extend(
        p for n, found in by_node.items() if n not in verdicts for p in found if not n and not p.is_ending
    )
    if not plan.create and not plan.delete and rolling:
        _roll(daemon, verdicts, by_node, digest, surge, unavailable, now, plan)
    plan.create = plan.create[:MAX_BURST]
    plan.delete = plan.delete[:MAX_BURST]
    return plan


def _tidy(
    daemon: DaemonSetView,
    node: str,
    there: Sequence[PodView],
    held: Mapping[str, float],
    now: float,
    plan: Plan,
    surge_digest: str | None,
) -> None:
    """On a node that should have one: what has ended goes, and of several running ones all but the oldest."""
    running: list[PodView] = []
    for pod in there:
        if pod.is_ending:
            continue
        name = pod.metadata.name
        if pod.status.phase == "Failed":
            until = held.get(node, 0.0)
            if until > now:
                plan.recheck(until - now)
                continue
            what = f"Found failed daemon pod {pod.metadata.namespace}/{name} on node {node}, will try to kill it"
            plan.events.append(("Warning", "FailedDaemonPod", what))
            plan.killed.append(node)
            plan.delete.append(pod)
        elif pod.status.phase == "Succeeded":
            what = f"Found succeeded daemon pod {pod.metadata.namespace}/{name} on node {node}, will try to delete it"
            plan.events.append(("Normal", "SucceededDaemonPod", what))
            plan.delete.append(pod)
        else:
            running.append(pod)
    running.sort(key=_oldest_first)
    if surge_digest is None:
        plan.delete.extend(running[1:])
        return
    # with surge one old and one new may stand side by side
    for same in (True, False):
        alike = [p for p in running if (p.metadata.labels.get(HASH_LABEL) == surge_digest) == same]
        plan.delete.extend(alike[1:])


def _roll(
    daemon: DaemonSetView,
    verdicts: Mapping[str, tuple[bool, bool]],
    by_node: Mapping[str, Sequence[PodView]],
    digest: str,
    surge: int,
    unavailable: int,
    now: float,
    plan: Plan,
) -> None:
    seconds = daemon.spec.min_ready_seconds
    missing, surging = 0, 0
    free: list[PodView] = []
    candidates: list[PodView] = []
    free_nodes: list[str] = []
    candidate_nodes: list[str] = []
    for name, (should_run, _) in sorted(verdicts.items()):
        if not should_run:
            continue
        there = [p for p in by_node.get(name, ()) if not p.is_ending]
        new = [p for p in there if p.metadata.labels.get(HASH_LABEL) == digest]
        old = [p for p in there if p.metadata.labels.get(HASH_LABEL) != digest]
        new_works = any(p.is_available(seconds, now) for p in new)
        old_works = any(p.is_available(seconds, now) for p in old)
        if not old:
            missing += not new_works
        elif not surge:
            if new:
                continue
            (candidates if old_works else free).extend(old)
            missing += not old_works
        elif new:
            surging += 1
            if new_works or not old_works:
                plan.delete.extend(old)
        else:
            (candidate_nodes if old_works else free_nodes).append(name)
    if surge:
        plan.create = [*free_nodes, *candidate_nodes[: max(surge - surging, 0)]]
    else:
        plan.delete.extend([*free, *candidates[: max(unavailable - missing, 0)]])


def _status(
    daemon: DaemonSetView,
    verdicts: Mapping[str, tuple[bool, bool]],
    by_node: Mapping[str, Sequence[PodView]],
    digest: str,
    now: float,
) -> apps_v1.DaemonSetStatus:
    status = apps_v1.DaemonSetStatus(
        observed_generation=daemon.metadata.generation,
        collision_count=daemon.status.collision_count,
        conditions=daemon.status.conditions,
    )
    for name, (should_run, _) in verdicts.items():
        there = sorted(by_node.get(name, ()), key=_oldest_first)
        if not should_run:
            status.number_misscheduled += bool(there)
            continue
        status.desired_number_scheduled += 1
        if not there:
            continue
        status.current_number_scheduled += 1
        # the oldest speaks for its node: with surge the new one counts when it has taken the old one's place
        one = there[0]
        status.number_ready += one.is_ready
        status.number_available += one.is_available(daemon.spec.min_ready_seconds, now)
        status.updated_number_scheduled += one.metadata.labels.get(HASH_LABEL) == digest
    status.number_unavailable = status.desired_number_scheduled - status.number_available
    return status
