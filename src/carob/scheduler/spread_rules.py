"""A Pod's topology spread constraints, ready to be counted.

Pure. Source: scheduler `podtopologyspread/common.go` (buildTopologySpreadConstraints); KEP-3022 (minDomains), KEP-3094
(node inclusion policies), KEP-3243 (matchLabelKeys).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api import codec
from carob.api.selectors import EVERYTHING, IN, LabelSelector, Requirement
from carob.scheduler.filter import node_affinity, taint_toleration
from carob.scheduler.pod_terms import selector_of
from carob.scheduler.tallies import Asked, Places, Tally

if TYPE_CHECKING:
    from carob.api.types.core_v1 import TopologySpreadConstraint
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REQUIRED, PREFERRED = "DoNotSchedule", "ScheduleAnyway"


class SpreadRule(NamedTuple):
    """One constraint."""

    topology_key: str
    max_skew: int
    selector: LabelSelector
    min_domains: int
    honors_affinity: bool
    honors_taints: bool


def rules_of(pod: PodInfo, when_unsatisfiable: str, snapshot: Snapshot) -> tuple[SpreadRule, ...]:
    """The Pod's constraints of one kind; the profile's where it has none of its own, for all that belong together."""
    own = pod.view.spec.topology_spread_constraints
    if own:
        return tuple(
            _rule(pod, one, selector_of(one.label_selector))
            for one in own
            if one.when_unsatisfiable == when_unsatisfiable
        )
    defaults = [one for one in snapshot.profile(pod).spread_defaults if one.when_unsatisfiable == when_unsatisfiable]
    selector = snapshot.selecting.of(pod) if defaults else EVERYTHING
    if selector.empty:
        return ()
    return tuple(_rule(pod, one, selector)._replace(selector=selector) for one in defaults)


def _rule(pod: PodInfo, constraint: TopologySpreadConstraint, selector: LabelSelector) -> SpreadRule:
    more = [key for key in constraint.match_label_keys if key in pod.labels]
    if more and not selector.nothing:
        # the API server has merged them already, or not: twice is as good as once
        asked = dict.fromkeys((*selector.requirements, *(Requirement(key, IN, (pod.labels[key],)) for key in more)))
        selector = LabelSelector(tuple(sorted(asked, key=lambda one: one.key)))
    return SpreadRule(
        constraint.topology_key,
        constraint.max_skew,
        selector,
        constraint.min_domains or 1,
        constraint.node_affinity_policy != "Ignore",
        constraint.node_taints_policy == "Honor",
    )


def belongs_to_others(pod: PodInfo, snapshot: Snapshot) -> bool:
    """Whether the profile's own constraints speak of the Pod."""
    profile = snapshot.profile(pod)
    return bool(profile.spread_defaults) and not snapshot.selecting.of(pod).empty


def tally_of(pod: PodInfo, rule: SpreadRule, keys: tuple[str, ...], snapshot: Snapshot) -> Tally:
    """The Pods that the rule speaks of, over the nodes that count for this Pod: those with all of `keys`."""
    spec = pod.view.spec
    asked = None
    if rule.honors_affinity and (spec.node_selector or spec.affinity is not None):
        own = spec.affinity.node_affinity if spec.affinity is not None else None
        asked = codec.encode((spec.node_selector, own))
    tolerated = codec.encode(spec.tolerations) if rule.honors_taints else None
    where = ("spread", rule.topology_key, keys, asked, tolerated)
    key = (where, pod.namespace, rule.selector)
    namespace, selector = pod.namespace, rule.selector

    about = Asked(lambda one: one == namespace, selector.matches, living=True)

    def find() -> Places:
        checks = []
        if asked is not None:
            checks.append(node_affinity.own_check(pod))
        if rule.honors_taints:
            checks.append(taint_toleration.prepare(pod, snapshot))

        def eligible(node: NodeInfo) -> bool:
            labels = node.labels
            return all(one in labels for one in keys) and all(check is None or check(node) is None for check in checks)

        return Places(rule.topology_key, snapshot.nodes(), eligible)

    return snapshot.tallies.get(key, lambda: Tally(snapshot.tallies.places(where, find), about))
