"""Jobs and CronJobs against a real API server, with kubelets that answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.types import batch_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock, rfc3339
from tests.fakes.controller_world import Kubelets, World, with_kubelets

FINALIZER = "batch.kubernetes.io/job-tracking"
SUCCEEDED = {"phase": "Succeeded", "conditions": []}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def failed(code: int = 1, at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    ended = {"exitCode": code, "finishedAt": at}
    status = {"name": "main", "image": "web", "imageID": "", "state": {"terminated": ended}}
    return {"phase": "Failed", "conditions": [], "containerStatuses": [status | {"ready": False, "restartCount": 0}]}


def spec(**more: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "image": "web"}], "restartPolicy": "Never"}
    return {"template": {"spec": pod}} | more


def has(kind: str, reason: str = "") -> Any:
    return lambda found: (
        found is not None
        and any(c.type == kind and c.status == "True" and reason in ("", c.reason) for c in found.status.conditions)
    )


async def pods_of(world: World) -> list[core_v1.Pod]:
    return list((await world.client.list(core_v1.Pod, "default")).items)


async def has_ended(world: World, kind: str = "Complete", reason: str = "", name: str = "work") -> batch_v1.Job:
    await world.until(batch_v1.Job, name, "default", has(kind, reason))
    return await world.client.get(batch_v1.Job, name, "default")


def test_a_job_completes_and_every_pod_counts_once(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: SUCCEEDED
        await world.make(batch_v1.Job, "work", "default", spec=spec(completions=7, parallelism=3))
        job = await has_ended(world, reason="CompletionsReached")
        status = job.status
        assert (status.succeeded, status.failed, status.active, status.ready) == (7, 0, 0, 0)
        assert status.start_time
        assert status.completion_time
        pods = await pods_of(world)
        assert len(pods) == 7
        assert not any(FINALIZER in pod.metadata.finalizers for pod in pods)

    with_kubelets(pki, body)


def test_an_indexed_job_runs_every_index_once(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: SUCCEEDED
        await world.make(
            batch_v1.Job, "work", "default", spec=spec(completions=5, parallelism=2, completionMode="Indexed")
        )
        assert (await has_ended(world)).status.completed_indexes == "0-4"
        pods = await pods_of(world)
        assert sorted(p.spec.hostname for p in pods) == [f"work-{i}" for i in range(5)]
        assert {p.spec.containers[0].env[0].name for p in pods} == {"JOB_COMPLETION_INDEX"}

    with_kubelets(pki, body)


def test_failures_are_tried_again_with_growing_waits_up_to_the_limit(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: failed(at=rfc3339(world.clock.now()))
        await world.make(batch_v1.Job, "work", "default", spec=spec(backoffLimit=1))
        await world.until(batch_v1.Job, "work", "default", lambda f: f is not None and f.status.failed == 1)
        await world.clock.advance(11)
        job = await has_ended(world, "Failed", "BackoffLimitExceeded")
        assert job.status.failed == 2
        assert not any(FINALIZER in pod.metadata.finalizers for pod in await pods_of(world))

    with_kubelets(pki, body)


def test_a_policy_ends_the_job_at_a_hopeless_exit_code(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: failed(42)
        rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
        await world.make(batch_v1.Job, "work", "default", spec=spec(podFailurePolicy={"rules": rules}))
        job = await has_ended(world, "Failed", "PodFailurePolicy")
        (condition,) = [c for c in job.status.conditions if c.type == "Failed"]
        assert "failed with exit code 42 matching FailJob rule at index 0" in condition.message

    with_kubelets(pki, body)


def test_indexes_fail_each_on_its_own(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: failed() if pod.spec.hostname == "work-1" else SUCCEEDED
        await world.make(
            batch_v1.Job,
            "work",
            "default",
            spec=spec(completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=0),
        )
        job = await has_ended(world, "Failed", "FailedIndexes")
        assert (job.status.completed_indexes, job.status.failed_indexes) == ("0,2", "1")

    with_kubelets(pki, body)


def test_a_success_policy_ends_early_and_takes_the_rest_away(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: SUCCEEDED if pod.spec.hostname == "work-0" else {}
        policy = {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}
        await world.make(
            batch_v1.Job,
            "work",
            "default",
            spec=spec(completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy),
        )
        await has_ended(world, "Complete", "SuccessPolicy")
        assert [p.spec.hostname for p in await pods_of(world)] == ["work-0"]

    with_kubelets(pki, body)


def test_a_suspended_job_rests_and_resumes(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(batch_v1.Job, "work", "default", spec=spec(suspend=True))
        await world.until(batch_v1.Job, "work", "default", has("Suspended"))
        assert await pods_of(world) == []
        await world.client.patch(batch_v1.Job, "work", "default", patch={"spec": {"suspend": False}})
        await world.until(batch_v1.Job, "work", "default", lambda f: f is not None and f.status.ready == 1)
        await world.client.patch(batch_v1.Job, "work", "default", patch={"spec": {"suspend": True}})
        await world.until(
            batch_v1.Job, "work", "default", lambda f: f is not None and not f.status.active and has("Suspended")(f)
        )
        kubelets.outcome = lambda pod: SUCCEEDED
        await world.client.patch(batch_v1.Job, "work", "default", patch={"spec": {"suspend": False}})
        await has_ended(world)

    with_kubelets(pki, body)


def test_a_deadline_ends_a_job_and_its_time_after_the_end_removes_it(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(
            batch_v1.Job, "work", "default", spec=spec(activeDeadlineSeconds=10, ttlSecondsAfterFinished=20)
        )
        await world.until(batch_v1.Job, "work", "default", lambda f: f is not None and f.status.ready == 1)
        await world.clock.advance(11)
        await has_ended(world, "Failed", "DeadlineExceeded")
        await world.clock.advance(21)
        await world.gone(batch_v1.Job, "work", "default")

    with_kubelets(pki, body)


def test_pods_of_a_deleted_job_are_not_held_back(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(batch_v1.Job, "work", "default", spec=spec(parallelism=2))
        await world.until(batch_v1.Job, "work", "default", lambda f: f is not None and f.status.ready == 2)
        names = [p.metadata.name for p in await pods_of(world)]
        await world.client.delete(batch_v1.Job, "work", "default", propagation_policy="Background")
        for name in names:
            await world.gone(core_v1.Pod, name, "default")

    with_kubelets(pki, body)


def test_a_cron_job_starts_jobs_and_keeps_few_of_the_past(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: SUCCEEDED
        job = {"spec": spec()}
        await world.make(
            batch_v1.CronJob,
            "tick",
            "default",
            spec={"schedule": "* * * * *", "jobTemplate": job, "successfulJobsHistoryLimit": 2},
        )
        seen: set[str] = set()
        for _ in range(4):
            await world.clock.advance(60.2)
            await world.until(
                batch_v1.CronJob,
                "tick",
                "default",
                lambda f: f is not None and f.status.last_schedule_time not in (None, *seen) and not f.status.active,
            )
            seen.add(str((await world.client.get(batch_v1.CronJob, "tick", "default")).status.last_schedule_time))
        jobs = (await world.client.list(batch_v1.Job, "default")).items
        assert len(jobs) <= 3
        assert all(j.metadata.name.startswith("tick-") for j in jobs)

    with_kubelets(pki, body)
