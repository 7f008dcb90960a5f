"""A namespace that is being deleted loses its content, then its finalizer, and is gone.

Order as upstream's: Pods last of the first round, so that what makes Pods is gone before; every kind that the server
serves is emptied, then looked at again until nothing is left.

Source: kube-controller-manager namespace/deletion/namespaced_resources_deleter.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from carob.api.resources import BUILT_IN
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.clock import rfc3339
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.resources import Resource
    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

FINALIZER = "kubernetes"
WORKERS = 4
# Pods that end wake us; whatever else ends by itself is looked at again after this time
RECHECK_SECONDS = 1.0


def deletable(rows: Sequence[Resource] = BUILT_IN) -> list[Resource]:
    """The kinds whose objects live in namespaces and can be deleted, Pods last."""
    found = [
        r
        for r in rows
        if r.namespaced
        and r.stored
        and "deletecollection" in r.verbs
        and (r.group, r.plural) != ("events.k8s.io", "events")
        and (r.group, r.version, r.plural) != ("autoscaling", "v1", "horizontalpodautoscalers")
    ]
    return sorted(found, key=lambda r: (r.group, r.plural) == ("", "pods"))


def reconcile(namespace: core_v1.Namespace | None) -> bool:
    """Whether the namespace's content has to go."""
    return (
        namespace is not None and bool(namespace.metadata.deletion_timestamp) and FINALIZER in namespace.spec.finalizers
    )


def conditions(
    left: dict[str, int], finalizers: dict[str, int], failures: Sequence[str], now: str
) -> list[core_v1.NamespaceCondition]:
    """What the status says about the deletion.

    Shape: `left` counts objects by resource, `finalizers` counts objects by finalizer.
    """

    def one(kind: str, wrong: bool, reason: str, message: str, good: tuple[str, str]) -> core_v1.NamespaceCondition:
        return core_v1.NamespaceCondition(
            type=kind,
            status="True" if wrong else "False",
            reason=reason if wrong else good[0],
            message=message if wrong else good[1],
            last_transition_time=now,
        )

    content = ", ".join(f"{resource}. has {count} resource instances" for resource, count in sorted(left.items()))
    holders = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    return [
        one(
            "NamespaceDeletionDiscoveryFailure",
            False,
            "",
            "",
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        one(
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "",
            "",
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        one(
            "NamespaceDeletionContentFailure",
            bool(failures),
            "ContentDeletionFailed",
            "Failed to delete all resource types, " + "; ".join(failures),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        one(
            "NamespaceContentRemaining",
            bool(left),
            "SomeResourcesRemain",
            f"Some resources are remaining: {content}",
            ("ContentRemoved", "All content successfully removed"),
        ),
        one(
            "NamespaceFinalizersRemaining",
            bool(finalizers),
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {holders}",
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]


class NamespaceController:
    """Keys are names of namespaces."""

    def __init__(
        self, client: Client, namespaces: Informer[core_v1.Namespace], pods: Informer[PodView], clock: Clock
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._pods = pods
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._kinds = deletable()

    async def run(self) -> None:
        """Until cancelled."""
        await self._namespaces.wait_synced()
        self._namespaces.subscribe(lambda key, old, new: self._queue.add(key))
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, WORKERS, "namespaces")

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        namespace = key.partition("/")[0]
        if new is None and reconcile(self._namespaces.get(namespace)):
            self._queue.add(namespace)

    async def _sync(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or not reconcile(namespace):
            return
        failures = await self._delete_content(key)
        left, finalizers = await self._remaining(key)
        await self._report(key, conditions(left, finalizers, failures, rfc3339(self._clock.now())))
        if left or failures:
            self._queue.add_after(key, RECHECK_SECONDS)
            return
        await self._finalize(key)

    async def _delete_content(self, namespace: str) -> list[str]:
        failures = []
        for row in self._kinds:
            if not await self._objects(row, namespace):
                continue
            options = orjson.dumps({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
            answer = await self._client.raw(
                "DELETE", row.path(namespace), body=options, headers={"content-type": "application/json"}
            )
            if answer.status >= 400:
                failures.append(ApiError.from_body(answer.status, answer.body).message)
        return failures

    async def _objects(self, row: Resource, namespace: str) -> list[dict[str, object]]:
        """Metadata of what is left of a kind."""
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        answer = await self._client.raw("GET", row.path(namespace), headers={"accept": accept})
        if answer.status == 404:
            return []
        if answer.status >= 400:
            raise ApiError.from_body(answer.status, answer.body)
        items: list[dict[str, object]] = orjson.loads(answer.body).get("items") or []
        return items

    async def _remaining(self, namespace: str) -> tuple[dict[str, int], dict[str, int]]:
        left: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        for row in self._kinds:
            for item in await self._objects(row, namespace):
                left[row.group_resource] = left.get(row.group_resource, 0) + 1
                metadata = item.get("metadata")
                for name in metadata.get("finalizers", ()) if isinstance(metadata, dict) else ():
                    finalizers[name] = finalizers.get(name, 0) + 1
        return left, finalizers

    async def _report(self, name: str, wanted: list[core_v1.NamespaceCondition]) -> None:
        namespace = await self._get(name)
        if namespace is None:
            return
        said = {c.type: (c.status, c.reason, c.message) for c in namespace.status.conditions}
        if all(said.get(c.type) == (c.status, c.reason, c.message) for c in wanted):
            return
        namespace.status.phase = "Terminating"
        namespace.status.conditions = wanted
        try:
            await self._client.update(namespace, subresource="status")
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise

    async def _finalize(self, name: str) -> None:
        namespace = await self._get(name)
        if namespace is None:
            return
        namespace.spec.finalizers = [f for f in namespace.spec.finalizers if f != FINALIZER]
        try:
            await self._client.update(namespace, subresource="finalize")
        except ApiError as error:
            if error.reason == "Conflict":
                self._queue.add(name)
            elif error.reason != "NotFound":
                raise

    async def _get(self, name: str) -> core_v1.Namespace | None:
        try:
            return await self._client.get(core_v1.Namespace, name)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise
