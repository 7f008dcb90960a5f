"""Every built-in object that carob returns fits upstream's schema, with nothing that the schema does not know."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from carob.api import codec
from carob.api.resources import BUILT_IN
from carob.api.types import apps_v1, batch_v1, core_v1, policy_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests import schemas
from tests.api.replaying import Replay
from tests.fakes.controller_world import Kubelets, World, with_kubelets

# Go writes null here, as upstream does, too: the list is never left out
NULLS = frozenset(("CSINode: $.spec.drivers: None is not of type 'array'",))
TEMPLATE: dict[str, Any] = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
CHOSEN = {"selector": {"matchLabels": {"app": "x"}}}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(), SystemClock().now())


@pytest.mark.parametrize("topic", ["bootstrap", "tables", "defaulting", "validation", "patches", "watching", "rights"])
def test_what_is_answered_fits_the_schemas(topic: str, pki: Pki) -> None:
    replay = Replay(pki)
    asyncio.run(replay.run(topic))
    seen: set[bytes] = set()
    wrong: set[str] = set()
    for answer in replay.returned:
        for tree in schemas.objects_in(answer):
            text = orjson.dumps(tree)
            if text not in seen:
                seen.add(text)
                wrong |= set(schemas.complaints(tree))
    assert len(seen) > 50
    assert not wrong - NULLS, "\n".join(sorted(wrong - NULLS))


def test_what_controllers_write_fits_the_schemas(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        spec: Any = {**CHOSEN, "template": TEMPLATE, "replicas": 2}
        await world.make(apps_v1.Deployment, "d", "default", spec=spec)
        await world.make(apps_v1.StatefulSet, "s", "default", spec={**spec, "serviceName": "s"})
        await world.make(apps_v1.DaemonSet, "e", "default", spec={**CHOSEN, "template": TEMPLATE})
        once = {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
        await world.make(batch_v1.Job, "j", "default", spec=once)
        await world.make(policy_v1.PodDisruptionBudget, "b", "default", spec={**CHOSEN, "minAvailable": 1})
        await world.make(core_v1.Service, "v", "default", spec={"selector": {"app": "x"}, "ports": [{"port": 80}]})
        await world.until(apps_v1.Deployment, "d", "default", lambda d: d is not None and d.status.ready_replicas == 2)
        await world.until(apps_v1.StatefulSet, "s", "default", lambda s: s is not None and s.status.ready_replicas == 2)
        await world.until(batch_v1.Job, "j", "default", lambda j: j is not None and j.status.active == 1)
        await world.until(
            policy_v1.PodDisruptionBudget, "b", "default", lambda b: b is not None and b.status.current_healthy > 0
        )
        count, wrong = 0, set()
        for row in BUILT_IN:
            if not row.stored or "list" not in row.verbs:
                continue
            for found in (await world.client.list(row.struct)).items:
                count += 1
                wrong |= set(schemas.complaints(codec.to_tree(found)))
        assert count > 100
        assert not wrong - NULLS, "\n".join(sorted(wrong - NULLS))

    with_kubelets(pki, body)


def test_the_schemas_see_what_does_not_belong() -> None:
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    assert schemas.complaints(tree) == []
    assert schemas.complaints({**tree, "extra": 1})
    assert schemas.complaints({**tree, "spec": {"containers": [{"name": "c", "ports": [{"containerPort": "80"}]}]}})
