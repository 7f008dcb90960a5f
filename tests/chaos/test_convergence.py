"""Whatever happens to servers, watches and nodes, the cluster comes to what was declared, and keeps its promises meanwhile.

Each seed is a history of its own on virtual time; a failure names it, and `CAROB_SEED=n` plays it again;
`CAROB_SEEDS=500` plays so many.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import apps_v1, batch_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.store.types import Event, Revision
from tests.chaos.simulation import Simulation

pytestmark = pytest.mark.slow

NODES = 4
STEPS = 12
# five minutes until an unreachable node's Pods are taken from it, and then some
CALM_SECONDS = 1500
_COUNT = int(os.environ.get("CAROB_SEEDS", "6"))
SEEDS = [int(os.environ["CAROB_SEED"])] if "CAROB_SEED" in os.environ else range(1, 1 + _COUNT)

Fault = Callable[[Simulation, random.Random], Awaitable[None]]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def template(app: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}]
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": containers} | spec}


def workload(app: str, **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": app}}
    return {"metadata": {"name": app, "namespace": "default"}, "spec": {"selector": selector} | spec}


async def declare(simulation: Simulation) -> None:
    client = simulation.admin
    web, db, agent = template("web"), template("db"), template("agent")
    await client.create(codec.from_tree(apps_v1.Deployment, workload("web", replicas=5, template=web)))
    await client.create(codec.from_tree(apps_v1.StatefulSet, workload("db", replicas=3, template=db, serviceName="db")))
    await client.create(codec.from_tree(apps_v1.DaemonSet, workload("agent", template=agent)))
    job = {"completions": 8, "parallelism": 3, "backoffLimit": 50, "template": template("sum", restartPolicy="Never")}
    await client.create(
        codec.from_tree(batch_v1.Job, {"metadata": {"name": "sum", "namespace": "default"}, "spec": job})
    )


async def restart_server(simulation: Simulation, lots: random.Random) -> None:
    await simulation.stop_server()
    await simulation.advance(lots.choice((0, 3, 90)))
    await simulation.start_server()


async def lose_watches(simulation: Simulation, lots: random.Random) -> None:
    await simulation.cut_connections()


async def lose_node(simulation: Simulation, lots: random.Random) -> None:
    alive = [node for node in simulation.nodes if node.alive]
    if len(alive) > 1:
        await lots.choice(alive).stop()


async def find_node(simulation: Simulation, lots: random.Random) -> None:
    lost = [node for node in simulation.nodes if not node.alive]
    if lost:
        lots.choice(lost).start()


async def slow_node(simulation: Simulation, lots: random.Random) -> None:
    lots.choice(simulation.nodes).slowness = lots.choice((0.1, 1, 20))


async def delete_pod(simulation: Simulation, lots: random.Random) -> None:
    pods = (await simulation.admin.list(core_v1.Pod, "default")).items
    if pods:
        pod = lots.choice(sorted(pods, key=lambda pod: pod.metadata.name))
        try:
            await simulation.admin.delete(core_v1.Pod, pod.metadata.name, "default")
        except ApiError as error:
            if error.reason != "NotFound":
                raise


async def scale(simulation: Simulation, lots: random.Random) -> None:
    patch = {"spec": {"replicas": lots.randint(1, 7)}}
    await simulation.admin.patch(apps_v1.Deployment, "web", "default", patch=patch)
    patch = {"spec": {"replicas": lots.randint(1, 4)}}
    await simulation.admin.patch(apps_v1.StatefulSet, "db", "default", patch=patch)


async def new_version(simulation: Simulation, lots: random.Random) -> None:
    kind, name = lots.choice(((apps_v1.Deployment, "web"), (apps_v1.StatefulSet, "db"), (apps_v1.DaemonSet, "agent")))
    image = {"name": "main", "image": f"web:{lots.randint(2, 9)}"}
    patch = {"spec": {"template": {"spec": {"containers": [image]}}}}
    await simulation.admin.patch(kind, name, "default", patch=patch, patch_type="strategic")


FAULTS: tuple[Fault, ...] = (
    restart_server,
    lose_watches,
    lose_node,
    find_node,
    slow_node,
    delete_pod,
    scale,
    new_version,
)


async def unmet(simulation: Simulation) -> list[str]:
    """What is not yet as declared."""
    client = simulation.admin
    web = await client.get(apps_v1.Deployment, "web", "default")
    db = await client.get(apps_v1.StatefulSet, "db", "default")
    agent = await client.get(apps_v1.DaemonSet, "agent", "default")
    job = await client.get(batch_v1.Job, "sum", "default")
    pods = (await client.list(core_v1.Pod, "default")).items
    living = [pod for pod in pods if pod.status.phase not in ("Succeeded", "Failed")]
    apps = [pod.metadata.labels.get("app") for pod in living]
    wanted, state = web.spec.replicas, web.status
    counts = (state.replicas, state.updated_replicas, state.ready_replicas, state.available_replicas)
    names = sorted(pod.metadata.name for pod in living if pod.metadata.labels.get("app") == "db")
    daemons = sorted(pod.spec.node_name for pod in living if pod.metadata.labels.get("app") == "agent")
    there = sorted((pod.spec.node_name, pod.metadata.uid) for pod in living)
    running = sorted((node.name, uid) for node in simulation.nodes for uid in node.running)
    checks = {
        "all are seen": all(one.status.observed_generation == one.metadata.generation for one in (web, db, agent)),
        f"web has {wanted}, not {counts} and {apps.count('web')} Pods": {*counts, apps.count("web")} == {wanted},
        f"db has {db.spec.replicas}, not {names}": names == [f"db-{n}" for n in range(db.spec.replicas or 0)],
        "db is ready": (db.status.ready_replicas, db.status.updated_replicas) == (db.spec.replicas,) * 2,
        f"a daemon runs on each node, not {daemons}": daemons == sorted(node.name for node in simulation.nodes),
        "daemons are new": agent.status.updated_number_scheduled == agent.status.number_ready == NODES,
        f"the job has done 8, not {job.status.succeeded}": (job.status.succeeded, job.status.active or 0) == (8, 0),
        f"nodes run what they should: {set(there) ^ set(running)}": there == running,
    }
    return [text for text, holds in checks.items() if not holds]


async def writes_since(simulation: Simulation, revision: Revision) -> set[str]:
    """Keys that were written, but for those by which nodes say that they live."""
    written: set[str] = set()

    def note(events: Sequence[Event]) -> None:
        written.update(event.key for event in events)

    watch = await simulation.store.watch("", revision, note)
    watch.close()
    return {key for key in written if "/leases/" not in key and "/nodes/" not in key}


async def play(simulation: Simulation, lots: random.Random, faults: Sequence[Fault], history: list[str]) -> None:
    """Declare, let faults happen, and see that all ends as declared."""
    await simulation.start_server()
    try:
        await simulation.advance(5)
        await simulation.add_nodes(NODES)
        await declare(simulation)
        for _ in range(STEPS):
            await simulation.advance(lots.choice((0.2, 2, 20, 60, 330)))
            fault = lots.choice(faults)
            history.append(fault.__name__)
            await fault(simulation, lots)
            assert simulation.broken == []
        for node in simulation.nodes:
            node.slowness = 1
            node.start()

        async def settled() -> bool:
            """As declared, and a minute later nobody has found anything to do."""
            if await unmet(simulation):
                return False
            before = simulation.store.revision
            await simulation.advance(60)
            return not await unmet(simulation) and not await writes_since(simulation, before)

        if not await simulation.until(settled, CALM_SECONDS):
            before = simulation.store.revision
            await simulation.advance(60)
            raise AssertionError((await unmet(simulation), await writes_since(simulation, before)))
        assert simulation.broken == []
    finally:
        await simulation.close()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(300)
def test_every_history_ends_as_declared(pki: Pki, seed: int) -> None:
    history: list[str] = []

    async def main() -> None:
        await play(Simulation(seed, pki), random.Random(seed), FAULTS, history)

    try:
        asyncio.run(main())
    except BaseException as error:
        error.add_note(f"CAROB_SEED={seed}: {', '.join(history)}")
        raise
