"""Pods: first state, graceful deletion, and what each subresource may change.

Source: upstream `pkg/registry/core/pod/strategy.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.features import CLUSTER_TRUST_BUNDLE_PROJECTION
from carob.api.qos import qos_class
from carob.api.status import bad_request
from carob.api.types import core_v1, meta_v1
from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from carob.api.types.meta_v1 import DeleteOptions
    from carob.apiserver.registry.strategy import WriteContext

FINISHED = ("Succeeded", "Failed")


class PodStrategy(Strategy):
    """See the module's docstring."""

    def prepare_create(self, obj: core_v1.Pod, context: WriteContext) -> None:
        """Pending, with the class that its resources give it."""
        obj.metadata.generation = 1
        _clean(obj.spec)
        drop_gated(obj.spec, context.gates)
        obj.status = core_v1.PodStatus(phase="Pending", qos_class=qos_class(obj))
        if obj.spec.affinity is not None or obj.spec.topology_spread_constraints:
            _match_label_keys(obj)
        if obj.spec.scheduling_gates:
            obj.status.conditions.append(
                core_v1.PodCondition(
                    type="PodScheduled",
                    status="False",
                    last_transition_time=context.now,
                    reason="SchedulingGated",
                    message="Scheduling is blocked due to non-empty scheduling gates",
                )
            )

    def prepare_update(self, new: core_v1.Pod, old: core_v1.Pod, context: WriteContext) -> None:
        """The spec alone; ephemeral containers have a subresource of their own."""
        new.status = old.status
        _clean(new.spec)
        _drop_stop_signals(new.spec)  # a Pod that has projections keeps them: volumes do not change
        new.metadata.generation = old.metadata.generation + (new.spec != old.spec)

    def prepare_status(self, new: core_v1.Pod, old: core_v1.Pod, context: WriteContext) -> None:
        """The status alone; owners and the class of service stay."""
        new.spec = old.spec
        new.metadata.owner_references = old.metadata.owner_references
        new.metadata.generation = old.metadata.generation
        new.status.qos_class = new.status.qos_class or old.status.qos_class
        _both_addresses(new.status)

    def grace_period(self, obj: core_v1.Pod, options: DeleteOptions) -> int | None:
        """The client's wish, else the Pod's own; none for a Pod that runs nowhere or has finished."""
        seconds = options.grace_period_seconds
        if seconds is None:
            seconds = obj.spec.termination_grace_period_seconds or 0
        if not obj.spec.node_name or obj.status.phase in FINISHED:
            seconds = 0
        return max(seconds, 1) if seconds < 0 else seconds


def _clean(spec: core_v1.PodSpec) -> None:
    """A negative grace is one second."""
    if spec.termination_grace_period_seconds is not None and spec.termination_grace_period_seconds < 0:
        spec.termination_grace_period_seconds = 1


def drop_gated(spec: core_v1.PodSpec, gates: frozenset[str]) -> None:
    """Take away the fields of a Pod, or of a template, whose feature gate is closed.

    Source: `pkg/api/pod/util.go` (`dropDisabledFields`).
    """
    _drop_stop_signals(spec)
    for volume in spec.volumes:
        for source in volume.projected.sources if volume.projected is not None else ():
            if CLUSTER_TRUST_BUNDLE_PROJECTION not in gates:
                source.cluster_trust_bundle = None
            source.pod_certificate = None


def _drop_stop_signals(spec: core_v1.PodSpec) -> None:
    for container in (*spec.containers, *spec.init_containers):
        if container.lifecycle is not None and container.lifecycle.stop_signal:
            container.lifecycle.stop_signal = None
            if container.lifecycle == core_v1.Lifecycle():
                container.lifecycle = None


def _both_addresses(status: core_v1.PodStatus) -> None:
    """The one address and the list of them say the same. Source: `Convert_v1_PodStatus_To_core_PodStatus`."""
    if status.pod_ip and (not status.pod_ips or status.pod_ips[0].ip != status.pod_ip):
        status.pod_ips = [core_v1.PodIP(ip=status.pod_ip)]
    elif status.pod_ips and not status.pod_ip:
        status.pod_ip = status.pod_ips[0].ip


def _match_label_keys(pod: core_v1.Pod) -> None:
    """Write the values of `matchLabelKeys` into the selectors that they narrow.

    Source: KEP-3633 (affinity), KEP-3243 (topology spread).
    """
    labels = pod.metadata.labels
    for term in _affinity_terms(pod.spec.affinity):
        if term.label_selector is not None:
            _narrow(term.label_selector, term.match_label_keys, "In", labels)
            _narrow(term.label_selector, term.mismatch_label_keys, "NotIn", labels)
    for constraint in pod.spec.topology_spread_constraints:
        if constraint.label_selector is not None:
            _narrow(constraint.label_selector, constraint.match_label_keys, "In", labels)


def _affinity_terms(affinity: core_v1.Affinity | None) -> list[core_v1.PodAffinityTerm]:
    found: list[core_v1.PodAffinityTerm] = []
    for side in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity is not None else ():
        if side is not None:
            found += side.required_during_scheduling_ignored_during_execution
            found += [one.pod_affinity_term for one in side.preferred_during_scheduling_ignored_during_execution]
    return found


def _narrow(selector: meta_v1.LabelSelector, keys: list[str], operator: str, labels: dict[str, str]) -> None:
    for key in keys:
        if key in labels:
            wanted = meta_v1.LabelSelectorRequirement(key=key, operator=operator, values=[labels[key]])
            selector.match_expressions.append(wanted)


def prepare_ephemeral_containers(new: Any, old: Any, context: WriteContext) -> None:
    """Only the ephemeral containers may change."""
    containers = new.spec.ephemeral_containers
    spec = _copy(old.spec)
    spec.ephemeral_containers = containers
    changed = containers != old.spec.ephemeral_containers
    _only(new, old, spec, changed)


def prepare_resize(new: Any, old: Any, context: WriteContext) -> None:
    """Only the resources of running containers may change.

    Source: KEP-1287. Raises: ApiError 400 for a container that is not there.
    """
    spec = _copy(old.spec)
    _resized(spec, "containers", new.spec.containers)
    _resized(spec, "init_containers", new.spec.init_containers)
    spec.resources = new.spec.resources
    _only(new, old, spec, spec != old.spec)


def _resized(spec: Any, field: str, wanted: list[core_v1.Container]) -> None:
    by_name = {container.name: container for container in wanted}
    present = getattr(spec, field)
    if len(by_name) != len(present) or any(container.name not in by_name for container in present):
        raise bad_request("spec.containers: containers may not be added or removed on resize")
    out = []
    for container in present:
        container = _copy(container)
        container.resources = by_name[container.name].resources
        container.resize_policy = by_name[container.name].resize_policy
        out.append(container)
    setattr(spec, field, out)


def _only(new: Any, old: Any, spec: Any, changed: bool) -> None:
    metadata = _copy(old.metadata)
    metadata.resource_version = new.metadata.resource_version
    metadata.managed_fields = new.metadata.managed_fields
    metadata.generation = old.metadata.generation + changed
    new.metadata, new.spec, new.status = metadata, spec, old.status


def _copy(struct: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(struct)
