"""Keeps ClusterRoles that aggregate others (`admin`, `edit`, `view`, people's own) equal to the sum of what they select.

Level-triggered: woken by any change of a ClusterRole, it computes all aggregated rules anew and writes what differs.

Source: kubernetes `pkg/controller/clusterroleaggregation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.status import ApiError
from carob.apiserver.authz.rbac import CLUSTER_ROLES
from carob.base.log import get_logger
from carob.base.tasks import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types.meta_v1 import LabelSelector
    from carob.api.types.rbac_v1 import ClusterRole, PolicyRule
    from carob.apiserver.engine import Engine

_log = get_logger("apiserver.aggregation")

MANAGER = "clusterrole-aggregation-controller"


def selects(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """Whether a label selector picks an object with these labels."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for one in selector.match_expressions:
        there = labels.get(one.key)
        if not {
            "In": there in one.values,
            "NotIn": there not in one.values,
            "Exists": there is not None,
            "DoesNotExist": there is None,
        }.get(one.operator, False):
            return False
    return True


def aggregated(role: ClusterRole, everything: Iterable[ClusterRole]) -> list[PolicyRule]:
    """The rules that an aggregating role should have: those of the roles it selects, by name, each once."""
    rules: list[PolicyRule] = []
    assert role.aggregation_rule is not None
    others = sorted(everything, key=lambda one: one.metadata.name)
    for selector in role.aggregation_rule.cluster_role_selectors:
        for other in others:
            if other.metadata.name != role.metadata.name and selects(selector, other.metadata.labels):
                rules += [rule for rule in other.rules or () if rule not in rules]
    return rules


class RoleAggregation:
    """The part that writes aggregated roles."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = Signal()
        engine.reader.on_change(CLUSTER_ROLES, lambda namespace, name: self._changed.set())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            await self.sync()

    async def sync(self) -> None:
        """Write every aggregated role that is not as it should be; a conflict wakes us again."""
        everything: list[Any] = self._engine.reader.list(CLUSTER_ROLES)
        for role in everything:
            if role.aggregation_rule is None:
                continue
            wanted = aggregated(role, everything)
            if wanted == (role.rules or []):
                continue
            tree = {"metadata": {"name": role.metadata.name}, "rules": [codec.to_tree(rule) for rule in wanted]}
            try:
                await self._engine.apply_object(CLUSTER_ROLES, tree, MANAGER)
            except ApiError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
                _log.debug("ClusterRole %s changed meanwhile", role.metadata.name)
