"""Pieces of cells that many kinds share: ages, selectors, lists that are cut short.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`, apimachinery `labels` and `meta/v1` formatting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.human import human_duration
from carob.api.selectors import SelectorError, from_struct
from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.types import core_v1, meta_v1

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"


def since(moment: str | None, now: float) -> str:
    """How long ago a time was: `5m`; `<unknown>` for none."""
    return human_duration(now - parse_rfc3339(moment)) if moment else UNKNOWN


def age(obj: Any, now: float) -> str:
    """How old an object is."""
    return since(obj.metadata.creation_timestamp, now)


def labels(found: Mapping[str, str] | None) -> str:
    """`a=b,c=d` in order of the keys."""
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) if found else NONE


def selector(found: meta_v1.LabelSelector | None) -> str:
    """A label selector as people write it."""
    if found is None:
        return NONE
    try:
        return str(from_struct(found)) or NONE
    except SelectorError:
        return "<error>"


def containers(spec: core_v1.PodSpec) -> tuple[str, str]:
    """Names and images of a Pod's containers."""
    return ",".join(c.name for c in spec.containers), ",".join(c.image for c in spec.containers)


def shortened(items: Sequence[str], limit: int, separator: str = ",") -> str:
    """The first `limit` items, and how many more there are."""
    shown = separator.join(items[:limit])
    return f"{shown} + {len(items) - limit} more..." if len(items) > limit else shown


def boolean(value: bool | None) -> str:
    """A boolean as text; `<unset>` for none."""
    return UNSET if value is None else str(bool(value))


def or_none(value: str | None) -> str:
    """The text, or `<none>`."""
    return value or NONE


def balancer(ingress: Sequence[Any]) -> str:
    """The addresses of a load balancer, in order."""
    return ",".join(sorted({one.ip or one.hostname for one in ingress if one.ip or one.hostname}))


_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)


def access_modes(modes: Sequence[str]) -> str:
    """`RWO,RWX`: each once, in upstream's order."""
    return ",".join(short for mode, short in _MODES if mode in modes)
