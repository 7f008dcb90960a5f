"""What upstream refuses: the rules of every kind, in its words and in its order.

`validate_create` and `validate_update` take defaulted objects, after admission, and return causes as
`carob.api.status.invalid` takes them. Pure, and never changes what it is given. One module a group; it is imported when
the first object of the group comes by.

A kind without rules of its own keeps the rules of metadata.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from carob.api.validation import meta, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.api.validation.field import Cause

    CreateRule = Callable[[list[Cause], Any], None]
    UpdateRule = Callable[[list[Cause], Any, Any], None]

_MODULES: dict[str, tuple[str, ...]] = {
    "core_v1": ("core", "limits", "service", "volume_kinds"),
    "apps_v1": ("apps",),
    "batch_v1": ("batch", "batch_update"),
    "rbac_v1": ("rbac",),
    "scheduling_v1": ("small",),
    "node_v1": ("small",),
    "policy_v1": ("small",),
    "autoscaling_v1": ("small", "autoscaling"),
    "storage_v1": ("storage",),
    "autoscaling_v2": ("autoscaling",),
    "networking_v1": ("networking", "addresses"),
    "discovery_v1": ("addresses",),
    "certificates_v1": ("certificates",),
    "certificates_v1beta1": ("trust_bundles",),
    "flowcontrol_v1": ("flowcontrol",),
    "apiregistration_v1": ("server",),
    "admissionregistration_v1": ("webhooks", "policies"),
    "resource_v1": ("resource", "offers"),
    "apiextensions_v1": ("crd",),
    "events_v1": ("events",),
    "coordination_v1": ("coordination",),
}

# groups whose names may be anything that fits into a path
_NAMES = {"rbac.authorization.k8s.io": names.path_segment, "apiregistration.k8s.io": names.path_segment}

_create: dict[type[Any], CreateRule] = {}
_update: dict[tuple[type[Any], str], UpdateRule] = {}
_loaded: set[str] = set()


def validate_create(resource: Resource, obj: Any) -> list[Cause]:
    """What is wrong with a new object; empty if nothing is."""
    out: list[Cause] = []
    kind = type(obj)
    _load(kind)
    rule = _create.get(kind)
    if rule is not None:
        rule(out, obj)
    elif resource.stored:
        meta.core(out, obj.metadata, resource.namespaced, _NAMES.get(resource.group, names.dns_subdomain))
    if not out and resource.stored:
        meta.generic(out, obj.metadata, resource.namespaced, names.path_segment)
    return out


def validate_update(resource: Resource, obj: Any, old: Any, subresource: str = "") -> list[Cause]:
    """What is wrong with a change from `old` to `obj`, made through the object or one of its subresources."""
    out: list[Cause] = []
    kind = type(obj)
    _load(kind)
    meta.generic(out, obj.metadata, resource.namespaced, names.path_segment)
    meta.updated(out, obj.metadata, old.metadata)
    rule = _update.get((kind, subresource))
    if rule is not None:
        rule(out, obj, old)
    else:
        meta.core_updated(out, obj.metadata, old.metadata)
    return out


def _load(kind: type[Any]) -> None:
    group = kind.__module__.rpartition(".")[2]
    if group in _loaded:
        return
    for name in _MODULES.get(group, ()):
        module = importlib.import_module(f"carob.api.validation.{name}")
        _create.update(module.CREATE)
        _update.update(module.UPDATE)
    _loaded.add(group)
