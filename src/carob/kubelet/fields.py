"""The downward API: fields of the Pod and amounts of its containers as text. Pure.

Source: kubernetes `pkg/fieldpath` (ExtractFieldPathAsString, FormatMap), `api/v1/resource` (ExtractResourceValue...).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.types import core_v1

_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]")


class Facts(Struct, frozen=True):
    """What the Pod's own fields may ask that stands not in its spec.

    Units: `cpu_millicores` and `memory_bytes` are the node's allocatable amounts, used where a container has no limit.
    """

    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    allocatable: Mapping[str, str] | None = None


def pod_field(pod: core_v1.Pod, path: str, facts: Facts) -> str:
    """The text of `metadata.name`, `metadata.labels['a']`, `status.podIP` and the like.

    Raises: ValueError for a field that the downward API does not have.
    """
    match = _SUBSCRIPT.fullmatch(path)
    if match:
        source = pod.metadata.labels if match[1].endswith("labels") else pod.metadata.annotations
        return source.get(match[2], "")
    simple = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "spec.restartPolicy": pod.spec.restart_policy,
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path in simple:
        return simple[path]
    if path == "metadata.labels":
        return format_map(pod.metadata.labels)
    if path == "metadata.annotations":
        return format_map(pod.metadata.annotations)
    raise ValueError(f"unsupported fieldPath: {path}")


def format_map(values: Mapping[str, str]) -> str:
    """`key="value"` a line, sorted, quoted as Go quotes. Source: `fieldpath.FormatMap`."""
    return "\n".join(f"{key}={go_quote(values[key])}" for key in sorted(values))


def go_quote(text: str) -> str:
    """A double-quoted Go string literal. Source: `strconv.Quote`."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b"}
    escapes |= {"\f": "\\f", "\v": "\\v"}
    out = []
    for character in text:
        if character in escapes:
            out.append(escapes[character])
        elif character.isprintable():
            out.append(character)
        elif ord(character) < 0x80:
            out.append(f"\\x{ord(character):02x}")
        else:
            out.append(f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}")
    return '"' + "".join(out) + '"'


def resource_field(pod: core_v1.Pod, selector: core_v1.ResourceFieldSelector, container_name: str, facts: Facts) -> str:
    """The amount that `resourceFieldRef` asks for, divided and rounded up.

    Shape: a missing limit counts as the whole Pod's, or else the node's allocatable amount; a missing request as 0.
    Raises: ValueError for an unknown container or resource.
    """
    name = selector.container_name or container_name
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    container = next((c for c in containers if c.name == name), None)
    if container is None:
        raise ValueError(f"container {name} not found")
    kind, _, resource = selector.resource.partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise ValueError(f"unsupported container resource : {selector.resource}")
    if kind == "limits":
        whole = pod.spec.resources.limits if pod.spec.resources is not None else {}
        default = whole.get(resource) or (facts.allocatable or {}).get(resource, "0")
        amount = container.resources.limits.get(resource) or default
    else:
        amount = container.resources.requests.get(resource, "0")
    divisor = quantity.nano(selector.divisor) or quantity.NANO
    return str(-(-quantity.nano(amount) // divisor))
