"""Quotas over the edge of the API server."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.api.asking import Asker, WithServer, soon


def quota(**hard: str) -> dict[str, Any]:
    spec = {"hard": hard}
    return {"kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": "q"}, "spec": spec}


def config_map(name: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}}


QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def quota_with(api: Asker, **hard: str) -> None:
    """A quota whose status says what holds."""
    await api.ask("POST", QUOTAS, quota(**hard))
    await says(api, "hard", hard)


async def says(api: Asker, part: str, amounts: dict[str, str]) -> None:
    """Return when `hard` or `used` of the quota's status says so."""

    async def holds() -> bool:
        _, found = await api.ask("GET", f"{QUOTAS}/q")
        return bool(found["status"].get(part) == amounts)

    await soon(holds)


def test_the_last_place_of_a_quota_is_given_once_and_again_when_it_is_free(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        await quota_with(api, configmaps="2")
        maps = "/api/v1/namespaces/default/configmaps"
        answers = await asyncio.gather(*(api.ask("POST", maps, config_map(f"m{n}")) for n in range(8)))
        codes = sorted(code for code, _ in answers)
        assert codes == [201, 201, *[403] * 6]
        refused = next(answer for code, answer in answers if code == 403)
        assert (
            "exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
            in (refused["message"])
        )
        await says(api, "used", {"configmaps": "2"})
        name = next(answer["metadata"]["name"] for code, answer in answers if code == 201)
        await api.ask("DELETE", f"{maps}/{name}")
        await says(api, "used", {"configmaps": "1"})
        assert (await api.ask("POST", maps, config_map("next")))[0] == 201
        assert (await api.ask("POST", maps, config_map("last")))[0] == 403

    with_server(body)


def test_a_quota_counts_what_was_there_before_and_follows_its_spec(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        for name in ("a", "b"):
            await api.ask("POST", "/api/v1/namespaces/default/configmaps", config_map(name))
        hpa = {"scaleTargetRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}, "maxReplicas": 2}
        tree = {
            "kind": "HorizontalPodAutoscaler",
            "apiVersion": "autoscaling/v2",
            "metadata": {"name": "h"},
            "spec": hpa,
        }
        await api.ask("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", tree)
        hard: dict[str, str] = {
            "count/configmaps": "1",
            "count/horizontalpodautoscalers.autoscaling": "5",
            "requests.cpu": "2",
        }
        await quota_with(api, **hard)
        used = {"count/configmaps": "2", "count/horizontalpodautoscalers.autoscaling": "1", "requests.cpu": "0"}
        await says(api, "used", used)
        headers = {"content-type": "application/json-patch+json"}
        patch = [{"op": "replace", "path": "/spec/hard", "value": {"configmaps": "7"}}]
        await api.ask("PATCH", f"{QUOTAS}/q", patch, headers=headers)
        await says(api, "hard", {"configmaps": "7"})
        await says(api, "used", {"configmaps": "2"})

    with_server(body)


def test_what_is_refused_anyway_costs_nothing(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        await quota_with(api, configmaps="2")
        maps = "/api/v1/namespaces/default/configmaps"
        assert (await api.ask("POST", maps, config_map("m")))[0] == 201
        assert (await api.ask("POST", maps, config_map("m")))[0] == 409
        assert (await api.ask("POST", f"{maps}?dryRun=All", config_map("dry")))[0] == 201
        assert (await api.ask("POST", maps, config_map("n")))[0] == 201

    with_server(body)
