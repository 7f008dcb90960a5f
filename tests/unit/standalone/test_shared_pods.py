"""What informers of one process keep of many Pods that are alike is there once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from carob.api import codec
from carob.client.informer import key_of
from carob.controllers import views as controllers
from carob.scheduler import views as scheduler
from carob.scheduler.pods import PodInfo
from carob.simulated import views as simulated


def pod(number: int) -> bytes:
    """A running Pod of a ReplicaSet."""
    address = f"10.42.0.{number}"
    metadata = {
        "name": f"web-{number}",
        "namespace": "default",
        "uid": f"u-{number}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "web"},
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": True}
        ],
    }
    spec = {"nodeName": "node-0", "schedulerName": "default-scheduler", "containers": [{"name": "c", "image": "i"}]}
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}]
    status = {
        "phase": "Running",
        "conditions": conditions,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": [{"name": "c", "restartCount": 1}],
    }
    return json.dumps({"metadata": metadata, "spec": spec, "status": status}).encode()


def of_scheduler(number: int) -> Any:
    view = codec.decode(scheduler.PodView, pod(number))
    assert PodInfo(view).key is key_of(view)
    scheduler.slim(view)
    return view


def of_controllers(number: int) -> Any:
    view = codec.decode(controllers.PodView, pod(number))
    controllers.compact("", None, view)
    return view


def of_simulated(number: int) -> Any:
    view = codec.decode(simulated.PodView, pod(number))
    simulated.compact("", None, view)
    return view


SHARED = {
    of_scheduler: ("spec", "status", "metadata.labels", "metadata.owner_references", "metadata.namespace"),
    of_controllers: (
        *("metadata.labels", "metadata.owner_references", "metadata.creation_timestamp", "status.conditions"),
        *("status.pod_ips", "spec.containers", "spec.node_name", "status.phase"),
    ),
    of_simulated: (
        *("metadata.owner_references", "metadata.annotations", "status.conditions", "status.container_statuses"),
        *("spec.node_name", "status.phase"),
    ),
}


def part(view: Any, path: str) -> Any:
    for name in path.split("."):
        view = getattr(view, name)
    return view


@pytest.mark.parametrize("view_of", SHARED)
def test_what_pods_of_one_origin_share_is_kept_once(view_of: Any) -> None:
    one, two = view_of(1), view_of(2)
    assert [path for path in SHARED[view_of] if part(one, path) is not part(two, path)] == []
    assert part(one, "spec.node_name") == "node-0"
    assert (one.metadata.name, two.metadata.name) == ("web-1", "web-2")


def test_what_is_a_pods_own_is_kept_once_for_all_informers() -> None:
    views = [view_of(1) for view_of in SHARED]
    for path in ("metadata.name", "metadata.uid", "metadata.namespace"):
        assert len({id(part(view, path)) for view in views}) == 1
    assert len({id(key_of(view)) for view in views}) == 1


def test_an_address_beside_the_first_is_kept() -> None:
    tree = json.loads(pod(1))
    tree["status"]["podIPs"].append({"ip": "fd00::1"})
    view = codec.decode(controllers.PodView, json.dumps(tree).encode())
    controllers.compact("", None, view)
    assert [one.ip for one in view.status.pod_ips] == ["10.42.0.1", "fd00::1"]
