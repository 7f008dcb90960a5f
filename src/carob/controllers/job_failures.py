"""What a failed Pod means for its Job: the failure policy's word, and how long to wait before the next try.

Pure. Source: kube-controller-manager `job/pod_failure_policy.go`, `job/backoff_utils.go`.
Differs: the waiting is derived from the Pods that are there, so a restarted server does not forget it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types import batch_v1
    from carob.controllers.views import ContainerStatusView, PodView

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 10.0, 600.0
COUNT, IGNORE, FAIL_JOB, FAIL_INDEX = "Count", "Ignore", "FailJob", "FailIndex"


class Judgement(Struct, frozen=True):
    """The policy's action, and for FailJob the message."""

    action: str = COUNT
    message: str = ""


def judge(policy: batch_v1.PodFailurePolicy | None, pod: PodView) -> Judgement:
    """What the first rule that fits says; without one, a failure counts."""
    if policy is None or pod.status.phase != "Failed":
        return Judgement()
    who = f"{pod.metadata.namespace}/{pod.metadata.name}"
    for number, rule in enumerate(policy.rules):
        tail = f"matching {rule.action} rule at index {number}"
        if rule.on_exit_codes is not None:
            container = _exit_matching(rule.on_exit_codes, pod)
            if container is not None and container.state.terminated is not None:
                code = container.state.terminated.exit_code
                return Judgement(
                    rule.action, f"Container {container.name} for pod {who} failed with exit code {code} {tail}"
                )
            continue
        for pattern in rule.on_pod_conditions:
            if any(c.type == pattern.type and c.status == pattern.status for c in pod.status.conditions):
                return Judgement(rule.action, f"Pod {who} has condition {pattern.type} {tail}")
    return Judgement()


def _exit_matching(rule: batch_v1.PodFailurePolicyOnExitCodesRequirement, pod: PodView) -> ContainerStatusView | None:
    for container in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        ended = container.state.terminated
        if ended is None or ended.exit_code == 0:
            continue
        if rule.container_name is not None and rule.container_name != container.name:
            continue
        if (ended.exit_code in rule.values) == (rule.operator == "In"):
            return container
    return None


def finished_at(pod: PodView) -> float:
    """When its last container ended; of one that never had any, when it was asked to end, or when it was made."""
    statuses = pod.status.container_statuses
    ends = [
        parse_rfc3339(s.state.terminated.finished_at)
        for s in statuses
        if s.state.terminated is not None and s.state.terminated.finished_at
    ]
    if ends and len(ends) == len(statuses):
        return max(ends)
    metadata = pod.metadata
    if metadata.deletion_timestamp:
        # that is when its grace will be over
        return parse_rfc3339(metadata.deletion_timestamp) - (metadata.deletion_grace_period_seconds or 0)
    return parse_rfc3339(metadata.creation_timestamp) if metadata.creation_timestamp else 0.0


def delay_after(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    if failures <= 0:
        return 0.0
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_DELAY_SECONDS)


def waits_until(failed: Iterable[PodView], succeeded: Iterable[PodView]) -> float:
    """When the next Pod may be made; in the past if at once."""
    last_success = max((finished_at(pod) for pod in succeeded), default=0.0)
    later = [at for pod in failed if (at := finished_at(pod)) > last_success]
    return max(later) + delay_after(len(later)) if later else 0.0
