"""The plugins of v1.36, where each works, and what its score weighs.

Pure. Source: scheduler `framework/plugins/registry.go`, `apis/config/v1/default_plugins.go`.
"""

from __future__ import annotations

from collections.abc import Mapping

PRE, FILTER, POST = "preFilter", "filter", "postFilter"
PRE_SCORE, SCORE = "preScore", "score"
ENQUEUE, SORT, BIND = "preEnqueue", "queueSort", "bind"
RESERVE, PRE_BIND = "reserve", "preBind"
# in upstream's order, in which mistakes are found
POINTS = (PRE, FILTER, POST, RESERVE, PRE_SCORE, SCORE, PRE_BIND, BIND, "postBind", "permit", ENQUEUE, SORT)

DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "SchedulingGates": (ENQUEUE,),
    "PrioritySort": (SORT,),
    "NodeUnschedulable": (FILTER,),
    "NodeName": (FILTER,),
    "TaintToleration": (FILTER, PRE_SCORE, SCORE),
    "NodeAffinity": (PRE, FILTER, PRE_SCORE, SCORE),
    "NodePorts": (PRE, FILTER),
    "NodeResourcesFit": (PRE, FILTER, PRE_SCORE, SCORE),
    "VolumeRestrictions": (PRE, FILTER),
    "NodeVolumeLimits": (PRE, FILTER),
    "VolumeBinding": (PRE, FILTER, RESERVE, PRE_SCORE, SCORE, PRE_BIND),
    "VolumeZone": (PRE, FILTER),
    "PodTopologySpread": (PRE, FILTER, PRE_SCORE, SCORE),
    "InterPodAffinity": (PRE, FILTER, PRE_SCORE, SCORE),
    "DynamicResources": (ENQUEUE, PRE, FILTER, POST, RESERVE, SCORE, PRE_BIND),
    "DefaultPreemption": (ENQUEUE, POST),
    "NodeResourcesBalancedAllocation": (PRE_SCORE, SCORE),
    "ImageLocality": (SCORE,),
    "DefaultBinder": (BIND,),
}
# known, and without work as long as their feature gates are as v1.36 has them
IDLE: Mapping[str, tuple[str, ...]] = {
    "GangScheduling": (ENQUEUE, RESERVE, "permit"),
    "NodeDeclaredFeatures": (PRE, FILTER),
}
DEFAULT_WEIGHTS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DynamicResources": 2,
}
