"""A node whose API server is away for an hour, and whose clock jumps: what should run runs, nothing runs twice, and the API
has it right within a second of the return. Everything is on virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import coordination_v1, core_v1
from carob.base.clock import parse_rfc3339
from tests.fakes.node_world import NODE, World, in_world

HOUR = 3600.0


def ready(pod: core_v1.Pod | None) -> bool:
    return pod is not None and any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def restarts(pod: core_v1.Pod) -> int:
    return pod.status.container_statuses[0].restart_count


def token_volume(seconds: int = 3600) -> dict[str, Any]:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}}
    return {
        "container": {"volumeMounts": [{"name": "t", "mountPath": "/t"}]},
        "volumes": [{"name": "t", "projected": {"sources": [source]}}],
    }


def token_of(world: World, pod: core_v1.Pod) -> str:
    (container,) = world.running(pod)
    return (Path(world.runtime.configs[container].mounts[0].host_path) / "token").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("swallows", [False, True], ids=["refusing", "silent"])
def test_an_hour_without_the_server(tmp_path: Path, swallows: bool) -> None:
    async def body(world: World) -> None:
        probe = {"exec": {"command": ["check"]}, "periodSeconds": 10, "failureThreshold": 2}
        world.runtime.programs["check",] = (0, b"", b"")
        steady = await world.pod("steady", **token_volume())
        probed = await world.pod("probed", container={"livenessProbe": probe})
        crashing = await world.pod("crashing", "once")
        ending = await world.pod("ending", "once", restartPolicy="Never")
        doomed = await world.pod("doomed", terminationGracePeriodSeconds=5)
        replaced = await world.pod("replaced")
        shaken = await world.pod("shaken", **token_volume())
        names = {"steady", "probed", "crashing", "ending", "doomed", "replaced", "shaken"}
        await world.soon(lambda pods: all(ready(pods[name]) for name in names))
        before = {name: world.running(pod) for name, pod in (await world.pods()).items()}
        token = token_of(world, steady)

        world.road.cut(swallows=swallows)
        cut_at = world.clock.monotonic()
        world.runtime.programs["sh", "-c", "once"] = (1, b"", b"")
        world.runtime.finish(before["crashing"][0], 1)
        await world.pass_time(600)
        world.runtime.finish(before["ending"][0], 0)
        world.runtime.programs["check",] = (1, b"no", b"")
        while world.starts(probed) < 2:
            await world.pass_time(1)
        world.runtime.programs["check",] = (0, b"", b"")
        world.runtime.kill_pause(world.runtime.containers[before["shaken"][0]].sandbox_id)
        # what others do meanwhile, where the server is only out of this node's reach
        await world.client.delete(core_v1.Pod, "doomed", "default")
        await world.client.delete(core_v1.Pod, "replaced", "default", grace_period_seconds=0)
        new = await world.pod("replaced")
        late = await world.pod("late")
        await world.pass_time(cut_at + HOUR - world.clock.monotonic())

        # what should run runs, as often as its policy says
        assert world.running(steady) == before["steady"]
        assert world.running(doomed) == before["doomed"]
        assert world.running(replaced) == before["replaced"]
        assert world.running(new) == world.running(late) == []
        # 10, 20, 40, 80, 160 seconds, then every 300
        assert 12 <= world.starts(crashing) <= 18
        assert len(world.running(probed)) == 1
        assert world.starts(probed) == 2
        assert world.starts(ending) == 1
        assert len(world.running(shaken)) == 1
        assert world.running(shaken) != before["shaken"]
        assert (await world.pods())["crashing"].status.container_statuses[0].restart_count == 0

        world.road.mend()
        told = await world.soon(
            lambda pods: (
                restarts(pods["crashing"]) == world.starts(crashing) - 1
                and restarts(pods["probed"]) == 1
                and pods["ending"].status.phase == "Succeeded"
                and ready(pods["steady"])
                and restarts(pods["steady"]) == 0
                and ready(pods["shaken"])
                and restarts(pods["shaken"]) == 1
            )
        )
        assert told <= (31.0 if swallows else 1.1)
        changed = await world.soon(
            lambda pods: (
                pods.keys() == names - {"doomed"} | {"late"}
                and pods["replaced"].metadata.uid == new.metadata.uid
                and ready(pods["replaced"])
                and ready(pods["late"])
            )
        )
        assert told + changed <= (37.0 if swallows else 7.5)  # the grace of 5 seconds in it
        assert world.running(replaced) == world.running(doomed) == []
        # the token has ended meanwhile
        await world.pass_time(1)
        assert token_of(world, steady) != token

    in_world(tmp_path, body)


def test_a_clock_that_is_set_restarts_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        probe = {"exec": {"command": ["check"]}, "initialDelaySeconds": 5, "periodSeconds": 10}
        world.runtime.programs["check",] = (0, b"", b"")
        world.runtime.programs["sh", "-c", "crash"] = (1, b"", b"")
        steady = await world.pod("steady", **token_volume())
        await world.pod("bounded", activeDeadlineSeconds=7200)
        probed = await world.pod("probed", container={"livenessProbe": probe, "readinessProbe": probe})
        crashing = await world.pod("crashing", "crash")
        await world.soon(lambda pods: ready(pods["steady"]) and ready(pods["probed"]))
        before = world.running(steady), world.running(probed)

        async def unmoved() -> None:
            pods = await world.pods()
            assert (world.running(steady), world.running(probed)) == before
            assert ready(pods["steady"])
            assert ready(pods["probed"])
            assert (restarts(pods["steady"]), restarts(pods["probed"])) == (0, 0)

        token = token_of(world, steady)
        world.clock.offset += 24 * HOUR
        await world.pass_time(30)
        await unmoved()
        # by the new time the old token has ended, and so has what might be active for two hours
        assert (await world.pods())["bounded"].status.reason == "DeadlineExceeded"
        later = token_of(world, steady)
        assert later != token
        starts = world.starts(crashing)
        world.clock.offset -= 48 * HOUR
        await world.pass_time(200)
        await unmoved()
        assert starts < world.starts(crashing) < 8
        lease = await world.client.get(coordination_v1.Lease, NODE, "kube-node-lease")
        assert lease.spec.renew_time is not None
        assert world.clock.now() - parse_rfc3339(lease.spec.renew_time) < 11
        assert token_of(world, steady) == later

    in_world(tmp_path, body)


def again(times: int) -> Callable[[Mapping[str, core_v1.Pod]], bool]:
    return lambda pods: ready(pods["steady"]) and restarts(pods["steady"]) == times


def test_a_token_is_renewed_in_time_although_its_container_ended_once(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        steady = await world.pod("steady", **token_volume())
        await world.soon(lambda pods: ready(pods["steady"]))
        token = token_of(world, steady)
        for restart in (1, 2):
            # the second time it waits for its back-off
            world.runtime.finish(world.running(steady)[0], 1)
            await world.soon(again(restart))
        await world.pass_time(2900)
        assert token_of(world, steady) != token

    in_world(tmp_path, body)


def test_a_token_is_renewed_in_time_although_the_clock_was_set_back(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        steady = await world.pod("steady", **token_volume())
        await world.soon(lambda pods: ready(pods["steady"]))
        token = token_of(world, steady)
        await world.pass_time(60)
        world.clock.offset -= 600
        await world.pass_time(2880)
        assert token_of(world, steady) == token
        await world.pass_time(600)
        assert token_of(world, steady) != token

    in_world(tmp_path, body)


def test_a_pod_that_ends_when_its_token_falls_due_leaves_others_their_turn(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        patient = await world.pod("patient", "serve trap", terminationGracePeriodSeconds=3600, **token_volume(600))
        await world.soon(lambda pods: ready(pods["patient"]))
        token = token_of(world, patient)
        await world.client.delete(core_v1.Pod, "patient", "default")
        await world.pass_time(HOUR / 2)
        assert token_of(world, patient) == token
        await world.pod("other")
        await world.soon(lambda pods: ready(pods["other"]))
        await world.pass_time(HOUR)
        assert "patient" not in await world.pods()

    in_world(tmp_path, body)
