"""How a scheduler of a name judges: which filters and scores, with what weight and arguments.

Pure. Read from a KubeSchedulerConfiguration (`configuration.py`), checked once, then only looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api.types import core_v1
from carob.scheduler.plugin_table import DEFAULT_WEIGHTS, DEFAULTS, SCORE

if TYPE_CHECKING:
    from carob.scheduler.config_types import ExtenderTree

DEFAULT_NAME = "default-scheduler"
# Source: scheduler `getDefaultPlugins`.
WEIGHTS = {name: DEFAULT_WEIGHTS.get(name, 1) for name, points in DEFAULTS.items() if SCORE in points}
LEAST, MOST, RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"
LONGEST_EXTENDER_WAIT_SECONDS = 5.0
"""Where the configuration says nothing. Source: DefaultExtenderTimeout."""
PREEMPTION, CLAIMS = "DefaultPreemption", "DynamicResources"
POST_FILTERS = (PREEMPTION, CLAIMS)
# Source: podtopologyspread `systemDefaultConstraints`.
SYSTEM_SPREAD = (
    core_v1.TopologySpreadConstraint(
        max_skew=3, topology_key="kubernetes.io/hostname", when_unsatisfiable="ScheduleAnyway"
    ),
    core_v1.TopologySpreadConstraint(
        max_skew=5, topology_key="topology.kubernetes.io/zone", when_unsatisfiable="ScheduleAnyway"
    ),
)


class FitStrategy(Struct, frozen=True):
    """How full a node should be. `shape`: utilization in percent and score from 0 to 100, ascending."""

    kind: str = LEAST
    resources: tuple[tuple[str, int], ...] = (("cpu", 1), ("memory", 1))
    shape: tuple[tuple[int, int], ...] = ()


class Profile(Struct, frozen=True):
    """One scheduler name. `own_filters` and `own_scores` are the user's, by their names."""

    name: str = DEFAULT_NAME
    disabled_filters: frozenset[str] = frozenset()
    disabled_before: frozenset[str] = frozenset()
    """Filters that say nothing of a Pod before any node is looked at (`preFilter`)."""
    heeds_gates: bool = True
    post_filters: frozenset[str] = frozenset(POST_FILTERS)
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    percentage_of_nodes: int = 0
    """Of the nodes that fit, how many are enough to choose from; 0: it depends on how many nodes there are."""
    fit: FitStrategy = field(default_factory=FitStrategy)
    ignored_resources: frozenset[str] = frozenset()
    ignored_groups: frozenset[str] = frozenset()
    """Extended resources that the fit does not look at, by name, and by what stands before the slash."""
    balanced: tuple[str, ...] = ("cpu", "memory")
    hard_affinity_weight: int = 1
    ignores_others_preferences: bool = False
    added_affinity: core_v1.NodeAffinity | None = None
    spread_defaults: tuple[core_v1.TopologySpreadConstraint, ...] = SYSTEM_SPREAD
    """For Pods without constraints of their own; their selectors are found for each Pod."""
    spread_by_system: bool = True
    least_candidates: int = 100
    least_candidates_percentage: int = 10
    """How many ways to make room are looked at before the best is taken. Source: DefaultPreemptionArgs."""
    bind_timeout_seconds: float = 600.0
    own_filters: tuple[tuple[str, Any], ...] = ()
    own_scores: tuple[tuple[str, Any], ...] = ()


DEFAULT = Profile()


class Configuration(Struct, frozen=True):
    """All that a KubeSchedulerConfiguration says."""

    profiles: Mapping[str, Profile] = field(default_factory=lambda: {DEFAULT.name: DEFAULT})
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 10.0
    extenders: tuple[tuple[ExtenderTree, float], ...] = ()
    """Each with the seconds that it may take; 0 for the usual ones."""
