"""Disruption budgets against a real API server: what they say, and that evictions at once never break them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from carob.api.status import ApiError
from carob.api.types import apps_v1, core_v1, meta_v1, policy_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.fakes.controller_world import Kubelets, World, with_kubelets

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main", "image": "web"}]},
}
SELECTOR = {"matchLabels": {"app": "web"}}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def budget(world: World, replicas: int, **spec: Any) -> None:
    tree = {"replicas": replicas, "selector": SELECTOR, "template": TEMPLATE}
    await world.make(apps_v1.Deployment, "web", "default", spec=tree)
    await world.make(policy_v1.PodDisruptionBudget, "web", "default", spec={"selector": SELECTOR} | spec)


def says(allowed: int, healthy: int, desired: int, expected: int) -> Any:
    def holds(found: policy_v1.PodDisruptionBudget | None) -> bool:
        assert found is not None
        s = found.status
        return (s.disruptions_allowed, s.current_healthy, s.desired_healthy, s.expected_pods) == (
            allowed,
            healthy,
            desired,
            expected,
        )

    return holds


async def evict(world: World, pod: core_v1.Pod) -> bool:
    metadata = {"name": pod.metadata.name, "namespace": "default"}
    eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": metadata}
    try:
        await world.client.post(core_v1.Pod, pod.metadata.name, "default", "eviction", eviction, meta_v1.Status)
    except ApiError as error:
        if error.code != 429:
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ({"minAvailable": 2}, (2, 4, 2, 4)),
        ({"minAvailable": "75%"}, (1, 4, 3, 4)),
        ({"maxUnavailable": 1}, (1, 4, 3, 4)),
        ({"maxUnavailable": "50%"}, (2, 4, 2, 4)),
        ({"maxUnavailable": 0}, (0, 4, 4, 4)),
    ],
)
def test_a_budget_counts(pki: Pki, spec: dict[str, Any], numbers: tuple[int, int, int, int]) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await budget(world, 4, **spec)
        await world.until(policy_v1.PodDisruptionBudget, "web", "default", says(*numbers))
        found = await world.client.get(policy_v1.PodDisruptionBudget, "web", "default")
        (condition,) = found.status.conditions
        assert condition.status == ("True" if numbers[0] else "False")

    with_kubelets(pki, body)


def test_evictions_at_once_never_break_a_budget(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await budget(world, 6, minAvailable=4)
        await world.until(policy_v1.PodDisruptionBudget, "web", "default", says(2, 6, 4, 6))
        pods = (await world.client.list(core_v1.Pod, "default")).items
        least = 6

        def watch(now: list[core_v1.Pod]) -> None:
            nonlocal least
            working = [
                p
                for p in now
                if not p.metadata.deletion_timestamp and any(c.type == "Ready" for c in p.status.conditions)
            ]
            least = min(least, len(working))

        kubelets.most_seen = watch
        granted = await asyncio.gather(*(evict(world, pod) for pod in pods))
        assert sum(granted) >= 2
        await world.until(policy_v1.PodDisruptionBudget, "web", "default", says(2, 6, 4, 6))
        assert least >= 4

    with_kubelets(pki, body)
