"""How fast a Pod may send and receive: `kubernetes.io/ingress-bandwidth` and `egress-bandwidth`, in bits per second.

A token bucket at the sending end of each direction: the node's side of the veth for what the Pod receives, the Pod's own
interface for what it sends. Pure.

Source: Kubernetes documentation, "Network Plugins"; the bounds of kubelet pkg/util/bandwidth.
Differs: a container with CAP_NET_ADMIN can take its own sending limit away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api import quantity
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

INGRESS, EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"
_LEAST, _MOST = 1_000, 1_000_000_000_000_000
# what may pass at once: a hundredth of a second's worth, and never less than the largest packet with its headers
_BURST_PARTS, _LEAST_BURST_BYTES = 100, 65 << 10
_QUEUE_SECONDS = 0.025


class Bucket(NamedTuple):
    """One direction's limit."""

    rate_bytes: int
    """Bytes a second."""
    burst_bytes: int
    queue_bytes: int


def bucket_of(annotations: Mapping[str, str], direction: str) -> Bucket | None:
    """The limit of `INGRESS` or `EGRESS`; None: there is none. Raises: NetworkFailure for what is no bandwidth."""
    text = annotations.get(direction)
    if text is None:
        return None
    try:
        bits = quantity.whole(quantity.canonical(text))
    except ValueError:
        raise NetworkFailure(f"annotation {direction}: {text} is no quantity") from None
    if bits < _LEAST:
        raise NetworkFailure(f"annotation {direction}: resource is unreasonably small (< 1kbit)")
    if bits > _MOST:
        raise NetworkFailure(f"annotation {direction}: resource is unreasonably large (> 1Pbit)")
    rate = bits // 8
    burst = max(rate // _BURST_PARTS, _LEAST_BURST_BYTES)
    return Bucket(rate, burst, burst + int(rate * _QUEUE_SECONDS))
