"""The claims of StatefulSets' Pods: made before their Pod, made again when they are missing, owned as the policy says.

Who owns a claim decides when the garbage collector takes it: its set, if claims go with the set; its Pod, once the set
has become too small for it, if claims go then; else nobody.
Source: kube-controller-manager `statefulset/stateful_pod_control.go`, `stateful_set_utils.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.resources import resource_of
from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.controllers.objects import reference_to
from carob.controllers.references import reference_tree
from carob.controllers.statefulset import ordinal_of
from carob.controllers.workload_views import BY_NAMESPACE, StatefulSetView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

DELETE = "Delete"
_SETS = resource_of(StatefulSetView)
_PODS = resource_of(core_v1.Pod)


def claim_name(template_name: str, set_name: str, ordinal: int) -> str:
    """The name of a Pod's claim."""
    return f"{template_name}-{set_name}-{ordinal}"


def template_name(template: dict[str, Any]) -> str:
    """What the Pod calls the volume."""
    name: str = (template.get("metadata") or {}).get("name") or ""
    return name


def new_claim(owner: StatefulSetView, template: dict[str, Any], ordinal: int) -> dict[str, Any]:
    """The claim of an ordinal, as JSON."""
    own = template.get("metadata") or {}
    labels = dict(own.get("labels") or {})
    if owner.spec.selector is not None:
        labels |= owner.spec.selector.match_labels
    metadata: dict[str, Any] = {
        "name": claim_name(template_name(template), owner.metadata.name, ordinal),
        "namespace": owner.metadata.namespace,
        "labels": labels,
    }
    if own.get("annotations"):
        metadata["annotations"] = own["annotations"]
    if owner.spec.retention.when_deleted == DELETE:
        metadata["ownerReferences"] = [reference_tree(_SETS, owner)]
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": template.get("spec") or {},
    }


def owners(
    held: Iterable[meta_v1.OwnerReference], owner: StatefulSetView, pod: PodView, *, stays: bool
) -> list[dict[str, Any]] | None:
    """The owner references that a Pod's claim should have, as JSON; None: those that it has.

    `stays`: the set is not too small for the Pod. A claim that somebody else controls, or that an earlier set or Pod of
    the same name owned, is left to them.
    """
    held, policy = list(held), owner.spec.retention
    keeps_all = DELETE not in (policy.when_deleted, policy.when_scaled)
    ours = (owner.metadata.uid, pod.metadata.uid)
    if not keeps_all and any(_is_foreign(one, owner, pod) for one in held):
        kept = [one for one in held if one.uid not in ours]
        return None if len(kept) == len(held) else [_tree(one) for one in kept]
    wanted: list[dict[str, Any]] = []
    if not stays and policy.when_scaled == DELETE:
        wanted.append(reference_tree(_PODS, pod))
    elif policy.when_deleted == DELETE:
        wanted.append(reference_tree(_SETS, owner))
    mine = [one for one in held if _names(one, owner, pod)]
    if [(one.uid, one.controller) for one in mine] == [(one["uid"], True) for one in wanted]:
        return None
    return [*(_tree(one) for one in held if one not in mine), *wanted]


def _names(reference: meta_v1.OwnerReference, owner: StatefulSetView, pod: PodView) -> bool:
    """Whether it is a reference to the set or the Pod, or to earlier ones of their names."""
    names = {("apps/v1", "StatefulSet", owner.metadata.name), ("v1", "Pod", pod.metadata.name)}
    return (reference.api_version, reference.kind, reference.name) in names


def _is_foreign(reference: meta_v1.OwnerReference, owner: StatefulSetView, pod: PodView) -> bool:
    if _names(reference, owner, pod):
        return reference.uid not in (owner.metadata.uid, pod.metadata.uid)
    return bool(reference.controller)


def _tree(reference: meta_v1.OwnerReference) -> dict[str, Any]:
    tree: dict[str, Any] = codec.to_tree(reference)
    return tree


class StatefulClaims:
    """The claims of all sets."""

    def __init__(
        self, client: Client, claims: Informer[core_v1.PersistentVolumeClaim], recorder: EventRecorder
    ) -> None:
        self._client = client
        self._claims = claims
        self._recorder = recorder

    def _names(self, owner: StatefulSetView, ordinal: int) -> Iterator[str]:
        for template in owner.spec.volume_claim_templates:
            yield claim_name(template_name(template), owner.metadata.name, ordinal)

    def owners_of(self, key: str, sets: Informer[StatefulSetView]) -> list[StatefulSetView]:
        """The sets one of whose Pods has, or would have, the claim of this key."""
        namespace, _, name = key.partition("/")
        return [
            owner
            for owner in sets.by_index(BY_NAMESPACE, namespace)
            if any(
                ordinal_of(f"{template_name(one)}-{owner.metadata.name}", name) is not None
                for one in owner.spec.volume_claim_templates
            )
        ]

    def is_stale(self, owner: StatefulSetView, ordinal: int) -> bool:
        """Whether a claim of a Pod that is to be made still belongs to the last Pod of its name, and will go with it."""
        pod = f"{owner.metadata.name}-{ordinal}"
        for name in self._names(owner, ordinal):
            claim = self._claims.get(f"{owner.metadata.namespace}/{name}")
            if claim is not None and any(
                (one.api_version, one.kind, one.name) == ("v1", "Pod", pod) for one in claim.metadata.owner_references
            ):
                return True
        return False

    async def make_missing(self, owner: StatefulSetView, ordinal: int) -> None:
        """Create those claims of a Pod that are not there. Raises: ApiError."""
        for template in owner.spec.volume_claim_templates:
            tree = new_claim(owner, template, ordinal)
            name = tree["metadata"]["name"]
            if self._claims.get(f"{owner.metadata.namespace}/{name}") is not None:
                continue
            try:
                await self._client.create(codec.from_tree(core_v1.PersistentVolumeClaim, tree))
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    continue
                raise
            pod = f"{owner.metadata.name}-{ordinal}"
            what = f"create Claim {name} Pod {pod} in StatefulSet {owner.metadata.name} success"
            self._recorder.event(reference_to(owner), "Normal", "SuccessfulCreate", what)

    async def settle_owners(self, owner: StatefulSetView, pod: PodView, *, stays: bool) -> None:
        """Give a Pod's claims the owners that the set's policy asks for. Raises: ApiError."""
        ordinal = ordinal_of(owner.metadata.name, pod.metadata.name)
        assert ordinal is not None
        namespace = owner.metadata.namespace
        for name in self._names(owner, ordinal):
            claim = self._claims.get(f"{namespace}/{name}")
            if claim is None or claim.metadata.deletion_timestamp:
                continue
            wanted = owners(claim.metadata.owner_references, owner, pod, stays=stays)
            if wanted is None:
                continue
            metadata = {"resourceVersion": claim.metadata.resource_version, "ownerReferences": wanted or None}
            try:
                await self._client.patch(
                    core_v1.PersistentVolumeClaim, name, namespace, patch={"metadata": metadata}, patch_type="merge"
                )
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
