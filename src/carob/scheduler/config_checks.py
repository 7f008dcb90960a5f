"""What a KubeSchedulerConfiguration may say, in upstream's words.

Pure. Source: kube-scheduler `apis/config/validation/{validation,validation_pluginargs}.go`. Differs: also where upstream
forgets to call its check (the arguments of NodeResourcesFit are checked by the plugin there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.validation import field, names
from carob.scheduler import config_types as types
from carob.scheduler.node_terms import term_errors
from carob.scheduler.profiles import LEAST, MOST, RATIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.validation.field import Cause

SYSTEM, LIST = "System", "List"
GONE = frozenset({"AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"})


def configuration(out: list[Cause], tree: types.ConfigurationTree) -> None:
    """All but the plugins' arguments, which `arguments` checks."""
    if tree.parallelism is not None and tree.parallelism <= 0:
        out.append(field.invalid("parallelism", tree.parallelism, "should be an integer value greater than zero"))
    _percentage(out, "percentageOfNodesToScore", tree.percentage_of_nodes_to_score)
    first = 1 if tree.pod_initial_backoff_seconds is None else tree.pod_initial_backoff_seconds
    most = 10 if tree.pod_max_backoff_seconds is None else tree.pod_max_backoff_seconds
    if first <= 0:
        out.append(field.invalid("podInitialBackoffSeconds", first, "must be greater than 0"))
    if most < first:
        detail = "must be greater than or equal to PodInitialBackoffSeconds"
        out.append(field.invalid("podMaxBackoffSeconds", most, detail))
    _extenders(out, tree.extenders or [])


def profile(out: list[Cause], tree: types.ProfileTree, path: str) -> None:
    """What concerns the profile as a whole."""
    _percentage(out, f"{path}.percentageOfNodesToScore", tree.percentage_of_nodes_to_score)
    for i, one in enumerate(tree.plugin_config or []):
        here = f"{path}.pluginConfig[{i}]"
        if one.name in [other.name for other in (tree.plugin_config or [])[:i]]:
            out.append(field.duplicate(here, one.name))
        if one.name in GONE:
            out.append(field.invalid(here, one.name, _gone()))


def _gone() -> str:
    return 'was invalid in version "v1" (KubeSchedulerConfiguration is version "kubescheduler.config.k8s.io/v1")'


def _percentage(out: list[Cause], path: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= 100:
        out.append(field.invalid(path, value, "not in valid range [0-100]"))


def _extenders(out: list[Cause], trees: Sequence[types.ExtenderTree]) -> None:
    binders = 0
    managed: set[str] = set()
    for i, one in enumerate(trees):
        path = f"extenders[{i}]"
        if one.prioritize_verb and one.weight <= 0:
            out.append(field.invalid(f"{path}.weight", one.weight, "must have a positive weight applied to it"))
        binders += bool(one.bind_verb)
        for j, resource in enumerate(one.managed_resources or []):
            here = f"{path}.managedResources[{j}].name"
            problems = names.qualified_name(resource.name)
            out += [field.invalid(here, resource.name, problem) for problem in problems]
            if not problems and not _is_extended(resource.name):
                out.append(field.invalid(here, resource.name, "is an invalid extended resource name"))
            if resource.name in managed:
                out.append(field.invalid(here, resource.name, "duplicate extender managed resource name"))
            managed.add(resource.name)
    if binders > 1:
        shown = f"found {binders} extenders implementing bind"
        out.append(field.invalid("extenders", shown, "only one extender can implement bind"))


def _is_extended(name: str) -> bool:
    """Source: v1helper.IsExtendedResourceName."""
    prefix, slash, _ = name.partition("/")
    return bool(slash) and not prefix.endswith("kubernetes.io") and not name.startswith("requests.")


def arguments(out: list[Cause], name: str, args: Any, path: str) -> None:
    """The arguments of one plugin, decoded."""
    check = _CHECKS.get(name)
    if check is not None:
        check(out, args, path)


def _preemption(out: list[Cause], args: types.DefaultPreemptionArgs, path: str) -> None:
    percentage, absolute = args.min_candidate_nodes_percentage, args.min_candidate_nodes_absolute
    first, second = f"{path}.minCandidateNodesPercentage", f"{path}.minCandidateNodesAbsolute"
    if percentage is not None and not 0 <= percentage <= 100:
        out.append(field.invalid(first, percentage, "not in valid range [0, 100]"))
    if absolute is not None and absolute < 0:
        out.append(field.invalid(second, absolute, "not in valid range [0, inf)"))
    if percentage == 0 and absolute == 0:
        out.append(field.invalid(first, 0, "cannot be zero at the same time as minCandidateNodesAbsolute"))
        out.append(field.invalid(second, 0, "cannot be zero at the same time as minCandidateNodesPercentage"))


def _affinity(out: list[Cause], args: types.InterPodAffinityArgs, path: str) -> None:
    weight = args.hard_pod_affinity_weight
    if weight is not None and not 0 <= weight <= 100:
        out.append(field.invalid(f"{path}.hardPodAffinityWeight", weight, "not in valid range [0, 100]"))


def _node_affinity(out: list[Cause], args: types.NodeAffinityArgs, path: str) -> None:
    added = args.added_affinity
    if added is None:
        return
    here = f"{path}.addedAffinity"
    required = added.required_during_scheduling_ignored_during_execution
    for i, term in enumerate(required.node_selector_terms if required is not None else []):
        out += term_errors(term, f"{here}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{i}]")
    for i, weighted in enumerate(added.preferred_during_scheduling_ignored_during_execution):
        out += term_errors(weighted.preference, f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{i}]")


def _spread(out: list[Cause], args: types.PodTopologySpreadArgs, path: str) -> None:
    kind, constraints = args.defaulting_type or SYSTEM, args.default_constraints or []
    if kind not in (SYSTEM, LIST):
        out.append(field.not_supported(f"{path}.defaultingType", kind, (SYSTEM, LIST)))
    elif kind == SYSTEM and constraints:
        out.append(field.invalid(f"{path}.defaultingType", kind, "when .defaultConstraints are not empty"))
    seen: set[tuple[str, str]] = set()
    for i, one in enumerate(constraints):
        here = f"{path}.defaultConstraints[{i}]"
        if one.max_skew <= 0:
            out.append(field.invalid(f"{here}.maxSkew", one.max_skew, "not in valid range (0, inf)"))
        if not one.topology_key:
            out.append(field.required(f"{here}.topologyKey", "can not be empty"))
        else:
            problems = names.qualified_name(one.topology_key)
            out += [field.invalid(f"{here}.topologyKey", one.topology_key, problem) for problem in problems]
        when = one.when_unsatisfiable
        if not when:
            out.append(field.required(f"{here}.whenUnsatisfiable", "can not be empty"))
        elif when not in ("DoNotSchedule", "ScheduleAnyway"):
            out.append(field.not_supported(f"{here}.whenUnsatisfiable", when, ("DoNotSchedule", "ScheduleAnyway")))
        if one.label_selector is not None:
            detail = "constraint must not define a selector, as they deduced for each pod"
            out.append(field.forbidden(f"{here}.labelSelector", detail))
        if (one.topology_key, when) in seen:
            out.append(field.duplicate(here, f"{{{one.topology_key}, {when}}}"))
        seen.add((one.topology_key, when))


def _fit(out: list[Cause], args: types.NodeResourcesFitArgs, path: str) -> None:
    for i, name in enumerate(args.ignored_resources or []):
        here = f"{path}.ignoredResources[{i}]"
        out += [field.invalid(here, name, problem) for problem in names.qualified_name(name)]
    for i, name in enumerate(args.ignored_resource_groups or []):
        here = f"{path}.ignoredResourceGroups[{i}]"
        if "/" in name:
            out.append(field.invalid(here, name, "resource group name can't contain '/'"))
        out += [field.invalid(here, name, problem) for problem in names.qualified_name(name)]
    strategy = args.scoring_strategy
    if strategy is None:
        return
    here = f"{path}.scoringStrategy"
    kind = strategy.type or LEAST
    if kind not in (LEAST, MOST, RATIO):
        out.append(field.not_supported(f"{here}.type", kind, (LEAST, MOST, RATIO)))
    for i, one in enumerate(strategy.resources or []):
        if one.weight is not None and not 0 <= one.weight <= 100:
            detail = f"resource weight of {one.name} not in valid range (0, 100]"
            out.append(field.invalid(f"{here}.resources[{i}].weight", one.weight, detail))
    ratio = strategy.requested_to_capacity_ratio
    if kind == RATIO:
        if ratio is None:
            detail = "must be specified when type is RequestedToCapacityRatio"
            out.append(field.required(f"{here}.requestedToCapacityRatio", detail))
        else:
            _shape(out, ratio.shape or [], f"{here}.requestedToCapacityRatio.shape")
    elif ratio is not None:
        detail = "must be nil when type is not RequestedToCapacityRatio"
        out.append(field.forbidden(f"{here}.requestedToCapacityRatio", detail))


def _shape(out: list[Cause], points: Sequence[types.PointTree], path: str) -> None:
    if not points:
        out.append(field.required(path, "at least one point must be specified"))
    for i in range(1, len(points)):
        if points[i - 1].utilization >= points[i].utilization:
            detail = "values must be sorted in increasing order"
            out.append(field.invalid(f"{path}[{i}].utilization", points[i].utilization, detail))
            break
    for i, point in enumerate(points):
        if not 0 <= point.utilization <= 100:
            detail = "not in valid range [0, 100]"
            out.append(field.invalid(f"{path}[{i}].utilization", point.utilization, detail))
        if not 0 <= point.score <= 10:
            out.append(field.invalid(f"{path}[{i}].score", point.score, "not in valid range [0, 10]"))


def _balanced(out: list[Cause], args: types.NodeResourcesBalancedAllocationArgs, path: str) -> None:
    seen: set[str] = set()
    for i, one in enumerate(args.resources or []):
        here = f"{path}.resources[{i}]"
        if one.name in seen:
            out.append(field.duplicate(f"{here}.name", one.name))
        seen.add(one.name)
        if one.weight not in (None, 0, 1):
            out.append(field.invalid(f"{here}.weight", one.weight, "must be 1"))


def _volumes(out: list[Cause], args: types.VolumeBindingArgs, path: str) -> None:
    seconds = args.bind_timeout_seconds
    if seconds is not None and seconds < 0:
        detail = "invalid BindTimeoutSeconds, should not be a negative value"
        out.append(field.invalid(f"{path}.bindTimeoutSeconds", seconds, detail))
    if args.shape is not None:
        detail = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring"
        shown = [{"utilization": one.utilization, "score": one.score} for one in args.shape]
        out.append(field.invalid(f"{path}.shape", shown, detail))


_CHECKS: dict[str, Callable[[list[Cause], Any, str], None]] = {
    "DefaultPreemption": _preemption,
    "InterPodAffinity": _affinity,
    "NodeAffinity": _node_affinity,
    "PodTopologySpread": _spread,
    "NodeResourcesFit": _fit,
    "NodeResourcesBalancedAllocation": _balanced,
    "VolumeBinding": _volumes,
}
