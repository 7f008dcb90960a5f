"""Makes what a cluster must hold before its first request, and mends it at later starts.

All missing objects are created at once, so that the store commits them together: a first boot is two commits (the
namespaces, then everything else). What exists stays as it is, except that roles and bindings which are still marked
for automatic update get back what was taken from them, and that what tells our address and CA follows them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from carob.api import codec
from carob.api.status import ApiError
from carob.apiserver.bootstrap import objects, policy
from carob.base.ids import new_uid
from carob.base.log import get_logger
from carob.base.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.options import ApiServerOptions
    from carob.apiserver.types import Reader
    from carob.base.clock import Clock
    from carob.base.ids import Randomness

_log = get_logger("apiserver.bootstrap")
_AUTHORITY = re.compile("certificate-authority-data: .*")
_FOLLOWS_US = frozenset(
    (
        ("endpoints", "kubernetes"),
        ("endpointslices", "kubernetes"),
        ("configmaps", "extension-apiserver-authentication"),
        ("configmaps", "carob-node-config"),
    )
)


# who writes what upstream does not write as kube-apiserver, by group
_MANAGERS = {"flowcontrol.apiserver.k8s.io": "api-priority-and-fairness-config-producer-v1"}


class Writer(Protocol):
    """As much of the engine as bootstrap needs."""

    @property
    def reader(self) -> Reader: ...

    async def create_object(self, resource: Resource, obj: Any, namespace: str = "", manager: str = "") -> Any: ...

    async def update_object(self, resource: Resource, obj: Any, namespace: str = "") -> Any: ...


class Bootstrap:
    """One run over everything that must be there."""

    def __init__(
        self,
        writer: Writer,
        table: ResourceTable,
        options: ApiServerOptions,
        clock: Clock,
        randomness: Randomness,
        *,
        shared: bool = False,
    ) -> None:
        self._writer = writer
        self._table = table
        self._options = options
        self._clock = clock
        self._randomness = randomness
        self._shared = shared

    async def run(self) -> None:
        """Return when everything is there."""
        await self._ensure(objects.namespaces())
        # before the `kubernetes` Service, whose address must be in a range that is there
        await self._ensure(iter([objects.service_range(self._options, self._clock.now())]))
        await self._ensure(self._everything())

    def _everything(self) -> Iterator[dict[str, Any]]:
        now, options = self._clock.now(), self._options
        yield objects.kubernetes_service(options)
        yield objects.dns_service(options)
        if not self._shared:  # several servers keep them together: `server_endpoints.py`
            yield from objects.kubernetes_endpoints([(options.advertise_address, options.port)])
        yield from objects.config_maps(options, now)
        yield objects.identity_lease(options, new_uid(self._randomness), now)
        yield from objects.priority_classes()
        gates = options.features.gates
        yield from policy.cluster_roles(gates)
        yield from policy.cluster_role_bindings(gates)
        yield from policy.roles()
        yield from policy.role_bindings()
        yield from objects.priority_levels()
        yield from objects.flow_schemas(now)
        yield from objects.api_services(self._table, now)
        if options.local_provisioner:
            yield objects.local_storage_class(options.local_provisioner)

    async def _ensure(self, trees: Iterator[dict[str, Any]]) -> None:
        async with TaskGroup() as group:
            for tree in trees:
                resource = self._table.by_kind(tree["apiVersion"], tree["kind"])
                assert resource is not None, tree["kind"]
                metadata = tree["metadata"]
                namespace, name = metadata.get("namespace", ""), metadata["name"]
                existing = self._writer.reader.get(resource, namespace, name)
                if existing is None:
                    group.spawn(self._create(resource, tree, namespace), f"bootstrap {resource.plural}/{name}")
                    continue
                mended = self._mended(resource, existing, tree)
                if mended is not None:
                    group.spawn(self._update(resource, mended, namespace), f"mend {resource.plural}/{name}")

    async def _create(self, resource: Resource, tree: dict[str, Any], namespace: str) -> None:
        try:
            obj = codec.from_tree(resource.struct, tree)
            await self._writer.create_object(resource, obj, namespace, _MANAGERS.get(resource.group, ""))
        except ApiError as error:
            # another server of the same store was faster
            if error.reason != "AlreadyExists":
                raise

    async def _update(self, resource: Resource, obj: Any, namespace: str) -> None:
        try:
            await self._writer.update_object(resource, obj, namespace)
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
            _log.warning("could not mend %s %s: %s", resource.plural, obj.metadata.name, error.message)

    def _mended(self, resource: Resource, existing: Any, tree: dict[str, Any]) -> Any | None:
        """The object as it should be; None if it is."""
        old = codec.to_tree(existing)
        wanted = codec.to_tree(codec.from_tree(resource.struct, tree))
        new = dict(old)
        place = (resource.plural, tree["metadata"]["name"])
        if place in _FOLLOWS_US:
            new |= {key: value for key, value in wanted.items() if key != "metadata"}
        elif place == ("configmaps", "cluster-info"):
            # several servers have one address of their own each, and need not write it over and over
            told = old.get("data") or {}
            if not self._shared or _AUTHORITY.findall(told.get("kubeconfig", "")) != _AUTHORITY.findall(
                wanted["data"]["kubeconfig"]
            ):
                new["data"] = told | wanted["data"]
        elif place == ("services", "kubernetes"):
            new["spec"] = old["spec"] | {"ports": wanted["spec"]["ports"]}
        elif tree["apiVersion"].startswith(policy.GROUP):
            if existing.metadata.annotations.get(policy.AUTOUPDATE) != "true" or "aggregationRule" in tree:
                return None
            for key in ("rules", "subjects"):
                missing = [one for one in tree.get(key, ()) if one not in (old.get(key) or [])]
                if missing:
                    new[key] = [*(old.get(key) or []), *missing]
        return None if new == old else codec.from_tree(resource.struct, new)
