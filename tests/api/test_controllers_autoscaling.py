"""Autoscalers against a real API server whose metrics are the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from carob.api.types import apps_v1, core_v1
from carob.api.types import autoscaling_v2 as v2
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock, rfc3339
from carob.controllers.autoscaling.controller import PERIOD_SECONDS
from carob.transport.http import Response
from tests.fakes.controller_world import Kubelets, World, with_kubelets


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


class Metrics:
    """What every Pod uses, as `metrics.k8s.io` tells it."""

    def __init__(self, world: World) -> None:
        self.milli = 0
        self._world = world
        world.api._dispatcher.register("metrics.k8s.io", "pods", "", self._answer)

    async def _answer(self, info: Any, request: Any, user: Any) -> Response:
        selector = info.first("labelSelector")
        pods = await self._world.client.list(core_v1.Pod, info.namespace, label_selector=selector)
        items = [
            {
                "metadata": {"name": pod.metadata.name, "namespace": pod.metadata.namespace},
                "timestamp": rfc3339(self._world.clock.now() + 60),
                "window": "10s",
                "containers": [{"name": "main", "usage": {"cpu": f"{self.milli}m", "memory": "1Mi"}}],
            }
            for pod in pods.items
        ]
        return Response(body=orjson.dumps({"kind": "PodMetricsList", "metadata": {}, "items": items}))


async def _deploy(world: World, replicas: int = 1) -> None:
    main = {"name": "main", "image": "web:v1", "resources": {"requests": {"cpu": "100m"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [main]}}
    tree = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    await world.make(apps_v1.Deployment, "web", "default", spec=tree)
    await world.until(
        apps_v1.Deployment, "web", "default", lambda d: d is not None and d.status.ready_replicas == replicas
    )


def _spec(**fields: Any) -> dict[str, Any]:
    target = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "web"}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    return {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4, "metrics": [cpu]} | fields


async def _sized(world: World, replicas: int) -> None:
    def holds(found: apps_v1.Deployment | None) -> bool:
        assert found is not None
        return found.spec.replicas == found.status.ready_replicas == replicas

    await world.until(apps_v1.Deployment, "web", "default", holds)


def _reason(hpa: v2.HorizontalPodAutoscaler | None, kind: str) -> str:
    assert hpa is not None
    return next((c.reason for c in hpa.status.conditions if c.type == kind), "")


def test_an_autoscaler_follows_the_load_within_its_bounds(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        metrics = Metrics(world)
        kubelets.outcome = lambda pod: {"startTime": rfc3339(world.clock.now())}
        await _deploy(world)
        metrics.milli = 190
        quick = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        await world.make(v2.HorizontalPodAutoscaler, "web", "default", spec=_spec(behavior=quick))
        await _sized(world, 2)
        await world.clock.advance(PERIOD_SECONDS)
        await _sized(world, 4)
        await world.until(
            v2.HorizontalPodAutoscaler, "web", "default", lambda h: _reason(h, "ScalingLimited") == "TooManyReplicas"
        )
        metrics.milli = 1
        await world.clock.advance(PERIOD_SECONDS)
        await _sized(world, 2)
        hpa = await world.client.get(v2.HorizontalPodAutoscaler, "web", "default")
        assert (hpa.status.current_replicas, hpa.status.desired_replicas) == (4, 2)
        events = await world.client.list(core_v1.Event, "default", field_selector="involvedObject.name=web")
        assert "New size: 2; reason: All metrics below target" in [e.message for e in events.items]

    with_kubelets(pki, body)


def test_what_keeps_an_autoscaler_from_working_is_told(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await _deploy(world, 2)
        gone = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "gone"}
        await world.make(v2.HorizontalPodAutoscaler, "a", "default", spec=_spec(scaleTargetRef=gone))
        await world.until(
            v2.HorizontalPodAutoscaler, "a", "default", lambda h: _reason(h, "AbleToScale") == "FailedGetScale"
        )
        odd = {"kind": "DaemonSet", "apiVersion": "apps/v1", "name": "web"}
        await world.make(v2.HorizontalPodAutoscaler, "b", "default", spec=_spec(scaleTargetRef=odd))
        await world.until(
            v2.HorizontalPodAutoscaler, "b", "default", lambda h: _reason(h, "AbleToScale") == "FailedGetScale"
        )
        await world.make(v2.HorizontalPodAutoscaler, "c", "default", spec=_spec())
        await world.until(
            v2.HorizontalPodAutoscaler,
            "c",
            "default",
            lambda h: _reason(h, "ScalingActive") == "FailedGetResourceMetric",
        )
        await world.make(v2.HorizontalPodAutoscaler, "d", "default", spec=_spec())
        await world.until(
            v2.HorizontalPodAutoscaler, "d", "default", lambda h: _reason(h, "ScalingActive") == "AmbiguousSelector"
        )

    with_kubelets(pki, body)
