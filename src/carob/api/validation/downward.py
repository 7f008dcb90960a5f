"""Rules of references to a Pod's own fields and resources. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from carob.api import quantity
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Collection

    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

ENV_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_CONVERTIBLE = frozenset({*ENV_FIELD_PATHS, "metadata.annotations", "metadata.labels", "spec.restartPolicy"})
_CONVERTIBLE |= {"spec.schedulerName", "status.phase", "spec.host"}
RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_SUBSCRIPT = re.compile(r"([^\[]+)\['(.*)'\]")
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SIZE_WORDS = "only divisor's values " + ", ".join(_SIZES) + " are supported with the {} resource"


def field_selector(
    out: list[Cause], path: str, selector: core_v1.ObjectFieldSelector, allowed: Collection[str]
) -> None:
    """A field of the Pod; labels and annotations take a subscript."""
    if not selector.api_version:
        out.append(field.required(f"{path}.apiVersion"))
        return
    wanted = selector.field_path
    if not wanted:
        out.append(field.required(f"{path}.fieldPath"))
        return
    match = _SUBSCRIPT.fullmatch(wanted)
    name = match[1] if match else wanted
    if selector.api_version != "v1":
        words = f"error converting fieldPath: unsupported pod version: {selector.api_version}"
        out.append(field.invalid(f"{path}.fieldPath", wanted, words))
    elif match and name not in ("metadata.annotations", "metadata.labels"):
        words = f"error converting fieldPath: field label does not support subscript: {wanted}"
        out.append(field.invalid(f"{path}.fieldPath", wanted, words))
    elif match:
        key = match[2].lower() if name == "metadata.annotations" else match[2]
        meta.wrong_name(out, path, key, names.qualified_name(key))
    elif name not in _CONVERTIBLE:
        words = f"error converting fieldPath: field label not supported: {wanted}"
        out.append(field.invalid(f"{path}.fieldPath", wanted, words))
    elif name not in allowed:
        out.append(field.not_supported(f"{path}.fieldPath", name, sorted(allowed)))


def resource_selector(out: list[Cause], path: str, selector: core_v1.ResourceFieldSelector, *, in_volume: bool) -> None:
    """A container's resource, divided."""
    wanted = selector.resource
    if in_volume and not selector.container_name:
        out.append(field.required(f"{path}.containerName"))
    elif not wanted:
        out.append(field.required(f"{path}.resource"))
    elif wanted not in RESOURCES and not wanted.startswith(_HUGE_PAGES):
        out.append(field.not_supported(f"{path}.resource", wanted, RESOURCES))
    if selector.divisor and quantity.nano(selector.divisor):
        _divisor(out, f"{path}.divisor", wanted, selector.divisor)


def _divisor(out: list[Cause], path: str, wanted: str, divisor: str) -> None:
    if wanted in ("limits.cpu", "requests.cpu"):
        if divisor not in ("1m", "1"):
            words = "only divisor's values 1m and 1 are supported with the cpu resource"
            out.append(field.invalid(path, wanted, words))
    elif divisor not in _SIZES:
        kind = wanted.partition(".")[2]
        shown = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind)
        if shown or kind.startswith("hugepages-"):
            out.append(field.invalid(path, wanted, _SIZE_WORDS.format(shown or "hugepages")))
