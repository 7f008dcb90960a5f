"""Claims of devices for Pods: made from templates, kept for who uses them, given back when nobody does.

Touches the API through `client`; what to do is decided in `decisions.py`.
Source: kube-controller-manager `resourceclaim`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api import resource_claims
from carob.api.status import ApiError
from carob.api.types import core_v1, resource_v1
from carob.client.informer import Informer, key_of, split_key
from carob.client.workqueue import WorkQueue
from carob.controllers.devices.decisions import is_done, plan_for_claim, plan_for_pod, without_finalizer
from carob.controllers.ownership import BY_OWNER, owners_of
from carob.controllers.views import reference
from carob.controllers.written import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.rest import Client
    from carob.controllers.views import PodView

POD, CLAIM = "pod:", "claim:"
WORKERS = 10
FIELD_MANAGER = "ResourceClaimController"
BY_RESOURCE_CLAIM = "resource claim"
"""The index of Pods by the claims and templates of devices that they name: `namespace/name`."""


def claims_of(pod: PodView) -> Iterator[str]:
    """The keys of the claims of devices that a Pod uses, as far as they are known."""
    namespace, status = pod.metadata.namespace, pod.status
    if pod.spec.resource_claims:
        names = resource_claims.claim_names(key_of(pod), pod.spec.resource_claims, status.resource_claim_statuses)
        for name in names:
            yield f"{namespace}/{name}"
    if status.extended_claim is not None:
        yield f"{namespace}/{status.extended_claim.resource_claim_name}"


def _index(pod: PodView) -> Iterable[str]:
    if not pod.spec.resource_claims and pod.status.extended_claim is None:
        return ()
    namespace = pod.metadata.namespace
    templates = (one.resource_claim_template_name for one in pod.spec.resource_claims)
    return {CLAIM + key for key in claims_of(pod)} | {f"{namespace}/{name}" for name in templates if name}


class ResourceClaimController:
    """Keys are `pod:namespace/name` and `claim:namespace/name`."""

    def __init__(self, client: Client, pods: Informer[PodView], recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._pods = pods
        self._recorder = recorder
        self._claims = Informer(client, resource_v1.ResourceClaim, clock)
        self._templates = Informer(client, resource_v1.ResourceClaimTemplate, clock)
        self._claims.add_index(BY_OWNER, owners_of)  # type: ignore[arg-type]
        pods.add_index(BY_RESOURCE_CLAIM, _index)
        self._written = Written(self._claims)
        self._queue = WorkQueue(clock)
        self.claims = self._claims
        self.informers: list[Informer[Any]] = [self._claims, self._templates]

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._pods, *self.informers):
            await informer.wait_synced()
        self._pods.subscribe(self._pod_changed)
        self._claims.subscribe(self._claim_changed)
        self._templates.subscribe(self._template_changed)
        await self._queue.work(self._sync, WORKERS, "resource claims")

    # what the informers tell

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        pod = new or old
        if pod is None or not (pod.spec.resource_claims or pod.status.extended_claim is not None):
            return
        if new is None:
            self._written.forget(key)
        if new is None or is_done(new):
            for claim in claims_of(pod):
                self._queue.add(CLAIM + claim)
        if new is not None and new.metadata.deletion_timestamp is None:
            self._queue.add(POD + key)

    def _claim_changed(
        self, key: str, old: resource_v1.ResourceClaim | None, new: resource_v1.ResourceClaim | None
    ) -> None:
        if new is not None:
            self._queue.add(CLAIM + key)
        for pod in self._pods.by_index(BY_RESOURCE_CLAIM, CLAIM + key):
            self._queue.add(POD + key_of(pod))
        claim = new or old
        for owner in claim.metadata.owner_references if claim is not None else ():
            if owner.kind == "Pod" and owner.controller:
                self._queue.add(f"{POD}{key.partition('/')[0]}/{owner.name}")

    def _template_changed(self, key: str, old: object, new: object) -> None:
        if old is None:
            for pod in self._pods.by_index(BY_RESOURCE_CLAIM, key):
                self._queue.add(POD + key_of(pod))

    # the work

    async def _sync(self, key: str) -> None:
        kind, _, name = key.partition(":")
        await (self._sync_pod(name) if kind == "pod" else self._sync_claim(name))

    async def _sync_pod(self, key: str) -> None:
        pod = self._pods.get(key)
        # a claim that we made and do not see yet would be made a second time; it wakes us when it is seen
        if pod is None or not self._written.settled(key):
            return
        owned = self._claims.by_index(BY_OWNER, pod.metadata.uid)
        plan = plan_for_pod(pod, self._claims.get, owned, self._templates.get)
        found = dict(plan.found)
        for name, claim in plan.make:
            try:
                made = await self._client.create(claim)
            except ApiError as error:
                self._tell(pod, name, f"create ResourceClaim {claim.metadata.name}: {error.message}")
                raise
            self._written.note(key, made.metadata.resource_version)
            found[name] = made.metadata.name
        if plan.refused is not None:
            self._tell(pod, *plan.refused)
            self._queue.add_rate_limited(POD + key)
            return
        if found:
            await self._note(pod, found)
        for claim in plan.reserve:
            users = [*claim.status.reserved_for, resource_claims.reservation(pod)]
            status = msgspec.structs.replace(claim.status, reserved_for=users)
            await self._client.update(msgspec.structs.replace(claim, status=status), subresource="status")

    def _tell(self, pod: PodView, name: str, text: str) -> None:
        text = f"PodResourceClaim {name}: {text}"
        self._recorder.event(reference(pod), "Warning", "FailedResourceClaimCreation", text)

    async def _note(self, pod: PodView, found: dict[str, str]) -> None:
        statuses = [{"name": name, "resourceClaimName": claim} for name, claim in found.items()]
        metadata = pod.metadata
        try:
            await self._client.patch(
                core_v1.Pod,
                metadata.name,
                metadata.namespace,
                patch={"metadata": {"uid": metadata.uid}, "status": {"resourceClaimStatuses": statuses}},
                patch_type="strategic",
                subresource="status",
                field_manager=FIELD_MANAGER,
            )
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    async def _sync_claim(self, key: str) -> None:
        claim = self._claims.get(key)
        if claim is None:
            return
        gone = {user.uid for user in claim.status.reserved_for if await self._is_gone(claim, user)}
        plan = plan_for_claim(claim, lambda user: user.uid in gone, self._pods.get)
        if plan.users is not None:
            allocation = None if plan.deallocate else claim.status.allocation
            devices = [] if plan.deallocate else claim.status.devices
            status = msgspec.structs.replace(
                claim.status, reserved_for=plan.users, allocation=allocation, devices=devices
            )
            claim = await self._client.update(msgspec.structs.replace(claim, status=status), subresource="status")
        if plan.release or plan.deallocate:
            await self._quietly(claim, without_finalizer(claim))
        if plan.delete:
            await self._delete(claim)

    async def _is_gone(
        self, claim: resource_v1.ResourceClaim, user: resource_v1.ResourceClaimConsumerReference
    ) -> bool:
        """Whether this user will not use it any more; one that we do not know is asked for at the server itself."""
        namespace = claim.metadata.namespace
        pod = self._pods.get(f"{namespace}/{user.name}")
        if pod is not None:
            return pod.metadata.uid != user.uid or is_done(pod)
        try:
            found = await self._client.get(core_v1.Pod, user.name, namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return True
        return found.metadata.uid != user.uid

    async def _quietly(self, claim: resource_v1.ResourceClaim, patch: Mapping[str, Any]) -> None:
        metadata = claim.metadata
        try:
            await self._client.patch(resource_v1.ResourceClaim, metadata.name, metadata.namespace, patch=patch)
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    async def _delete(self, claim: resource_v1.ResourceClaim) -> None:
        if claim.metadata.deletion_timestamp is not None:
            return
        namespace, name = split_key(key_of(claim))
        try:
            await self._client.delete(resource_v1.ResourceClaim, name, namespace, uid=claim.metadata.uid)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
