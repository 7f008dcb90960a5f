"""A container whose end makes its whole Pod begin anew, in the same sandbox: the rule `RestartAllContainers`. Pure.

The others are ended at once, without preStop hooks, all are cleared away, and then init containers run again as in a new Pod; addresses and volumes
stay. How long it takes until the next time is the back-off of the container that caused it.
Source: KEP-5532. Differs: ephemeral containers run on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.restart_rules import RESTART_ALL, rule_for
from carob.kubelet.actions import BackOff, RestartAll, StopContainer

if TYPE_CHECKING:
    from carob.kubelet.actions import Decision, Snapshot


def cause(snapshot: Snapshot) -> str:
    """The container because of which all are to begin anew; empty when there is none."""
    spec = snapshot.pod.spec
    for container in (*spec.init_containers, *spec.containers):
        if not container.restart_policy_rules:
            continue
        view = snapshot.view(container.name)
        latest = view.latest
        if (
            view.exited
            and latest is not None
            and latest.sandbox_id == snapshot.sandbox_id
            and rule_for(container, latest.exit_code) == RESTART_ALL
        ):
            return container.name
    return ""


def restart_all(snapshot: Snapshot, name: str, decision: Decision) -> None:
    """End what runs; when all has ended and the back-off of `name` is over, clear all away."""
    spec = snapshot.pod.spec
    alive = False
    for container in (*spec.init_containers, *spec.containers):
        view = snapshot.view(container.name)
        alive = alive or view.starting or view.running
        if view.running and view.latest is not None and view.stop_grace_seconds is None:
            text = f"Container {name} asks for a restart of all containers"
            decision.actions.append(StopContainer(container.name, view.latest.id, 0.0, RESTART_ALL, text))
    wait = snapshot.view(name).wait_seconds
    if wait > 0:
        decision.actions.append(BackOff(name))
        decision.wake_in(wait)
    elif not alive:
        decision.actions.append(RestartAll(name))
