"""Who belongs together: by the Services and the controller that select a Pod. Source: helper DefaultSelector."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import pod

from carob.api.types import meta_v1
from carob.scheduler.pods import PodInfo
from carob.scheduler.selecting import REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET, Kind, Selecting

LABELS = {"app": "web", "tier": "front", "hash": "1"}


def owned(kind: Kind, name: str = "owner") -> PodInfo:
    made = pod("web", labels=LABELS, owner=name)
    owner = made.view.metadata.owner_references[0]
    owner.api_version, owner.kind = kind
    return PodInfo(made.view)


def selector(**labels: str) -> meta_v1.LabelSelector:
    return meta_v1.LabelSelector(match_labels=labels)


def test_services_that_select_the_pod_are_merged() -> None:
    selecting = Selecting()
    wanted = pod("web", labels=LABELS)
    assert selecting.of(wanted).empty
    selecting.set_service("default", "a", {"app": "web"})
    selecting.set_service("default", "b", {"tier": "front"})
    selecting.set_service("default", "c", {"app": "other"})
    selecting.set_service("other", "d", {"hash": "1"})
    assert str(selecting.of(wanted)) == "app=web,tier=front"
    selecting.set_service("default", "a", None)
    assert str(selecting.of(wanted)) == "tier=front"
    selecting.set_service("default", "b", {})
    assert selecting.of(wanted).empty


@pytest.mark.parametrize(
    ("kind", "selects", "found"),
    [
        (REPLICATION_CONTROLLER, {"hash": "1"}, "app=web,hash=1"),
        (REPLICA_SET, selector(hash="1"), "app=web,hash=1"),
        (STATEFUL_SET, selector(app="web"), "app=web"),
        (("batch/v1", "Job"), selector(hash="1"), "app=web"),
    ],
)
def test_the_controller_counts_too(kind: Kind, selects: Any, found: str) -> None:
    selecting = Selecting()
    selecting.set_service("default", "a", {"app": "web"})
    wanted = owned(kind)
    if kind[1] != "Job":
        assert str(selecting.of(wanted)) == "app=web"
        selecting.set_controller(kind, "default", "owner", selects)
        selecting.set_controller(kind, "default", "another", selector(tier="front"))
    assert str(selecting.of(wanted)) == found
    if kind[1] != "Job":
        selecting.set_controller(kind, "default", "owner", None)
        assert str(selecting.of(wanted)) == "app=web"
