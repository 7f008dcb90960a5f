"""What a Pod and its claims of devices say of each other.

Pure. Shared by the claim controller, the scheduler and the kubelet, so that all mean the same.
Source: `k8s.io/dynamic-resource-allocation/resourceclaim`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from carob.api.types import resource_v1

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FINALIZER = "resource.kubernetes.io/delete-protection"
MOST_USERS = 256
"""Pods that one claim may be reserved for."""


class Named(Protocol):
    """An entry of a Pod's `spec.resourceClaims`."""

    @property
    def name(self) -> str: ...
    @property
    def resource_claim_name(self) -> str | None: ...
    @property
    def resource_claim_template_name(self) -> str | None: ...


class Noted(Protocol):
    """An entry of a Pod's `status.resourceClaimStatuses`."""

    @property
    def name(self) -> str: ...
    @property
    def resource_claim_name(self) -> str | None: ...


class ClaimNotFound(Exception):
    """The claim of a template is not made yet, or a claim names nothing that is known."""


def claim_name(pod_key: str, wish: Named, statuses: Sequence[Noted]) -> tuple[str | None, bool]:
    """The name of the claim of one entry, and whether the Pod must own it.

    Shape: `pod_key` is `namespace/name`; the name is None when it was decided that no claim is needed.
    Raises: ClaimNotFound.
    """
    if wish.resource_claim_name is not None:
        return wish.resource_claim_name, False
    if wish.resource_claim_template_name is None:
        raise ClaimNotFound(f'pod "{pod_key}", spec.resourceClaim "{wish.name}": none of the supported fields are set')
    for status in statuses:
        if status.name == wish.name:
            return status.resource_claim_name, True
    raise ClaimNotFound(f'pod "{pod_key}": ResourceClaim not created yet')


def claim_names(pod_key: str, wishes: Sequence[Named], statuses: Sequence[Noted]) -> Iterator[str]:
    """The names of all claims of a Pod that are known by now."""
    for wish in wishes:
        try:
            name, _ = claim_name(pod_key, wish, statuses)
        except ClaimNotFound:
            continue
        if name:
            yield name


def is_owned_by(claim: resource_v1.ResourceClaim, pod_uid: str) -> bool:
    """Whether it was made for this very Pod."""
    return any(owner.controller and owner.uid == pod_uid for owner in claim.metadata.owner_references)


def not_owned_words(claim_key: str, pod_key: str) -> str:
    """What is said of a claim that has the name of a Pod's but was not made for it."""
    return f"ResourceClaim {claim_key} was not created for pod {pod_key} (pod is not owner)"


def is_reserved_for(claim: resource_v1.ResourceClaim, pod_uid: str) -> bool:
    """Whether this very Pod may use it."""
    return any(user.uid == pod_uid for user in claim.status.reserved_for)


def can_be_reserved(claim: resource_v1.ResourceClaim) -> bool:
    """Whether one more Pod may use it."""
    return len(claim.status.reserved_for) < MOST_USERS


def reservation(pod: Any) -> resource_v1.ResourceClaimConsumerReference:
    """The entry of `status.reservedFor` for a Pod, or for a view of one."""
    return resource_v1.ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid)
