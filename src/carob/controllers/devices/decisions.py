"""What a Pod's claims of devices need, and what a claim needs that Pods no longer use.

Pure. Source: kube-controller-manager `resourceclaim/controller.go`; the words are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from carob.api import resource_claims
from carob.api.status import bad_request
from carob.api.types import meta_v1, resource_v1
from carob.client.informer import key_of
from carob.controllers.references import controller_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.controllers.views import PodResourceClaimView, PodView

    ClaimOf = Callable[[str], resource_v1.ResourceClaim | None]
    TemplateOf = Callable[[str], resource_v1.ResourceClaimTemplate | None]
    PodOf = Callable[[str], PodView | None]

OF_POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
"""Annotation of a claim that was made from a template: for which entry of its Pod."""
MAX_BASE_LENGTH = 57
"""Of a name of 63, five random characters and a hyphen are the server's."""


class Refused(Exception):
    """A Pod's claim cannot be made (yet). `str` is what its event says after the claim's name."""


def is_done(pod: PodView) -> bool:
    """Whether no container of it runs, and none ever will."""
    return pod.has_ended or (pod.metadata.deletion_timestamp is not None and not pod.spec.node_name)


class PodPlan(Struct):
    """What a Pod's claims need now."""

    make: list[tuple[str, resource_v1.ResourceClaim]] = field(default_factory=list)
    """Claims to create, each with the name of its entry in the Pod."""
    found: dict[str, str] = field(default_factory=dict)
    """Claims that were made but are not in the Pod's status: their names by the entry's."""
    reserve: list[resource_v1.ResourceClaim] = field(default_factory=list)
    """Claims that the Pod, which has a node, must be entered in."""
    refused: tuple[str, str] | None = None
    """The first entry of which no claim could be made, and why; what stands before it holds."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.make or self.found or self.reserve)


def plan_for_pod(
    pod: PodView,
    claim_of: ClaimOf,
    owned: Sequence[resource_v1.ResourceClaim],
    template_of: TemplateOf,
) -> PodPlan:
    """Shape: claims and templates are asked for by `namespace/name`; `owned` are those that the Pod owns."""
    plan = PodPlan()
    if pod.metadata.deletion_timestamp is not None or pod.has_ended:
        return plan
    for wish in pod.spec.resource_claims:
        try:
            _handle(plan, pod, wish, claim_of, owned, template_of)
        except Refused as why:
            plan.refused = (wish.name, str(why))
            return plan
    if pod.spec.node_name:
        plan.reserve = _to_reserve(pod, claim_of)
    return plan


def _handle(
    plan: PodPlan,
    pod: PodView,
    wish: PodResourceClaimView,
    claim_of: ClaimOf,
    owned: Sequence[resource_v1.ResourceClaim],
    template_of: TemplateOf,
) -> None:
    namespace = pod.metadata.namespace
    try:
        name, must_own = resource_claims.claim_name(key_of(pod), wish, pod.status.resource_claim_statuses)
    except resource_claims.ClaimNotFound:
        pass
    else:
        if name is None:
            return
        claim = claim_of(f"{namespace}/{name}")
        if claim is not None and (not must_own or resource_claims.is_owned_by(claim, pod.metadata.uid)):
            return
    if wish.resource_claim_template_name is None:
        return
    orphan = next((c for c in owned if c.metadata.annotations.get(OF_POD_CLAIM) == wish.name), None)
    if orphan is not None:
        # made, but the server stopped before the Pod's status said so
        plan.found[wish.name] = orphan.metadata.name
        return
    template = template_of(f"{namespace}/{wish.resource_claim_template_name}")
    if template is None:
        wanted = wish.resource_claim_template_name
        raise Refused(f'resource claim template "{wanted}": resourceclaimtemplate.resource.k8s.io "{wanted}" not found')
    plan.make.append((wish.name, new_claim(pod, wish.name, template)))


def _to_reserve(pod: PodView, claim_of: ClaimOf) -> list[resource_v1.ResourceClaim]:
    """Allocated claims of a Pod that got its node from somebody who does not know claims."""
    found = []
    for wish in pod.spec.resource_claims:
        try:
            name, must_own = resource_claims.claim_name(key_of(pod), wish, pod.status.resource_claim_statuses)
        except resource_claims.ClaimNotFound:
            break
        claim = claim_of(f"{pod.metadata.namespace}/{name}") if name is not None else None
        if claim is None or (must_own and not resource_claims.is_owned_by(claim, pod.metadata.uid)):
            continue
        if (
            claim.status.allocation is not None
            and not resource_claims.is_reserved_for(claim, pod.metadata.uid)
            and resource_claims.can_be_reserved(claim)
            and claim not in found
        ):
            found.append(claim)
    return found


def generate_name(pod: str, claim: str) -> str:
    """What the server shall begin the name of a claim with; both parts stay to be seen in a long one."""
    name = f"{pod}-{claim}-"
    if len(name) <= MAX_BASE_LENGTH:
        return name
    short = pod[: len(pod) * MAX_BASE_LENGTH // len(name)]
    return f"{short}-{claim[: len(claim) * MAX_BASE_LENGTH // len(name)]}"


def new_claim(pod: PodView, pod_claim: str, template: resource_v1.ResourceClaimTemplate) -> resource_v1.ResourceClaim:
    """The claim of a template for one entry of a Pod, which owns it."""
    metadata, wanted = pod.metadata, template.spec
    return resource_v1.ResourceClaim(
        metadata=meta_v1.ObjectMeta(
            generate_name=generate_name(metadata.name, pod_claim),
            namespace=metadata.namespace,
            labels=dict(wanted.metadata.labels),
            annotations={**wanted.metadata.annotations, OF_POD_CLAIM: pod_claim},
            owner_references=[controller_reference("Pod", metadata)],
        ),
        spec=msgspec.structs.replace(wanted.spec),
    )


class ClaimPlan(Struct, frozen=True):
    """What a claim needs now."""

    users: list[resource_v1.ResourceClaimConsumerReference] | None = None
    """Who may still use it; None: nothing to change."""
    deallocate: bool = False
    """Nobody uses it any more: its devices are free, and its end needs no longer be waited with."""
    release: bool = False
    """Only the finalizer is left to be removed."""
    delete: bool = False
    """It was made for a Pod that does not need it any more."""


def plan_for_claim(
    claim: resource_v1.ResourceClaim,
    is_gone: Callable[[resource_v1.ResourceClaimConsumerReference], bool],
    pod_of: PodOf,
) -> ClaimPlan:
    """Shape: `is_gone` says whether a user has ended, or is another one by now; `pod_of` is asked by `namespace/name`.

    Raises: ApiError for a user that is no Pod: it is told, and looked at again later.
    """
    users = claim.status.reserved_for
    for user in users:
        if user.api_group or user.resource != "pods":
            raise bad_request(f"unsupported ReservedFor entry: {user}")
    valid = [user for user in users if not is_gone(user)]
    ours = resource_claims.FINALIZER in claim.metadata.finalizers
    delete = not valid and _is_left_over(claim, pod_of)
    if len(valid) < len(users):
        return ClaimPlan(users=valid, deallocate=not valid and ours, delete=delete)
    if ours and claim.metadata.deletion_timestamp is not None and not valid:
        if claim.status.allocation is not None:
            return ClaimPlan(users=[], deallocate=True, delete=delete)
        return ClaimPlan(release=True, delete=delete)
    return ClaimPlan(delete=delete)


def _is_left_over(claim: resource_v1.ResourceClaim, pod_of: PodOf) -> bool:
    """Whether the Pod that it was made for is known not to need it; one that is not known may be about to come."""
    for owner in claim.metadata.owner_references:
        if owner.controller and owner.api_version == "v1" and owner.kind == "Pod":
            pod = pod_of(f"{claim.metadata.namespace}/{owner.name}")
            return pod is not None and (pod.metadata.uid != owner.uid or is_done(pod))
    return False


def without_finalizer(claim: resource_v1.ResourceClaim) -> dict[str, Any]:
    """The merge patch that lets it end, if it is as we know it."""
    left = [one for one in claim.metadata.finalizers if one != resource_claims.FINALIZER]
    metadata = claim.metadata
    return {"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": left or None}}
