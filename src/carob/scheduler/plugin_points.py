"""Which plugins work at which extension points of a profile, by what a KubeSchedulerConfiguration enables and disables.

Pure. Source: scheduler `framework/runtime/framework.go` (updatePluginList, expandMultiPointPlugins, getScoreWeights),
`apis/config/v1/default_plugins.go`. Differs: what upstream lets pass and then fails at every Pod is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.config_types import PluginSetTree
from carob.scheduler.plugin_table import (
    BIND,
    DEFAULT_WEIGHTS,
    DEFAULTS,
    FILTER,
    IDLE,
    POINTS,
    PRE,
    PRE_BIND,
    PRE_SCORE,
    RESERVE,
    SCORE,
    SORT,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from carob.scheduler.config_types import PluginsTree, PluginTree

    Points = dict[str, dict[str, int]]
    """By the point, the plugins that work there and their weights, in order."""

# What cannot work without the other: in upstream every Pod fails then, or is bound without what it needs.
_NEEDS: tuple[tuple[str, str, frozenset[str]], ...] = (
    (
        FILTER,
        PRE,
        frozenset(
            (
                "NodePorts",
                "NodeResourcesFit",
                "VolumeRestrictions",
                "VolumeBinding",
                "PodTopologySpread",
                "InterPodAffinity",
                "DynamicResources",
            )
        ),
    ),
    (SCORE, PRE_SCORE, frozenset(("TaintToleration", "PodTopologySpread", "InterPodAffinity"))),
    (FILTER, RESERVE, frozenset(("VolumeBinding", "DynamicResources"))),
    (FILTER, PRE_BIND, frozenset(("VolumeBinding", "DynamicResources"))),
)


class PointsError(ValueError):
    """The plugins cannot work so; the text names the field."""


def expand(plugins: PluginsTree, path: str, profile: str, own: Callable[[str], tuple[str, ...]]) -> Points:
    """What works where. `own` gives the points of a plugin that is none of ours, none if nobody knows it.

    Raises: PointsError.
    """
    known = {**DEFAULTS, **IDLE}
    sets = {point: _set(plugins, point) for point in POINTS}
    many = plugins.multi_point or PluginSetTree()
    for point, where in (*sets.items(), ("multiPoint", many)):
        for i, one in enumerate(where.enabled or ()):
            here = f"{path}.{point}.enabled[{i}]"
            if (one.weight or 0) < 0:
                raise PointsError(f"{here}.weight: Invalid value: {one.weight}: must be a whole number of 0 or more")
            if one.name not in known and (points := own(one.name)):
                known[one.name] = points
            _check(one, here, point, known)
    everywhere = _merged(many, f"{path}.multiPoint")
    found: Points = {}
    for point, where in sets.items():
        named = _weights(where.enabled or (), f"{path}.{point}", point)
        off = {one.name for one in where.disabled or ()}
        shared = {
            name: weight
            for name, weight in everywhere.items()
            if point in known[name] and "*" not in off and name not in off and name not in named
        }
        found[point] = {**shared, **named}
    _check_whole(found, path, profile)
    return found


def _set(plugins: PluginsTree, point: str) -> PluginSetTree:
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in point)
    found: PluginSetTree | None = getattr(plugins, name)
    return found or PluginSetTree()


def _type(point: str) -> str:
    """Upstream's name of the interface."""
    return f"{point[0].upper()}{point[1:]}Plugin"


def _check(one: PluginTree, here: str, point: str, known: Mapping[str, tuple[str, ...]]) -> None:
    many = point == "multiPoint"
    if one.name not in known:
        why = f'{_type(PRE if many else point)} "{one.name}" does not exist'
        raise PointsError(f'{here}.name: Invalid value: "{one.name}": {why}, nor an entry point of this name')
    if not many and point not in known[one.name]:
        why = f'plugin "{one.name}" does not extend {_type(point)} plugin'
        raise PointsError(f'{here}.name: Invalid value: "{one.name}": {why}')


def _weights(enabled: list[PluginTree] | tuple[()], here: str, point: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for i, one in enumerate(enabled):
        if one.name in found:
            why = f'plugin "{one.name}" already registered as "{_type(point)}"'
            raise PointsError(f'{here}.enabled[{i}].name: Invalid value: "{one.name}": {why}')
        # a weight of 0 is none that was given, also where the default is another
        found[one.name] = one.weight or 1
    return found


def _merged(many: PluginSetTree, here: str) -> dict[str, int]:
    """The default plugins that are left, as they were configured anew, and then the others."""
    off = {one.name for one in many.disabled or ()}
    named = _weights(many.enabled or (), here, PRE)
    kept = {
        name: named.get(name, DEFAULT_WEIGHTS.get(name, 1)) for name in DEFAULTS if "*" not in off and name not in off
    }
    return {**kept, **named}


def _check_whole(found: Points, path: str, profile: str) -> None:
    if len(found[SORT]) != 1:
        why = f'only one queue sort plugin required for profile with scheduler name "{profile}", but got {len(found[SORT])}'
        raise PointsError(f"{path}.{SORT}: {why}")
    if not found[BIND]:
        raise PointsError(
            f'{path}.{BIND}: at least one bind plugin is needed for profile with scheduler name "{profile}"'
        )
    for point, needed, names in _NEEDS:
        lacking = next((name for name in found[point] if name in names and name not in found[needed]), None)
        if lacking is not None:
            why = f"what it does at {point} needs what it does at {needed}: disable both, or neither"
            raise PointsError(f'{path}.{needed}.disabled: Invalid value: "{lacking}": {why}')
