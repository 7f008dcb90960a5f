"""What an update of a Pod, or of one of its subresources, may change.

Pure. Source: `pkg/apis/core/validation` (ValidatePodUpdate, ValidatePodStatusUpdate, ValidatePodEphemeralContainersUpdate,
ValidatePodResize).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import astuple

from carob.api import qos, restart_rules
from carob.api.types import core_v1
from carob.api.validation import field, meta, names, pod_diff, pod_statuses, scheduling
from carob.api.validation.pod import (
    APP_ARMOR_PREFIX,
    MAX_INT32,
    MIRROR_ANNOTATION,
    annotation_rules,
    metadata_and_spec,
    replace,
    two_families,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.scalars import Quantity
    from carob.api.validation.field import Cause

_ONLY_COMPUTE = "only cpu and memory resources are mutable"
UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
    "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
    "was previously negative)"
)


def update(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
    """PUT or PATCH of the Pod itself."""
    meta.core_updated(out, new.metadata, old.metadata)
    metadata_and_spec(out, new)
    _annotation_updates(out, new, old)
    for name, ours, theirs in (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
    ):
        if len(ours) != len(theirs):
            out.append(field.forbidden(f"spec.{name}", "pod updates may not add or remove containers"))
            return
        _images(out, f"spec.{name}", ours)
    if not _deadline(out, new.spec.active_deadline_seconds, old.spec.active_deadline_seconds):
        return
    _only_added_tolerations(out, new.spec.tolerations, old.spec.tolerations)
    known = {gate.name for gate in old.spec.scheduling_gates}
    for i, gate in enumerate(new.spec.scheduling_gates):
        if gate.name not in known:
            words = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            out.append(field.forbidden(f"spec.schedulingGates[{i}].name", words))
    if new.spec != old.spec:
        _nothing_else(out, new.spec, old.spec)


def _annotation_updates(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
    ours, theirs = new.metadata.annotations, old.metadata.annotations
    if ours != theirs:
        for key, value in theirs.items():
            if ours.get(key) == value:
                continue
            if key.startswith(APP_ARMOR_PREFIX):
                words = "may not remove or update AppArmor annotations"
                out.append(field.forbidden(f"metadata.annotations[{key}]", words))
            if key == MIRROR_ANNOTATION:
                words = "may not remove or update mirror pod annotation"
                out.append(field.forbidden(f"metadata.annotations[{key}]", words))
        for key in ours:
            if key in theirs:
                continue
            if key.startswith(APP_ARMOR_PREFIX):
                out.append(field.forbidden(f"metadata.annotations[{key}]", "may not add AppArmor annotations"))
            if key == MIRROR_ANNOTATION:
                out.append(field.forbidden(f"metadata.annotations[{key}]", "may not add mirror pod annotation"))
    if ours:
        annotation_rules(out, ours, new.spec)


def _images(out: list[Cause], path: str, containers: Sequence[core_v1.Container]) -> None:
    for i, container in enumerate(containers):
        if not container.image:
            out.append(field.required(f"{path}[{i}].image"))
        elif container.image != container.image.strip():
            words = "must not have leading or trailing whitespace"
            out.append(field.invalid(f"{path}[{i}].image", container.image, words))


def _deadline(out: list[Cause], new: int | None, old: int | None) -> bool:
    """From none to some, or to less; False if nothing more needs to be looked at."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            out.append(field.invalid(path, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= new <= MAX_INT32:
        out.append(field.invalid(path, new, f"must be between 0 and {MAX_INT32}, inclusive"))
        return False
    if old is not None and old < new:
        out.append(field.invalid(path, new, "must be less than or equal to previous value"))
        return False
    return True


def _only_added_tolerations(
    out: list[Cause], new: Sequence[core_v1.Toleration], old: Sequence[core_v1.Toleration]
) -> None:
    known = {astuple(replace(one, toleration_seconds=None)) for one in new}
    for toleration in old:
        if astuple(replace(toleration, toleration_seconds=None)) not in known:
            words = "existing toleration can not be modified except its tolerationSeconds"
            out.append(field.forbidden("spec.tolerations", words))
            return
    scheduling.tolerations(out, "spec.tolerations", new)


def _with_images_of(ours: Sequence[core_v1.Container], theirs: Sequence[core_v1.Container]) -> list[core_v1.Container]:
    return [replace(one, image=other.image) for one, other in zip(ours, theirs, strict=True)]


def _nothing_else(out: list[Cause], new: core_v1.PodSpec, old: core_v1.PodSpec) -> None:
    """Undo what may change, then nothing may be left."""
    seconds = new.termination_grace_period_seconds
    if seconds == 1 and (old.termination_grace_period_seconds or 0) < 0:
        seconds = old.termination_grace_period_seconds
    rest: core_v1.PodSpec = replace(
        new,
        containers=_with_images_of(new.containers, old.containers),
        init_containers=_with_images_of(new.init_containers, old.init_containers),
        active_deadline_seconds=old.active_deadline_seconds,
        scheduling_gates=old.scheduling_gates,
        tolerations=old.tolerations,
        termination_grace_period_seconds=seconds,
    )
    if old.scheduling_gates:
        rest = _gated(out, rest, old)
    if rest != old:
        diff = pod_diff.difference(old, rest)
        out.append(field.forbidden("spec", f"pod updates may not change fields other than {UPDATABLE}\n{diff}"))


def _gated(out: list[Cause], rest: core_v1.PodSpec, old: core_v1.PodSpec) -> core_v1.PodSpec:
    """While a Pod is held back by gates, its wishes for a node may become stricter."""
    if rest.node_selector != old.node_selector:
        if any(rest.node_selector.get(key) != value for key, value in old.node_selector.items()):
            words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            out.append(field.invalid("spec.nodeSelector", rest.node_selector, words))
        rest = replace(rest, node_selector=old.node_selector)
    before = old.affinity.node_affinity if old.affinity is not None else None
    after = rest.affinity.node_affinity if rest.affinity is not None else None
    if before == after:
        return rest
    _node_affinity_grows(out, after, before)
    if rest.affinity is None:
        return replace(rest, affinity=core_v1.Affinity(node_affinity=before))  # type: ignore[no-any-return]
    others = rest.affinity.pod_affinity, rest.affinity.pod_anti_affinity
    if old.affinity is None and others == (None, None):
        return replace(rest, affinity=None)  # type: ignore[no-any-return]
    return replace(rest, affinity=replace(rest.affinity, node_affinity=before))  # type: ignore[no-any-return]


def _node_affinity_grows(out: list[Cause], new: core_v1.NodeAffinity | None, old: core_v1.NodeAffinity | None) -> None:
    required = old.required_during_scheduling_ignored_during_execution if old is not None else None
    if required is None:
        return
    ours = new.required_during_scheduling_ignored_during_execution if new is not None else None
    after = ours.node_selector_terms if ours is not None else []
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    before = required.node_selector_terms
    if before and len(before) != len(after):
        words = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        out.append(field.invalid(path, after, words))
        return
    for i, (term, was) in enumerate(zip(after, before, strict=False)):
        empty = not was.match_expressions and not was.match_fields
        grown = (
            term.match_expressions[: len(was.match_expressions)] == was.match_expressions
            and term.match_fields[: len(was.match_fields)] == was.match_fields
        )
        if (empty and (term.match_expressions or term.match_fields)) or not grown:
            words = "only additions are allowed (no mutations or deletions)"
            out.append(field.invalid(f"{path}[{i}]", term, words))


def status(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
    """PUT or PATCH of `/status`."""
    meta.core_updated(out, new.metadata, old.metadata)
    _annotation_updates(out, new, old)
    for i, condition in enumerate(new.status.conditions):
        if condition.type not in ("PodScheduled", "Ready", "Initialized"):
            here = f"metadata.conditions[{i}].Type"
            meta.wrong_name(out, here, condition.type, names.qualified_name(condition.type))
    if new.spec.node_name != old.spec.node_name:
        out.append(field.forbidden("status.nodeName", "may not be changed directly"))
    nominated = new.status.nominated_node_name
    if nominated and nominated != old.status.nominated_node_name:
        meta.wrong_name(out, "status.nominatedNodeName", nominated, names.dns_subdomain(nominated))
    if old.status.qos_class:
        meta.immutable(out, "status.qosClass", new.status.qos_class, old.status.qos_class)
    _may_begin_again(out, old, new)
    _claim_statuses(out, new)
    _addresses(out, new.status)
    pod_statuses.containers(out, new)


def _may_begin_again(out: list[Cause], old: core_v1.Pod, new: core_v1.Pod) -> None:
    """A container that will not run again must not look as if it did. Source: `ValidateContainerStateTransition`."""
    spec, ours, theirs = old.spec, new.status, old.status
    all_again = restart_rules.may_restart_all(spec)
    regular = {} if all_again else {c.name: c for c in spec.containers}
    init = {} if all_again else {c.name: c for c in spec.init_containers}

    def regular_again(name: str, code: int) -> bool:
        if name not in regular:
            return spec.restart_policy == "Always"
        return restart_rules.restarts_after(spec, regular[name], code, init=False)

    def init_again(name: str, code: int) -> bool:
        # what a new sandbox begins with ran before
        always = spec.restart_policy == "Always" or (name in init and qos.is_sidecar(init[name]))
        return always or (name in init and restart_rules.restarts_after(spec, init[name], code, init=True))

    if not all_again:
        before, after = theirs.container_statuses, ours.container_statuses
        _transitions(out, "containerStatuses", after, before, regular_again)
        before, after = theirs.init_container_statuses, ours.init_container_statuses
        _transitions(out, "initContainerStatuses", after, before, init_again)
    before, after = theirs.ephemeral_container_statuses, ours.ephemeral_container_statuses
    _transitions(out, "ephemeralContainerStatuses", after, before, lambda name, code: False)


def _transitions(
    out: list[Cause],
    name: str,
    new: Sequence[core_v1.ContainerStatus],
    old: Sequence[core_v1.ContainerStatus],
    again: Callable[[str, int], bool],
) -> None:
    alive = {s.name for s in new if s.state.terminated is None}
    for i, was in enumerate(old):
        ended = was.state.terminated
        if ended is not None and was.name in alive and not again(was.name, ended.exit_code):
            words = "may not be transitioned to non-terminated state"
            out.append(field.forbidden(f"status.{name}[{i}].state", words))


def _claim_statuses(out: list[Cause], pod: core_v1.Pod) -> None:
    known = {claim.name for claim in pod.spec.resource_claims}
    taken: set[str] = set()
    for i, claim in enumerate(pod.status.resource_claim_statuses):
        here = f"status.resourceClaimStatuses[{i}].name"
        if claim.name not in known:
            words = "must match the name of an entry in `spec.resourceClaims`"
            out.append(field.invalid(here, claim.name, words))
        if claim.name in taken:
            out.append(field.duplicate(here, claim.name))
        taken.add(claim.name)
        if claim.resource_claim_name is not None:
            wrong = names.dns_subdomain(claim.resource_claim_name)
            meta.wrong_name(out, here, claim.resource_claim_name, wrong)


def _addresses(out: list[Cause], found: core_v1.PodStatus) -> None:
    _one_list(out, "status.podIPs", [p.ip for p in found.pod_ips])
    if found.host_ips and found.host_ip != found.host_ips[0].ip:
        out.append(field.invalid("status.hostIPs[0].ip", found.host_ips[0].ip, "must be equal to `hostIP`"))
    _one_list(out, "status.hostIPs", [h.ip for h in found.host_ips], repeated_first=True)


def _one_list(out: list[Cause], path: str, addresses: list[str], *, repeated_first: bool = False) -> None:
    # upstream v1.36 accepts here what is no address at all
    if len(addresses) < 2:
        return
    shown = [{"IP": a} for a in addresses]
    found = []
    if len(addresses) > 2 or not two_families(addresses):
        found.append(field.invalid(path, shown, "may specify no more than one IP for each IP family"))
    again = field.repeated(addresses)
    repeats = [field.duplicate(f"{path}[{i}]", shown[i]) for i, _ in enumerate(addresses) if again[i]]
    out += [*repeats, *found] if repeated_first else [*found, *repeats]


def ephemeral_containers(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
    """PUT or PATCH of `/ephemeralcontainers`: they can be added, and never changed or taken away."""
    if MIRROR_ANNOTATION in old.metadata.annotations:
        out.append(field.forbidden("[]", "static pods do not support ephemeral containers"))
        return
    meta.core_updated(out, new.metadata, old.metadata)
    metadata_and_spec(out, new)
    _annotation_updates(out, new, old)
    ours = {c.name: c for c in new.spec.ephemeral_containers}
    for was in old.spec.ephemeral_containers:
        name = field.quoted(was.name)
        if was.name not in ours:
            words = f"existing ephemeral containers {name} may not be removed\n"
            out.append(field.forbidden("spec.ephemeralContainers", words))
        elif ours[was.name] != was:
            diff = pod_diff.difference(was, ours[was.name])
            words = f"existing ephemeral containers {name} may not be changed\n{diff}"
            out.append(field.forbidden("spec.ephemeralContainers", words))


def resize(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
    """PUT or PATCH of `/resize`: CPU and memory of running containers."""
    if MIRROR_ANNOTATION in old.metadata.annotations:
        out.append(field.forbidden("[]", "static pods cannot be resized"))
        return
    if old.spec.os is not None and old.spec.os.name == "windows":
        out.append(field.forbidden("[]", "windows pods cannot be resized"))
        return
    before = len(out)
    meta.core_updated(out, new.metadata, old.metadata)
    metadata_and_spec(out, new)
    was = old.status.qos_class or qos.qos_class(old)
    if was != qos.qos_class(new):
        out.append(field.invalid("spec", new.status.qos_class, "Pod QOS Class may not change as a result of resizing"))
    counts = len(new.spec.containers), len(new.spec.init_containers)
    if counts != (len(old.spec.containers), len(old.spec.init_containers)):
        out.append(field.forbidden("spec", _ONLY_COMPUTE))
        return
    inits = list(zip(new.spec.init_containers, old.spec.init_containers, strict=True))
    regular = list(zip(new.spec.containers, old.spec.containers, strict=True))
    for i, (ours, theirs) in enumerate(inits):
        if qos.is_sidecar(theirs):
            _kept(out, f"spec.initContainers[{i}].resources", ours.resources, theirs.resources)
    for i, (ours, theirs) in enumerate(regular):
        _kept(out, f"spec.containers[{i}].resources", ours.resources, theirs.resources)
    for ours, theirs in regular:
        if _with_compute_of(ours, theirs) != theirs:
            out.append(field.forbidden("spec", _ONLY_COMPUTE))
    for ours, theirs in inits:
        if not qos.is_sidecar(ours):
            if ours != theirs:
                out.append(field.forbidden("spec", "resources for non-sidecar init containers are immutable"))
        elif _with_compute_of(ours, theirs) != theirs:
            words = "only cpu and memory resources for sidecar containers are mutable"
            out.append(field.forbidden("spec", words))
    whole = new.spec.resources
    if whole is not None and old.spec.resources is not None:
        _kept(out, "spec.resources", whole, old.spec.resources)
        whole = _with_amounts_of(whole, old.spec.resources)
    kept = {"containers": old.spec.containers, "init_containers": old.spec.init_containers, "resources": whole}
    if len(out) == before and replace(new.spec, **kept) != old.spec:
        out.append(field.forbidden("spec", _ONLY_COMPUTE))


def _kept(out: list[Cause], path: str, new: core_v1.ResourceRequirements, old: core_v1.ResourceRequirements) -> None:
    if not old.requests.keys() <= new.requests.keys():
        out.append(field.forbidden(f"{path}.requests", "resource requests cannot be removed"))
    if not old.limits.keys() <= new.limits.keys():
        out.append(field.forbidden(f"{path}.limits", "resource limits cannot be removed"))


def _with_compute_of(ours: core_v1.Container, theirs: core_v1.Container) -> core_v1.Container:
    wanted = _with_amounts_of(ours.resources, theirs.resources)
    return replace(ours, resources=wanted, resize_policy=theirs.resize_policy)  # type: ignore[no-any-return]


def _with_amounts_of(
    ours: core_v1.ResourceRequirements, theirs: core_v1.ResourceRequirements
) -> core_v1.ResourceRequirements:
    def mixed(new: dict[str, Quantity], old: dict[str, Quantity]) -> dict[str, Quantity]:
        kept = {k: v for k, v in new.items() if k not in ("cpu", "memory")}
        return kept | {k: v for k, v in old.items() if k in ("cpu", "memory")}

    limits, requests = mixed(ours.limits, theirs.limits), mixed(ours.requests, theirs.requests)
    return replace(ours, limits=limits, requests=requests)  # type: ignore[no-any-return]


def binding(out: list[Cause], found: core_v1.Binding) -> None:
    """POST of `/binding`: the node that a Pod is given to."""
    if found.target.kind not in ("", "Node"):
        out.append(field.not_supported("target.kind", found.target.kind, ("Node", "<empty>")))
    if not found.target.name:
        out.append(field.required("target.name"))
