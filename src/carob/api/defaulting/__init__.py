"""Defaults of every kind: what upstream writes into fields that a client left open.

`default` changes the object that it is given, which therefore must be fresh (just decoded, seen by nobody else).
Pure: no clock and no randomness; what needs them (uid, timeAdded, allocated addresses) belongs to the API server.

One module a group; it is imported when the first object of the group comes by.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MODULES = {
    "core_v1": "core",
    "apps_v1": "apps",
    "batch_v1": "batch",
    "autoscaling_v1": "autoscaling",
    "autoscaling_v2": "autoscaling",
    "networking_v1": "networking",
    "discovery_v1": "networking",
    "rbac_v1": "rbac",
    "scheduling_v1": "scheduling",
    "storage_v1": "storage",
    "admissionregistration_v1": "admissionregistration",
    "apiextensions_v1": "extensions",
    "apiregistration_v1": "extensions",
    "authentication_v1": "authentication",
    "flowcontrol_v1": "flowcontrol",
    "resource_v1": "resource",
}

_functions: dict[type[Any], Callable[[Any], None] | None] = {}


def default(obj: Any) -> None:
    """Fill in the defaults of a Struct in place; a kind without defaults is left as it is.

    Source: `pkg/apis/*/v*/defaults.go` and the `+default` markers of upstream's types.
    """
    kind = type(obj)
    try:
        function = _functions[kind]
    except KeyError:
        function = _functions[kind] = _find(kind)
    if function is not None:
        function(obj)


def _find(kind: type[Any]) -> Callable[[Any], None] | None:
    group = kind.__module__.rpartition(".")[2]
    name = _MODULES.get(group)
    if name is None:
        return None
    module = importlib.import_module(f"carob.api.defaulting.{name}")
    functions: dict[type[Any], Callable[[Any], None]] = module.DEFAULTS
    return functions.get(kind)
