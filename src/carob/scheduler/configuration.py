"""A KubeSchedulerConfiguration file made into profiles, with the functions of the user's packages that it names.

A package offers a filter or a score as an entry point of the group `carob.scheduler.filter` or `carob.scheduler.score`:
a function `(pod, snapshot)` that returns None, when it has nothing to say of the Pod, or a function of a node. A filter's
returns a `Rejection` or None, a score's a number from 0 to 100; a score looks at nothing but the Pod and the node.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from carob.api import codec
from carob.api.durations import parse_duration
from carob.api.validation import field
from carob.scheduler import config_checks as checks
from carob.scheduler import config_types as types
from carob.scheduler.plugin_points import PointsError, expand
from carob.scheduler.plugin_table import DEFAULTS, ENQUEUE, FILTER, POST, PRE, SCORE
from carob.scheduler.profiles import DEFAULT, DEFAULT_NAME, LEAST, SYSTEM_SPREAD, Configuration, FitStrategy, Profile

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
Find = Callable[[str, str], Any]
_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?$")
_TYPE = re.compile(r"(.+?) - at `\$\.?(.*)`$")


class ConfigurationError(ValueError):
    """The configuration cannot be used; the text names the fields."""


def load(text: str) -> Configuration:
    """What a file's text (YAML or JSON) says. Raises: ConfigurationError."""
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"no YAML: {error}") from error
    return read(tree, entry_point)


def entry_point(group: str, name: str) -> Any:
    """The user's function of this name; None if no installed package has one. Raises: ConfigurationError."""
    from importlib.metadata import entry_points

    for found in entry_points(group=f"carob.scheduler.{group}", name=name):
        try:
            return found.load()
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f'the {group} "{name}" of {found.value} cannot be loaded: {error}') from error
    return None


def read(tree: Any, find: Find) -> Configuration:
    """What a configuration says; `find(group, name)` gives the user's function of an entry point's name, or None.

    Raises: ConfigurationError, with every mistake in it.
    """
    if not isinstance(tree, dict) or (tree.get("apiVersion"), tree.get("kind")) != (API_VERSION, KIND):
        raise ConfigurationError(f"no {KIND} of {API_VERSION}")
    decoded = _decoded(types.ConfigurationTree, tree, "")
    wrong: list[Cause] = []
    checks.configuration(wrong, decoded)
    found: dict[str, Profile] = {}
    paths: dict[str, str] = {}
    managed = (resource for one in decoded.extenders or () for resource in one.managed_resources or ())
    ignored = {resource.name for resource in managed if resource.ignored_by_scheduler}
    for i, one in enumerate(decoded.profiles or [types.ProfileTree()]):
        path = f"profiles[{i}]"
        checks.profile(wrong, one, path)
        profile = _profile(wrong, one, path, decoded.percentage_of_nodes_to_score, find)
        profile = replace(profile, ignored_resources=profile.ignored_resources | ignored)
        if profile.name in paths:
            named = f"{paths[profile.name]}.schedulerName"
            wrong.append(field.raw_duplicate(f"{path}.schedulerName", f'"{named}"'))
        paths.setdefault(profile.name, path)
        found[profile.name] = profile
    timeouts = [(one, _extender(wrong, one, f"extenders[{i}]")) for i, one in enumerate(decoded.extenders or ())]
    if wrong:
        texts = [f"{cause['field']}: {cause['message']}" for cause in wrong]
        raise ConfigurationError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return Configuration(
        profiles=found,
        first_pause_seconds=float(_or(decoded.pod_initial_backoff_seconds, 1)),
        longest_pause_seconds=float(_or(decoded.pod_max_backoff_seconds, 10)),
        extenders=tuple(timeouts),
    )


def _extender(wrong: list[Cause], tree: types.ExtenderTree, path: str) -> float:
    """Its time limit in seconds; what cannot be used is named before anything starts."""
    parts = urlsplit(tree.url_prefix)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        wrong.append(field.invalid(f"{path}.urlPrefix", tree.url_prefix, "must be an http or https URL"))
    elif parts.scheme == "https":
        from carob.scheduler.extenders import tls_of

        try:
            tls_of(tree)
        except (OSError, ValueError) as error:
            wrong.append(field.invalid(f"{path}.tlsConfig", "", str(error)))
    try:
        return parse_duration(tree.http_timeout) if tree.http_timeout else 0.0
    except ValueError as error:
        wrong.append(field.invalid(f"{path}.httpTimeout", tree.http_timeout, str(error)))
        return 0.0


def _decoded(kind: Any, tree: Any, path: str) -> Any:
    """Raises: ConfigurationError for fields that are not known and values of a wrong type."""
    try:
        return codec.from_tree(kind, tree)
    except msgspec.ValidationError as error:
        text = str(error)
    unknown = _UNKNOWN.match(text)
    if unknown is not None:
        where = ".".join(part for part in (path, unknown[2] or "", unknown[1]) if part)
        raise ConfigurationError(f'strict decoding error: unknown field "{where}"')
    wrong = _TYPE.match(text)
    where = ".".join(part for part in (path, wrong[2] if wrong else "") if part)
    raise ConfigurationError(f"{where}: {wrong[1] if wrong else text}" if where else text)


def _profile(wrong: list[Cause], tree: types.ProfileTree, path: str, percentage: int | None, find: Find) -> Profile:
    name = tree.scheduler_name if tree.scheduler_name is not None else DEFAULT_NAME
    if not name:
        wrong.append(field.required(f"{path}.schedulerName"))
    plugins = _plugins(tree.plugins or types.PluginsTree(), f"{path}.plugins", name, find)
    own_percentage = tree.percentage_of_nodes_to_score
    more: dict[str, Any] = {}
    for i, one in enumerate(tree.plugin_config or []):
        kind = types.ARGUMENTS.get(one.name)
        if kind is None:
            continue
        here = f"{path}.pluginConfig[{i}].args"
        args = _decoded(kind, one.args or {}, here)
        before = len(wrong)
        checks.arguments(wrong, one.name, args, here)
        if len(wrong) == before:
            more |= _ARGUMENTS[one.name](args) if one.name in _ARGUMENTS else {}
    return Profile(
        name=name,
        percentage_of_nodes=_or(own_percentage, _or(percentage, 0)),
        **plugins,
        **more,
    )


def _or(value: int | None, usual: int) -> int:
    return usual if value is None else value


def _plugins(tree: types.PluginsTree, path: str, profile: str, find: Find) -> dict[str, Any]:
    """What a profile makes of its plugins. Raises: ConfigurationError."""
    own: dict[str, dict[str, Any]] = {FILTER: {}, SCORE: {}}

    def points_of(name: str) -> tuple[str, ...]:
        for group, found in own.items():
            made = find(group, name)
            if made is not None:
                found[name] = made
        return tuple(group for group, found in own.items() if name in found)

    try:
        points = expand(tree, path, profile, points_of)
    except PointsError as error:
        raise ConfigurationError(str(error)) from error
    return {
        "disabled_filters": frozenset(_of_point(FILTER) - points[FILTER].keys()),
        "disabled_before": frozenset(_of_point(PRE) - points[PRE].keys()),
        "post_filters": frozenset(points[POST]),
        "weights": points[SCORE],
        "heeds_gates": "SchedulingGates" in points[ENQUEUE],
        "own_filters": tuple((name, made) for name, made in own[FILTER].items() if name in points[FILTER]),
        "own_scores": tuple((name, made) for name, made in own[SCORE].items() if name in points[SCORE]),
    }


def _of_point(point: str) -> set[str]:
    return {name for name, points in DEFAULTS.items() if point in points}


def _fit(args: types.NodeResourcesFitArgs) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ignored_resources": frozenset(args.ignored_resources or ()),
        "ignored_groups": frozenset(args.ignored_resource_groups or ()),
    }
    strategy = args.scoring_strategy
    if strategy is None:
        return found
    resources = tuple((one.name, one.weight or 1) for one in strategy.resources or ()) or FitStrategy().resources
    ratio = strategy.requested_to_capacity_ratio
    # scores are out of ten there
    shape = tuple((one.utilization, one.score * 10) for one in (ratio.shape or () if ratio is not None else ()))
    return found | {"fit": FitStrategy(strategy.type or LEAST, resources, shape)}


def _spread(args: types.PodTopologySpreadArgs) -> dict[str, Any]:
    by_system = (args.defaulting_type or checks.SYSTEM) == checks.SYSTEM
    constraints = SYSTEM_SPREAD if by_system else tuple(args.default_constraints or ())
    return {"spread_by_system": by_system, "spread_defaults": constraints}


def _preemption(args: types.DefaultPreemptionArgs) -> dict[str, Any]:
    return {
        "least_candidates_percentage": _or(args.min_candidate_nodes_percentage, 10),
        "least_candidates": _or(args.min_candidate_nodes_absolute, 100),
    }


def _affinity(args: types.InterPodAffinityArgs) -> dict[str, Any]:
    return {
        "hard_affinity_weight": _or(args.hard_pod_affinity_weight, 1),
        "ignores_others_preferences": args.ignore_preferred_terms_of_existing_pods,
    }


def _balanced(args: types.NodeResourcesBalancedAllocationArgs) -> dict[str, Any]:
    return {"balanced": tuple(one.name for one in args.resources or ()) or DEFAULT.balanced}


_ARGUMENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _spread,
    "DefaultPreemption": _preemption,
    "InterPodAffinity": _affinity,
    "NodeResourcesBalancedAllocation": _balanced,
    "NodeAffinity": lambda args: {"added_affinity": args.added_affinity},
    "VolumeBinding": lambda args: {"bind_timeout_seconds": float(_or(args.bind_timeout_seconds, 600))},
}
