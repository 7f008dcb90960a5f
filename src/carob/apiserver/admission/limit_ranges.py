"""LimitRanger: a namespace's LimitRanges give containers defaults and set bounds for containers, Pods and claims.

Source: kubernetes `plugin/pkg/admission/limitranger/admission.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import qos, quantity
from carob.apiserver.admission.namespaced_cache import NamespacedCache
from carob.apiserver.admission.refusals import PODS, creates, refused, writes
from carob.apiserver.admission.storage_in_use import CLAIMS
from carob.apiserver.authn.service_accounts import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from carob.api.scalars import Quantity
    from carob.api.types.core_v1 import Container, LimitRange, LimitRangeItem, Pod
    from carob.apiserver.types import Attributes, Reader

LIMIT_RANGES = row("", "v1", "limitranges")
ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger:
    """See the module."""

    name = "LimitRanger"
    handles = frozenset((("", "pods"), ("", "persistentvolumeclaims")))

    def __init__(self, reader: Reader) -> None:
        self._ranges: NamespacedCache[LimitRange] = NamespacedCache(reader, LIMIT_RANGES)

    def admit(self, attributes: Attributes) -> None:
        """Give the containers of a new Pod the defaults that they lack."""
        if not creates(attributes, PODS):
            return
        for found in self._ranges.of(attributes.namespace):
            set_defaults(attributes.obj, found)

    def validate(self, attributes: Attributes) -> None:
        """Refuse what is out of bounds, with every reason."""
        judge: Callable[[Any, LimitRange], Iterator[str]]
        if creates(attributes, PODS):
            judge = _pod_complaints
        elif writes(attributes, CLAIMS):
            judge = _claim_complaints
        else:
            return
        for found in self._ranges.of(attributes.namespace):
            texts = list(dict.fromkeys(judge(attributes.obj, found)))
            if texts:
                raise refused(attributes, texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]")


def set_defaults(pod: Pod, found: LimitRange) -> None:
    """Fill in requests and limits, and say so in an annotation."""
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    for item in found.spec.limits:
        if item.type == "Container":
            requests |= item.default_request
            limits |= item.default
    notes = []
    for words, containers in (("container", pod.spec.containers), ("init container", pod.spec.init_containers)):
        for container in containers:
            for kind, wanted in (("request", requests), ("limit", limits)):
                added = _merge(container, f"{kind}s", wanted)
                if added:
                    notes.append(f"{', '.join(added)} {kind} for {words} {container.name}")
    if notes:
        text = "LimitRanger plugin set: " + "; ".join(notes)
        pod.metadata.annotations = pod.metadata.annotations | {ANNOTATION: text}


def _merge(container: Container, field: str, wanted: Mapping[str, Quantity]) -> list[str]:
    there = getattr(container.resources, field)
    added = sorted(name for name in wanted if name not in there)
    if added:
        setattr(container.resources, field, there | {name: wanted[name] for name in added})
    return added


def _pod_complaints(pod: Pod, found: LimitRange) -> Iterator[str]:
    for item in found.spec.limits:
        if item.type == "Container":
            for container in (*pod.spec.containers, *pod.spec.init_containers):
                yield from _complaints(item, container.resources.requests, container.resources.limits)
        elif item.type == "Pod":
            yield from _complaints(item, qos.aggregate_requests(pod.spec), qos.aggregate_limits(pod.spec))


def _claim_complaints(claim: Any, found: LimitRange) -> Iterator[str]:
    requests = claim.spec.resources.requests
    for item in found.spec.limits:
        if item.type != "PersistentVolumeClaim":
            continue
        for name, least in item.min.items():
            yield from _too_small(item.type, name, least, requests, {})
        for name, most in item.max.items():
            words = f"maximum {name} usage per {item.type} is {most}"
            if name not in requests:
                yield f"{words}.  No request is specified"
            elif quantity.compare(requests[name], most) > 0:
                yield f"{words}, but request is {requests[name]}"


def _complaints(
    item: LimitRangeItem, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> Iterator[str]:
    for name, least in item.min.items():
        yield from _too_small(item.type, name, least, requests, limits)
    for name, most in item.max.items():
        yield from _too_large(item.type, name, most, requests, limits)
    for name, ratio in item.max_limit_request_ratio.items():
        yield from _too_far_apart(item.type, name, ratio, requests, limits)


def _too_small(
    kind: str, name: str, least: Quantity, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> Iterator[str]:
    words = f"minimum {name} usage per {kind} is {least}"
    if name not in requests:
        yield f"{words}.  No request is specified"
    elif quantity.compare(requests[name], least) < 0:
        yield f"{words}, but request is {requests[name]}"
    elif name in limits and quantity.compare(limits[name], least) < 0:
        yield f"{words}, but limit is {limits[name]}"


def _too_large(
    kind: str, name: str, most: Quantity, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> Iterator[str]:
    words = f"maximum {name} usage per {kind} is {most}"
    if name not in limits:
        yield f"{words}.  No limit is specified"
    elif quantity.compare(limits[name], most) > 0:
        yield f"{words}, but limit is {limits[name]}"
    elif name in requests and quantity.compare(requests[name], most) > 0:
        yield f"{words}, but request is {requests[name]}"


def _too_far_apart(
    kind: str, name: str, ratio: Quantity, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> Iterator[str]:
    words = f"{name} max limit to request ratio per {kind} is {ratio}"
    request = quantity.nano(requests.get(name, "0"))
    limit = quantity.nano(limits.get(name, "0"))
    if not request:
        yield f"{words}, but no request is specified or request is 0"
    elif not limit:
        yield f"{words}, but no limit is specified or limit is 0"
    elif limit / request > float(quantity.parse(ratio)):
        yield f"{words}, but provided ratio is {limit / request:f}"
