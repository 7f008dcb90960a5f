"""Static Pods and their mirrors: a kubelet with a folder, a real API server, a runtime in memory."""

from __future__ import annotations

from pathlib import Path

from carob.api.types import core_v1
from carob.runtime.types import ContainerState
from tests.api.kubelet_world import NODE, World, eventually, in_world, ready

FILE = """apiVersion: v1
kind: Pod
metadata: {name: static, labels: {app: static}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "web:latest", imagePullPolicy: Never}]}
"""
NAME = f"static-{NODE}"
MIRROR = "kubernetes.io/config.mirror"


def test_a_file_runs_and_shows_in_the_api_whoever_deletes_its_mirror(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registered()
        file = tmp_path / "manifests/web.yaml"
        await eventually(file.parent.exists)
        file.write_text(FILE)
        shown = await world.until(NAME, ready)
        assert shown.metadata.annotations["kubernetes.io/config.source"] == "file"
        assert [owner.kind for owner in shown.metadata.owner_references] == ["Node"]
        (sandbox,) = world.runtime.sandboxes.values()
        assert sandbox.config.uid == shown.metadata.annotations[MIRROR], "the Pod itself has a uid of its own"
        running = world.running()
        # a mirror that somebody deletes comes again, and what it shows runs on
        await world.client.delete(core_v1.Pod, NAME, "default")
        again = await world.until(NAME, lambda p: p.metadata.uid != shown.metadata.uid and ready(p))
        assert world.running() == running
        # the agent goes and comes again
        await world.stop()
        await world.start()
        await world.until(NAME, ready)
        assert world.running() == running
        assert (await world.until(NAME, ready)).metadata.uid == again.metadata.uid
        # another content is another Pod, which begins when the first has ended
        file.write_text(FILE.replace("app: static", "app: second"))
        second = await world.until(NAME, lambda p: p.metadata.labels["app"] == "second" and ready(p))
        assert second.metadata.annotations[MIRROR] != shown.metadata.annotations[MIRROR]
        await eventually(lambda: len(world.runtime.sandboxes) == 1)
        assert world.running() != running
        # an attempt that ends begins anew, and is counted
        world.runtime.finish(world.running(), 3)
        await world.until(NAME, lambda p: p.status.container_statuses[0].restart_count == 1 and ready(p))
        file.unlink()
        await world.gone(NAME)
        await eventually(lambda: not world.runtime.sandboxes)
        assert not [c for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]

    in_world(tmp_path, body)


def test_a_file_that_went_while_the_agent_was_away_ends_its_pod(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        file = tmp_path / "manifests/web.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(FILE)
        await world.until(NAME, ready)
        await world.stop()
        file.unlink()
        await world.start()
        await world.gone(NAME)
        await eventually(lambda: not world.runtime.sandboxes)

    in_world(tmp_path, body)


def test_others_make_way_for_a_pod_of_the_nodes_files(tmp_path: Path) -> None:
    """Source: test/e2e_node/critical_pod_test.go."""

    async def body(world: World) -> None:
        node, _ = await world.registered()
        cores = int(node.status.allocatable["cpu"])
        asks = {"requests": {"cpu": str(cores)}}
        usual = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never"}
        await world.pod("large", containers=[usual | {"resources": asks}])
        await world.pod("small", containers=[usual])
        for name in ("large", "small"):
            await world.until(name, ready)
        file = tmp_path / "manifests/web.yaml"
        await eventually(file.parent.exists)
        file.write_text(FILE.replace("Never}", 'Never, resources: {requests: {cpu: "1"}}}'))
        await world.until(NAME, ready)
        gone = await world.until("large", lambda pod: pod.status.phase == "Failed")
        assert (gone.status.reason, gone.status.message) == ("Preempting", "Preempted in order to admit critical pod")
        (condition,) = [c for c in gone.status.conditions if c.type == "DisruptionTarget"]
        assert condition.message == "Pod was preempted by Kubelet to accommodate a critical pod."
        (event,) = await world.events("Preempting")
        assert (event.type, event.message) == ("Warning", "Preempted in order to admit critical pod")
        assert ready(await world.client.get(core_v1.Pod, "small", "default"))

    in_world(tmp_path, body)


def test_a_file_runs_while_no_api_answers(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        other = world.running()
        await world.stop()
        file = tmp_path / "manifests/web.yaml"
        file.write_text(FILE)
        world.options = {"api_patience_seconds": 0.01}
        world.road.cut = True
        await world.start()

        def names() -> set[str]:
            running = [c for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]
            return {c.name for c in running}

        await eventually(lambda: names() == {"hello-ctr", "main"})
        mine = next(c for c in world.runtime.containers.values() if c.name == "main")
        # an end of the other Pod is not judged before the API has said whether it is wanted
        world.runtime.finish(other, 1)
        world.runtime.finish(mine.id, 1)
        await eventually(lambda: any(c.name == "main" and c.attempt == 1 for c in world.runtime.containers.values()))
        assert names() == {"main"}
        world.road.cut = False
        await world.until(NAME, lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        await world.until("hello-pod", lambda p: p.status.container_statuses[0].restart_count == 1)
        file.unlink()
        await world.gone(NAME)

    in_world(tmp_path, body)
