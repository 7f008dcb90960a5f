"""How a scheduler of a name judges: which filters and scores, with what weight and arguments.

Pure. Read from a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), checked once, then only looked at.
Differs: what the file may say of extenders, queueing, binding and percentages is refused or has no effect
(docs/known-limits.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Tree = Mapping[str, Any]

DEFAULT_NAME = "default-scheduler"
API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
FILTERS = (
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeBinding",
    "PodTopologySpread",
    "InterPodAffinity",
)
# Source: scheduler `getDefaultPlugins`.
WEIGHTS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
# plugins of upstream's that have no part of their own here: naming them changes nothing
SILENT = frozenset(
    [
        "PrioritySort",
        "DefaultPreemption",
        "DefaultBinder",
        "SchedulingGates",
        "VolumeRestrictions",
        "VolumeZone",
        "NodeVolumeLimits",
        "DynamicResources",
    ]
)
LEAST, MOST, RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"


class ProfileError(ValueError):
    """The configuration cannot be used; the text names the field."""


@dataclass(frozen=True, slots=True)
class FitStrategy:
    """How full a node should be. `shape`: utilization in percent and score from 0 to 100, ascending."""

    kind: str = LEAST
    resources: tuple[tuple[str, int], ...] = (("cpu", 1), ("memory", 1))
    shape: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """One scheduler name. `own_filters` and `own_scores` are the user's, by their names."""

    name: str = DEFAULT_NAME
    disabled_filters: frozenset[str] = frozenset()
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    fit: FitStrategy = field(default_factory=FitStrategy)
    hard_affinity_weight: int = 1
    least_candidates: int = 100
    least_candidates_percentage: int = 10
    """How many ways to make room are looked at before the best is taken. Source: DefaultPreemptionArgs."""
    own_filters: tuple[tuple[str, Any], ...] = ()
    own_scores: tuple[tuple[str, Any], ...] = ()


DEFAULT = Profile()


def read(tree: Any, find: Callable[[str, str], Any]) -> dict[str, Profile]:
    """The profiles of a configuration, by their names.

    `find(group, name)` gives the user's function of an entry point's name, or None. Raises: ProfileError.
    """
    if not isinstance(tree, dict) or (tree.get("apiVersion"), tree.get("kind")) != (API_VERSION, KIND):
        raise ProfileError(f"no {KIND} of {API_VERSION}")
    if tree.get("extenders"):
        raise ProfileError("extenders: not supported")
    found: dict[str, Profile] = {}
    for i, one in enumerate(tree.get("profiles") or [{}]):
        profile = _profile(one, f"profiles[{i}]", find)
        if profile.name in found:
            raise ProfileError(f'profiles[{i}].schedulerName: Duplicate value: "{profile.name}"')
        found[profile.name] = profile
    return found


def _profile(tree: Tree, path: str, find: Callable[[str, str], Any]) -> Profile:
    plugins = tree.get("plugins") or {}
    disabled: set[str] = set()
    weights = dict(WEIGHTS)
    own: dict[str, dict[str, Any]] = {"filter": {}, "score": {}}
    for point in ("multiPoint", "filter", "score"):
        where = plugins.get(point) or {}
        for one in where.get("disabled") or []:
            name = one.get("name", "")
            if point != "score":
                disabled |= set(FILTERS) if name == "*" else {name}
            if point != "filter":
                for gone in list(weights) if name == "*" else [name]:
                    weights.pop(gone, None)
        for i, one in enumerate(where.get("enabled") or []):
            name, weight = one.get("name", ""), one.get("weight") or 0
            here = f"{path}.plugins.{point}.enabled[{i}]"
            if not isinstance(weight, int) or weight < 0:
                raise ProfileError(f"{here}.weight: Invalid value: {weight}: must be a whole number of 0 or more")
            known = name in FILTERS or name in WEIGHTS or name in SILENT
            if point != "score" and name in FILTERS:
                disabled.discard(name)
            if point != "filter" and name in WEIGHTS:
                weights[name] = weight or WEIGHTS[name]
            if not known:
                _own(own, point, name, here, find)
                if name in own["score"]:
                    weights[name] = weight or 1
    arguments = {one.get("name", ""): one.get("args") or {} for one in tree.get("pluginConfig") or []}
    return Profile(
        name=tree.get("schedulerName") or DEFAULT_NAME,
        disabled_filters=frozenset(disabled),
        weights=weights,
        fit=_fit(arguments.get("NodeResourcesFit", {}), path),
        hard_affinity_weight=_hard_weight(arguments.get("InterPodAffinity", {}), path),
        own_filters=tuple(own["filter"].items()),
        own_scores=tuple(own["score"].items()),
    )


def _own(own: dict[str, dict[str, Any]], point: str, name: str, path: str, find: Callable[[str, str], Any]) -> None:
    for group in ("filter", "score") if point == "multiPoint" else (point,):
        made = find(group, name)
        if made is not None:
            own[group][name] = made
    if name not in own["filter"] and name not in own["score"]:
        raise ProfileError(f'{path}.name: Invalid value: "{name}": no plugin and no entry point of this name')


def _fit(arguments: Tree, path: str) -> FitStrategy:
    strategy = arguments.get("scoringStrategy")
    if not strategy:
        return FitStrategy()
    here = f"{path}.pluginConfig[NodeResourcesFit].args.scoringStrategy"
    kind = strategy.get("type") or LEAST
    if kind not in (LEAST, MOST, RATIO):
        raise ProfileError(
            f'{here}.type: Unsupported value: "{kind}": supported values: "{LEAST}", "{MOST}", "{RATIO}"'
        )
    resources = []
    for i, one in enumerate(strategy.get("resources") or [{"name": "cpu"}, {"name": "memory"}]):
        weight = one.get("weight") or 1
        if not isinstance(weight, int) or not 0 < weight <= 100:
            raise ProfileError(f"{here}.resources[{i}].weight: Invalid value: {weight}: not in valid range [1-100]")
        resources.append((str(one.get("name", "")), weight))
    return FitStrategy(kind, tuple(resources), _shape(strategy, here) if kind == RATIO else ())


def _shape(strategy: Tree, path: str) -> tuple[tuple[int, int], ...]:
    points = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or []
    here = f"{path}.requestedToCapacityRatio.shape"
    if not points:
        raise ProfileError(f"{here}: Required value: at least one point must be specified")
    found: list[tuple[int, int]] = []
    for i, one in enumerate(points):
        utilization, score = one.get("utilization", 0), one.get("score", 0)
        if not isinstance(utilization, int) or not 0 <= utilization <= 100:
            raise ProfileError(f"{here}[{i}].utilization: Invalid value: {utilization}: not in valid range [0-100]")
        if not isinstance(score, int) or not 0 <= score <= 10:
            raise ProfileError(f"{here}[{i}].score: Invalid value: {score}: not in valid range [0-10]")
        if found and utilization <= found[-1][0]:
            raise ProfileError(
                f"{here}[{i}].utilization: Invalid value: {utilization}: utilization values must be sorted in "
                "increasing order"
            )
        found.append((utilization, score * 10))
    return tuple(found)


def _hard_weight(arguments: Tree, path: str) -> int:
    weight = arguments.get("hardPodAffinityWeight", 1)
    if not isinstance(weight, int) or not 0 <= weight <= 100:
        raise ProfileError(
            f"{path}.pluginConfig[InterPodAffinity].args.hardPodAffinityWeight: Invalid value: {weight}: "
            "not in valid range [0-100]"
        )
    return weight
