"""Whether a container that has ended begins again: its own rules for exit codes, its own policy, the Pod's. Pure.

The kubelet acts by it, and the API server refuses statuses that contradict it.
Source: KEP-5307, KEP-5532; kubernetes `pkg/api/v1/pod/util.go` (ContainerShouldRestart, AllContainersCouldRestart).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.api.types import core_v1

RESTART, RESTART_ALL = "Restart", "RestartAllContainers"


def rule_for(container: core_v1.Container, exit_code: int) -> str:
    """The action of the container's first rule that holds; empty if none does."""
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if codes is not None and (exit_code in codes.values) == (codes.operator == "In"):
            return rule.action
    return ""


def may_restart_all(spec: core_v1.PodSpec) -> bool:
    """Whether some container's end may make all begin anew."""
    return any(
        rule.action == RESTART_ALL
        for container in (*spec.init_containers, *spec.containers)
        for rule in container.restart_policy_rules
    )


def restarts_after(spec: core_v1.PodSpec, container: core_v1.Container, exit_code: int, *, init: bool) -> bool:
    """Whether a container is started again that has ended with this code."""
    if rule_for(container, exit_code) in (RESTART, RESTART_ALL):
        return True
    policy = container.restart_policy or spec.restart_policy or "Always"
    if init and policy == "Always" and container.restart_policy != "Always":
        # an init container that has succeeded stays done
        policy = "OnFailure"
    if policy == "OnFailure":
        return exit_code != 0
    return policy == "Always"
