"""Reads metrics for the autoscalers from the metrics APIs.

Source: kube-controller-manager `podautoscaler/metrics/client.go`; k8s.io/metrics (metrics, custom, external).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from carob.api.resources import TABLE
from carob.api.selectors import SelectorError, from_struct
from carob.api.status import ApiError
from carob.base.clock import parse_rfc3339
from carob.client.rest import error_of
from carob.controllers.autoscaling.readings import OneValue, PerPod, PodReading, Unreadable, milli

if TYPE_CHECKING:
    from carob.api.types import autoscaling_v2 as v2
    from carob.client.rest import Client
    from carob.controllers.autoscaling.readings import Reading

RESOURCES = "/apis/metrics.k8s.io/v1beta1"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


class MetricsReader:
    """`read` answers one metric of one autoscaler."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, metric: v2.MetricSpec, namespace: str, selector: str) -> Reading:
        """What it says now, or why nothing can be said."""
        try:
            if metric.resource is not None:
                return await self._resource(metric.resource.name, "", namespace, selector)
            if metric.container_resource is not None:
                source = metric.container_resource
                return await self._resource(source.name, source.container, namespace, selector)
            if metric.pods is not None:
                return await self._pods(metric.pods.metric, namespace, selector)
            if metric.object is not None:
                return await self._object(metric.object, namespace)
            if metric.external is not None:
                return await self._external(metric.external.metric, namespace)
        except SelectorError as error:
            return Unreadable(str(error))
        return Unreadable("unknown metric source")

    async def _resource(self, name: str, container: str, namespace: str, selector: str) -> Reading:
        try:
            tree = await self._get(f"{RESOURCES}/namespaces/{namespace}/pods", labelSelector=selector)
        except (ApiError, OSError) as error:
            return Unreadable(f"unable to fetch metrics from resource metrics API: {_text(error)}")
        if not tree["items"]:
            return Unreadable("no metrics returned from resource metrics API")
        found = {}
        for item in tree["items"]:
            mine = [c for c in item["containers"] if not container or c["name"] == container]
            pod = item["metadata"]["name"]
            if container and not mine:
                return Unreadable(f"container {container} not present in metrics for pod {namespace}/{pod}")
            if not mine or any(name not in c["usage"] for c in mine):
                # without one of its containers a Pod counts as one without numbers
                continue
            value = sum(milli(c["usage"][name]) for c in mine)
            found[pod] = PodReading(value, parse_rfc3339(item["timestamp"]), window_seconds(item["window"]))
        return PerPod(found)

    async def _pods(self, metric: v2.MetricIdentifier, namespace: str, selector: str) -> Reading:
        path = f"{CUSTOM}/namespaces/{namespace}/pods/*/{metric.name}"
        try:
            tree = await self._get(path, labelSelector=selector, metricLabelSelector=_selector(metric))
        except (ApiError, OSError) as error:
            return Unreadable(f"unable to fetch metrics from custom metrics API: {_text(error)}")
        if not tree["items"]:
            return Unreadable("no metrics returned from custom metrics API")
        return PerPod(
            {
                item["describedObject"]["name"]: PodReading(
                    milli(item["value"]), parse_rfc3339(item["timestamp"]), float(item.get("windowSeconds") or 60)
                )
                for item in tree["items"]
            }
        )

    async def _object(self, source: v2.ObjectMetricSource, namespace: str) -> Reading:
        of = source.described_object
        row = TABLE.by_kind(of.api_version, of.kind)
        plural = row.group_resource if row is not None else f"{of.kind.lower()}s"
        if of.kind == "Namespace":
            path = f"{CUSTOM}/namespaces/{of.name}/metrics/{source.metric.name}"
        elif row is not None and not row.namespaced:
            path = f"{CUSTOM}/{plural}/{of.name}/{source.metric.name}"
        else:
            path = f"{CUSTOM}/namespaces/{namespace}/{plural}/{of.name}/{source.metric.name}"
        try:
            tree = await self._get(path, metricLabelSelector=_selector(source.metric))
        except (ApiError, OSError) as error:
            return Unreadable(f"unable to fetch metrics from custom metrics API: {_text(error)}")
        if not tree["items"]:
            return Unreadable("no metrics returned from custom metrics API")
        return OneValue(milli(tree["items"][0]["value"]))

    async def _external(self, metric: v2.MetricIdentifier, namespace: str) -> Reading:
        try:
            path = f"{EXTERNAL}/namespaces/{namespace}/{metric.name}"
            tree = await self._get(path, labelSelector=_selector(metric))
        except (ApiError, OSError) as error:
            return Unreadable(f"unable to fetch metrics from external metrics API: {_text(error)}")
        if not tree["items"]:
            return Unreadable("no metrics returned from external metrics API")
        return OneValue(sum(milli(item["value"]) for item in tree["items"]))

    async def _get(self, path: str, **query: str) -> Any:
        text = urlencode({key: value for key, value in query.items() if value})
        answer = await self._client.raw("GET", path, query=text)
        if answer.status >= 300:
            raise error_of(answer)
        return orjson.loads(answer.body)


def window_seconds(text: str) -> float:
    """Of a Go duration such as `1m15.5s`; a minute for what is none."""
    total, number = 0.0, ""
    text = text.replace("ms", "!")
    for letter in text:
        if letter in _UNITS or letter == "!":
            total += float(number or 0) * _UNITS.get(letter, 0.001)
            number = ""
        else:
            number += letter
    return total or 60.0


def _selector(metric: v2.MetricIdentifier) -> str:
    return "" if metric.selector is None else str(from_struct(metric.selector))


def _text(error: Exception) -> str:
    return error.message if isinstance(error, ApiError) else str(error)
