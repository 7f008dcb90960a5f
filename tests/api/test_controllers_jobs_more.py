"""Jobs whose Pods fail, vanish, are taken over, or grow in number, step by step as upstream's end-to-end tests go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.types import batch_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.api.test_controllers_jobs import FINALIZER, SUCCEEDED, failed, has, has_ended, pods_of, spec
from tests.fakes.controller_world import Kubelets, World, with_kubelets

INDEXED = {"completionMode": "Indexed"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def until_job(world: World, holds: Any) -> None:
    await world.until(batch_v1.Job, "work", "default", lambda f: f is not None and holds(f))


async def change(world: World, **tree: Any) -> None:
    await world.client.patch(batch_v1.Job, "work", "default", patch={"spec": tree})


async def say(world: World, pod: core_v1.Pod, **status: Any) -> None:
    """A kubelet's word about a Pod."""
    await world.client.patch(core_v1.Pod, pod.metadata.name, "default", patch={"status": status}, subresource="status")


def test_a_job_that_somebody_else_manages_is_left_alone(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: SUCCEEDED
        await world.make(batch_v1.Job, "work", "default", spec=spec(managedBy="example.com/other"))
        await world.make(batch_v1.Job, "ours", "default", spec=spec(managedBy="kubernetes.io/job-controller"))
        await has_ended(world, name="ours")
        assert [p.metadata.labels["job-name"] for p in await pods_of(world)] == ["ours"]
        assert not (await world.client.get(batch_v1.Job, "work", "default")).status.conditions

    with_kubelets(pki, body)


def test_restarts_in_place_reach_the_limit(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        template = {"spec": {"containers": [{"name": "main", "image": "web"}], "restartPolicy": "OnFailure"}}
        await world.make(batch_v1.Job, "work", "default", spec=spec(template=template, backoffLimit=2))
        await until_job(world, lambda f: f.status.ready == 1)
        (pod,) = await pods_of(world)
        container = {"name": "main", "image": "web", "imageID": "", "ready": False, "restartCount": 3, "state": {}}
        await say(world, pod, containerStatuses=[container])
        await has_ended(world, "Failed", "BackoffLimitExceeded")
        await world.gone(core_v1.Pod, pod.metadata.name, "default")

    with_kubelets(pki, body)


def test_a_disrupted_pod_does_not_count_where_the_policy_ignores_it(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        tree = spec(backoffLimit=0, podFailurePolicy={"rules": rules})
        await world.make(batch_v1.Job, "work", "default", spec=tree)
        await until_job(world, lambda f: f.status.ready == 1)
        (first,) = await pods_of(world)
        target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        await say(world, first, phase="Failed", conditions=[target])
        await until_job(world, lambda f: f.status.active == 1 and f.status.ready == 1)
        kubelets.outcome = lambda pod: SUCCEEDED
        kubelets.again()
        assert (await has_ended(world)).status.failed == 0

    with_kubelets(pki, body)


def test_an_index_fails_at_once_where_the_policy_says_so(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: failed(42) if pod.spec.hostname == "work-1" else SUCCEEDED
        rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]
        tree = spec(completions=2, parallelism=2, backoffLimitPerIndex=5, podFailurePolicy={"rules": rules}, **INDEXED)
        await world.make(batch_v1.Job, "work", "default", spec=tree)
        job = await has_ended(world, "Failed", "FailedIndexes")
        assert (job.status.completed_indexes, job.status.failed_indexes, job.status.failed) == ("0", "1", 1)

    with_kubelets(pki, body)


def test_too_many_failed_indexes_end_the_job(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: failed()
        tree = spec(completions=4, parallelism=1, backoffLimitPerIndex=0, maxFailedIndexes=0, **INDEXED)
        await world.make(batch_v1.Job, "work", "default", spec=tree)
        job = await has_ended(world, "Failed", "MaxFailedIndexesExceeded")
        assert (job.status.failed_indexes, job.status.active, job.status.failed) == ("0", 0, 1)
        assert len(await pods_of(world)) == 1

    with_kubelets(pki, body)


@pytest.mark.parametrize(
    ("rule", "indexes"),
    [
        ({"succeededCount": 2}, {"work-1", "work-3"}),
        ({"succeededIndexes": "0,2"}, {"work-0", "work-2"}),
        ({"succeededIndexes": "0-2", "succeededCount": 1}, {"work-2"}),
    ],
)
def test_rules_of_success(pki: Pki, rule: dict[str, Any], indexes: set[str]) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: SUCCEEDED if pod.spec.hostname in indexes else {}
        tree = spec(completions=4, parallelism=4, successPolicy={"rules": [rule]}, **INDEXED)
        await world.make(batch_v1.Job, "work", "default", spec=tree)
        job = await has_ended(world, "Complete", "SuccessPolicy")
        assert has("SuccessCriteriaMet")(job)
        assert job.status.succeeded == len(indexes)
        assert job.status.completed_indexes == ",".join(sorted(one.removeprefix("work-") for one in indexes))

    with_kubelets(pki, body)


@pytest.mark.parametrize("policy", ["Failed", "TerminatingOrFailed"])
def test_when_a_pod_that_ends_is_replaced(pki: Pki, policy: str) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(batch_v1.Job, "work", "default", spec=spec(podReplacementPolicy=policy))
        await until_job(world, lambda f: f.status.ready == 1)
        (pod,) = await pods_of(world)
        slow = pod.metadata.name
        kubelets.deaf.add(slow)
        await world.client.delete(core_v1.Pod, slow, "default", grace_period_seconds=30)
        await until_job(world, lambda f: f.status.terminating == 1)
        await world.clock.advance(11)
        if policy == "TerminatingOrFailed":
            await until_job(world, lambda f: f.status.ready == 1 and f.status.active == 1)
        else:
            assert [p.metadata.name for p in await pods_of(world)] == [slow]
            assert (await world.client.get(batch_v1.Job, "work", "default")).status.active == 0

    with_kubelets(pki, body)


def test_an_orphan_is_adopted_and_who_no_longer_fits_is_released(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(batch_v1.Job, "work", "default", spec=spec())
        await until_job(world, lambda f: f.status.ready == 1)
        (pod,) = await pods_of(world)
        name = pod.metadata.name
        await world.client.patch(core_v1.Pod, name, "default", patch={"metadata": {"ownerReferences": None}})
        owned = lambda f: f is not None and bool(f.metadata.owner_references)  # noqa: E731
        await world.until(core_v1.Pod, name, "default", owned)
        assert FINALIZER in (await world.client.get(core_v1.Pod, name, "default")).metadata.finalizers
        labels = dict.fromkeys(pod.metadata.labels)
        await world.client.patch(core_v1.Pod, name, "default", patch={"metadata": {"labels": labels}})
        await world.until(
            core_v1.Pod,
            name,
            "default",
            lambda f: f is not None and not f.metadata.owner_references and FINALIZER not in f.metadata.finalizers,
        )

    with_kubelets(pki, body)


def test_an_indexed_job_grows_and_shrinks(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: {}
        await world.make(batch_v1.Job, "work", "default", spec=spec(completions=2, parallelism=2, **INDEXED))
        await until_job(world, lambda f: f.status.ready == 2)
        await change(world, completions=4, parallelism=4)
        await until_job(world, lambda f: f.status.ready == 4)
        await change(world, completions=3, parallelism=3)
        await until_job(world, lambda f: f.status.ready == 3 and f.status.active == 3)
        kubelets.outcome = lambda pod: SUCCEEDED
        kubelets.again()
        job = await has_ended(world)
        assert (job.status.succeeded, job.status.completed_indexes) == (3, "0-2")

    with_kubelets(pki, body)


def test_what_may_change_while_a_job_rests(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(batch_v1.Job, "work", "default", spec=spec(suspend=True))
        await world.until(batch_v1.Job, "work", "default", has("Suspended"))
        template = {"spec": {"nodeSelector": {"disk": "fast"}}, "metadata": {"labels": {"tier": "batch"}}}
        await change(world, template=template)
        await change(world, suspend=False)
        await until_job(world, lambda f: f.status.ready == 1)
        (pod,) = await pods_of(world)
        assert pod.spec.node_selector == {"disk": "fast"}
        assert pod.metadata.labels["tier"] == "batch"
        job = await world.client.get(batch_v1.Job, "work", "default")
        (condition,) = [c for c in job.status.conditions if c.type == "Suspended"]
        assert (condition.status, condition.reason) == ("False", "JobResumed")

    with_kubelets(pki, body)


def test_a_vanished_pod_is_made_again(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(batch_v1.Job, "work", "default", spec=spec(parallelism=2, completions=2))
        await until_job(world, lambda f: f.status.ready == 2)
        before = {p.metadata.uid for p in await pods_of(world)}
        (first, _) = await pods_of(world)
        await world.client.delete(core_v1.Pod, first.metadata.name, "default", grace_period_seconds=0)
        await world.gone(core_v1.Pod, first.metadata.name, "default")
        await world.clock.advance(11)
        await until_job(world, lambda f: f.status.ready == 2)
        assert {p.metadata.uid for p in await pods_of(world)} != before
        kubelets.outcome = lambda pod: SUCCEEDED
        kubelets.again()
        assert (await has_ended(world)).status.succeeded == 2

    with_kubelets(pki, body)


def test_exactly_as_many_tries_as_the_limit_allows(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: failed()
        await world.make(batch_v1.Job, "work", "default", spec=spec(backoffLimit=0))
        job = await has_ended(world, "Failed", "BackoffLimitExceeded")
        assert has("FailureTarget")(job)
        assert job.status.failed == 1
        assert len(await pods_of(world)) == 1

    with_kubelets(pki, body)
