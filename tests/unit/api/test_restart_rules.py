"""Whether an ended container begins again, and what the API server believes of it."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.restart_rules import may_restart_all, restarts_after
from carob.api.types import core_v1
from carob.api.validation.field import Cause
from carob.api.validation.pod_update import status


def rule(action: str, *values: int, operator: str = "In") -> dict[str, Any]:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(values)}}


def pod(policy: str, state: dict[str, Any], **container: Any) -> core_v1.Pod:
    tree = {
        "metadata": {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "i"} | container]},
        "status": {"containerStatuses": [{"name": "c", "state": state}]},
    }
    return codec.from_tree(core_v1.Pod, tree)


@pytest.mark.parametrize(
    ("policy", "container", "code", "again"),
    [
        ("Always", {}, 0, True),
        ("OnFailure", {}, 0, False),
        ("OnFailure", {}, 1, True),
        ("Never", {}, 1, False),
        ("Never", {"restartPolicy": "Always"}, 0, True),
        ("Always", {"restartPolicy": "Never"}, 1, False),
        ("Never", {"restartPolicyRules": [rule("Restart", 42)]}, 42, True),
        ("Never", {"restartPolicyRules": [rule("Restart", 42)]}, 41, False),
        ("Never", {"restartPolicyRules": [rule("Restart", 42, operator="NotIn")]}, 41, True),
        ("Never", {"restartPolicyRules": [rule("Restart", 1), rule("RestartAllContainers", 88)]}, 88, True),
    ],
)
def test_what_begins_again_may_look_as_if_it_did(policy: str, container: Any, code: int, again: bool) -> None:
    ended = pod(policy, {"terminated": {"exitCode": code}}, **container)
    (spec,) = ended.spec.containers
    assert restarts_after(ended.spec, spec, code, init=False) is again
    causes: list[Cause] = []
    status(causes, pod(policy, {"waiting": {"reason": "CrashLoopBackOff"}}, **container), ended)
    assert [c["message"] for c in causes] == (
        [] if again else ["Forbidden: may not be transitioned to non-terminated state"]
    )


def test_where_all_may_begin_anew_anything_may() -> None:
    rules = [rule("RestartAllContainers", 88)]
    ended = pod("Never", {"terminated": {"exitCode": 143}}, restartPolicyRules=rules)
    assert may_restart_all(ended.spec)
    causes: list[Cause] = []
    status(causes, pod("Never", {"running": {}}, restartPolicyRules=rules), ended)
    assert causes == []
