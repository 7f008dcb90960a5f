"""Fields of templates whose feature gate is closed: they fall away from every kind that holds one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.engine_world import World, in_world

POD: dict[str, Any] = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {
        "restartPolicy": "Always",
        "containers": [
            {"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1"}},
            {"name": "d", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1", "preStop": {"sleep": {"seconds": 1}}}},
        ],
    },
}
ONCE: dict[str, Any] = {**POD, "spec": {**POD["spec"], "restartPolicy": "Never"}}
APPS, CORE, BATCH = "/apis/apps/v1", "/api/v1", "/apis/batch/v1"
CHOSEN = {"selector": {"matchLabels": {"a": "b"}}, "template": POD}


@pytest.mark.parametrize(
    ("group", "plural", "body", "path"),
    [
        (APPS, "deployments", {"spec": CHOSEN}, "spec.template"),
        (APPS, "replicasets", {"spec": CHOSEN}, "spec.template"),
        (APPS, "daemonsets", {"spec": CHOSEN}, "spec.template"),
        (APPS, "statefulsets", {"spec": {**CHOSEN, "serviceName": "s"}}, "spec.template"),
        (CORE, "replicationcontrollers", {"spec": {"selector": {"a": "b"}, "template": POD}}, "spec.template"),
        (CORE, "podtemplates", {"template": POD}, "template"),
        (BATCH, "jobs", {"spec": {"template": ONCE}}, "spec.template"),
        (
            BATCH,
            "cronjobs",
            {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": ONCE}}}},
            "spec.jobTemplate.spec.template",
        ),
    ],
)
def test_stop_signals_fall_away(group: str, plural: str, body: dict[str, Any], path: str) -> None:
    async def run(world: World) -> None:
        where = f"{group}/namespaces/default/{plural}"
        made = await world.made(where, {"metadata": {"name": "x"}, **body})
        found = made
        for step in path.split("."):
            found = found[step]
        first, second = found["spec"]["containers"]
        assert "lifecycle" not in first
        assert second["lifecycle"] == {"preStop": {"sleep": {"seconds": 1}}}
        if plural in ("deployments", "statefulsets"):
            # and again when somebody asks once more: nothing has changed
            status, again = await world.ask("PUT", f"{where}/x", {**made, **body, "metadata": made["metadata"]})
            assert (status, again["metadata"].get("generation")) == (200, 1)

    in_world(run)
