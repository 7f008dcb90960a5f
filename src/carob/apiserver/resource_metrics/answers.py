"""GET and LIST of `metrics.k8s.io`'s nodes and pods.

Source: metrics-server `pkg/api` (objects, table columns, words of refusals); k8s.io/metrics `v1beta1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from carob.api import codec
from carob.api.durations import go_duration
from carob.api.selectors import SelectorError, parse_labels
from carob.api.status import bad_request, not_found
from carob.apiserver import field_selectors
from carob.apiserver.authn.service_accounts import NODES as ALL_NODES
from carob.apiserver.authn.service_accounts import PODS as ALL_PODS
from carob.apiserver.negotiation import TABLE, YAML, form_of
from carob.apiserver.resource_metrics.rates import NODE, SHORTEST_SECONDS
from carob.apiserver.resource_metrics.rows import NODES, PODS
from carob.apiserver.yaml_text import to_yaml
from carob.base.clock import rfc3339
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.resource_metrics.rates import Key, Use
    from carob.apiserver.resource_metrics.sampler import Sampler
    from carob.apiserver.types import Reader, RequestInfo
    from carob.base.clock import Clock
    from carob.transport.http import Request

Tree = dict[str, Any]


class _Indexed(Struct):
    """An object as field selectors see it."""

    namespace: str
    name: str
    labels: dict[str, str]
    fields: tuple[str, ...]


class ResourceMetrics:
    """Answers both resources."""

    def __init__(self, reader: Reader, sampler: Sampler, clock: Clock) -> None:
        self._reader = reader
        self._sampler = sampler
        self._clock = clock

    async def nodes(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """`nodes`: one, or those that the selectors choose."""
        found = self._chosen(ALL_NODES, info)
        uses = await self._sampler.uses_of(node.metadata.name for node in found)
        items = []
        for node in found:
            use = uses.get(node.metadata.name, {}).get(NODE)
            if use is not None:
                items.append(self._object(node, use, {"usage": _usage(use)}))
        return self._answer(NODES, info, request, items)

    async def pods(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """`pods`: one, those of a namespace, or all."""
        found = [p for p in self._chosen(ALL_PODS, info) if p.spec.node_name and p.status.phase == "Running"]
        uses = await self._sampler.uses_of(pod.spec.node_name for pod in found)
        items = []
        for pod in found:
            tree = self._pod(pod, uses.get(pod.spec.node_name, {}))
            if tree is not None:
                items.append(tree)
        return self._answer(PODS, info, request, items)

    def _pod(self, pod: Any, uses: dict[Key, Use]) -> Tree | None:
        """None as long as one of its containers has no numbers: half a Pod would look like a small one."""
        name, namespace = pod.metadata.name, pod.metadata.namespace
        sidecars = [c.name for c in pod.spec.init_containers if c.restart_policy == "Always"]
        mine: list[tuple[str, Use]] = []
        for container in [*sidecars, *(c.name for c in pod.spec.containers)]:
            use = uses.get((namespace, name, container))
            if use is not None:
                mine.append((container, use))
            elif _runs(pod, container):
                return None
        if not mine:
            return None
        shown = [{"name": container, "usage": _usage(use)} for container, use in mine]
        return self._object(
            pod, max((use for _, use in mine), key=lambda use: use.window_seconds), {"containers": shown}
        )

    def _object(self, of: Any, use: Use, fields: Tree) -> Tree:
        metadata: Tree = {"name": of.metadata.name}
        if of.metadata.namespace:
            metadata["namespace"] = of.metadata.namespace
        metadata["creationTimestamp"] = rfc3339(self._clock.now())
        if of.metadata.labels:
            metadata["labels"] = of.metadata.labels
        window = max(use.window_seconds, SHORTEST_SECONDS)
        return {"metadata": metadata, "timestamp": rfc3339(use.time), "window": go_duration(round(window, 3)), **fields}

    def _chosen(self, row: Resource, info: RequestInfo) -> list[Any]:
        """The nodes or Pods that are asked for. Raises: ApiError 400, 404."""
        if info.name:
            one = self._reader.get(row, info.namespace, info.name)
            if one is None:
                raise not_found(NODES if row is ALL_NODES else PODS, info.name)
            return [one]
        try:
            labels = parse_labels(info.first("labelSelector"))
        except SelectorError as error:
            raise bad_request(str(error)) from None
        fields = field_selectors.parse(row, row, info.first("fieldSelector"))
        matches = field_selectors.matcher(row, fields)
        found = [o for o in self._reader.list(row, info.namespace) if labels.matches(o.metadata.labels)]
        if matches is not None:
            found = [o for o in found if matches(_indexed(row, o))]
        return sorted(found, key=lambda o: (o.metadata.namespace, o.metadata.name))

    def _answer(self, row: Resource, info: RequestInfo, request: Request, items: list[Tree]) -> Response:
        if info.name and not items:
            raise not_found(row, info.name if row is NODES else f"{info.namespace}/{info.name}")
        form = form_of(request.headers.get("accept", ""))
        if form.kind == TABLE:
            return Response(body=orjson.dumps(_table(items, form.api_version)))
        head = {"kind": row.kind, "apiVersion": row.api_version}
        if info.name:
            tree = {**head, **items[0]}
        else:
            tree = {"kind": row.list_kind, "apiVersion": row.api_version, "metadata": {}, "items": items}
        if form.media == YAML:
            return Response(body=to_yaml(tree), content_type=YAML)
        return Response(body=orjson.dumps(tree) + b"\n")


def _indexed(row: Resource, obj: Any) -> _Indexed:
    index = field_selectors.indexer(row)(codec.encode(obj))
    return _Indexed(obj.metadata.namespace, obj.metadata.name, index.labels, index.fields)


def _runs(pod: Any, container: str) -> bool:
    statuses = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    return any(s.name == container and s.state is not None and s.state.running is not None for s in statuses)


def _usage(use: Use) -> Tree:
    return {"cpu": f"{use.cpu_nanocores}n", "memory": f"{use.memory_bytes >> 10}Ki"}


def _table(items: list[Tree], api_version: str) -> Tree:
    """The columns of `kubectl get podmetrics`."""
    names = ("Name", "cpu", "memory", "Window")
    columns = [
        {"name": name, "type": "string", "format": "name" if name == "Name" else "", "description": "", "priority": 0}
        for name in names
    ]
    rows = []
    for item in items:
        parts = [item["usage"]] if "usage" in item else [c["usage"] for c in item["containers"]]
        cpu = sum(int(part["cpu"].rstrip("n")) for part in parts)
        memory = sum(int(part["memory"].removesuffix("Ki")) for part in parts)
        metadata = item["metadata"]
        partial = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata}
        rows.append({"cells": [metadata["name"], f"{cpu}n", f"{memory}Ki", item["window"]], "object": partial})
    return {"kind": "Table", "apiVersion": api_version, "metadata": {}, "columnDefinitions": columns, "rows": rows}
