"""Attaching and detaching: tables, and two promises over any interleaving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from carob.api import codec
from carob.api.types import core_v1, storage_v1
from carob.controllers.views import PodView
from carob.controllers.volumes.attachments import (
    MOST_UNMOUNT_SECONDS,
    AttachableVolume,
    AttachPlan,
    NodeFacts,
    attachable,
    facts_of,
    plan,
    users_by_node,
)

VOLUME = AttachableVolume("pv", "csi.example.com", "disk-1", exclusive=True)
SHARED = replace(VOLUME, exclusive=False)
HERE = NodeFacts(managed=True, healthy=True)
MOUNTED = replace(HERE, in_use=frozenset((VOLUME.unique_name,)), reported=frozenset((VOLUME.unique_name,)))


def pod(name: str = "web", node: str = "a", namespace: str = "default", phase: str = "Running") -> PodView:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    return codec.from_tree(PodView, {"metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": phase}})


def attachment(node: str, *, ending: bool = False, **status: Any) -> storage_v1.VolumeAttachment:
    metadata: dict[str, Any] = {"name": VOLUME.attachment_name(node)}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return codec.from_tree(
        storage_v1.VolumeAttachment, {"metadata": metadata, "spec": {"nodeName": node}, "status": status}
    )


def look(
    users: Mapping[str, list[PodView]],
    nodes: Mapping[str, NodeFacts],
    *attached: storage_v1.VolumeAttachment,
    volume: AttachableVolume = VOLUME,
    left: float = 0.0,
) -> AttachPlan:
    return plan(volume, users, {one.spec.node_name: one for one in attached}, nodes.get, lambda node: left)


@pytest.mark.parametrize(
    ("source", "drivers", "found"),
    [
        ({"hostPath": {"path": "/x"}}, {}, False),
        ({"csi": {"driver": "d", "volumeHandle": "h"}}, {}, True),  # a driver that nobody described
        ({"csi": {"driver": "d", "volumeHandle": "h"}}, {"d": True}, True),
        ({"csi": {"driver": "d", "volumeHandle": "h"}}, {"d": False}, False),
    ],
)
def test_what_is_attached(source: Any, drivers: dict[str, bool], found: bool) -> None:
    tree = {"metadata": {"name": "pv"}, "spec": source | {"accessModes": ["ReadWriteOnce"]}}
    known = {
        name: codec.from_tree(storage_v1.CSIDriver, {"spec": {"attachRequired": needed}})
        for name, needed in drivers.items()
    }
    answer = attachable(codec.from_tree(core_v1.PersistentVolume, tree), known.get)
    assert (answer is not None) is found
    assert answer is None or answer.exclusive


def test_names_are_upstreams() -> None:
    # sha256 of handle, driver and node, one after another
    digest = "5c3950f21f385e14888c2fb73e7ae02e5210f352b3d3ca62edd6a8e4e2471eb6"
    assert VOLUME.attachment_name("a") == f"csi-{digest}"
    assert VOLUME.unique_name == "kubernetes.io/csi/csi.example.com^disk-1"


def test_pods_that_ended_need_nothing_unless_their_node_keeps_it() -> None:
    pods = [pod("a"), pod("b", phase="Succeeded"), pod("c", node="")]
    assert [p.metadata.name for p in users_by_node(pods, {"a": HERE}.get)["a"]] == ["a"]
    keeps = replace(HERE, keeps_ended=True)
    assert [p.metadata.name for p in users_by_node(pods, {"a": keeps}.get)["a"]] == ["a", "b"]


def test_facts_of_a_node() -> None:
    tree = {
        "metadata": {"annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
        "spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "volumesInUse": ["v"],
            "volumesAttached": [{"name": "w", "devicePath": ""}],
        },
    }
    found = facts_of(codec.from_tree(core_v1.Node, tree))
    assert found == NodeFacts(True, False, False, True, frozenset(("v",)), frozenset(("w",)))


def test_attaches_where_a_pod_is_and_the_node_lets_it_be_done() -> None:
    users = {"a": [pod()]}
    assert look(users, {"a": HERE}).attach == ["a"]
    assert look(users, {"a": replace(HERE, managed=False)}).attach == []
    assert look(users, {}).attach == []
    assert look(users, {"a": HERE}, attachment("a")).attach == []
    assert look(users, {"a": HERE}, attachment("a", attached=True)).report == ["a"]
    assert look(users, {"a": MOUNTED}, attachment("a", attached=True)).report == []
    assert look(users, {"a": HERE}, attachment("a", ending=True, attached=True)).report == []


def test_what_the_driver_says_reaches_the_pods() -> None:
    failed = attachment("a", attached=False, attachError={"message": "rpc error: no such disk"})
    [(told, words)] = look({"a": [pod()]}, {"a": HERE}, failed).failed
    assert told.metadata.name == "web"
    assert words == 'AttachVolume.Attach failed for volume "pv" : rpc error: no such disk'


@pytest.mark.parametrize(
    ("elsewhere", "words"),
    [
        ([], "Volume is already exclusively attached to one node and can't be attached to another"),
        ([pod("x"), pod("y")], "Volume is already used by pod(s) x, y"),
        (
            [pod("x"), pod("z", namespace="other")],
            "Volume is already used by pod(s) x and 1 pod(s) in different namespaces",
        ),
        ([pod("z", namespace="other")], "Volume is already used by 1 pod(s) in different namespaces"),
    ],
)
def test_a_volume_for_one_node_is_kept_from_others(elsewhere: list[PodView], words: str) -> None:
    users = {"b": [pod("web", node="b")]} | ({"a": elsewhere} if elsewhere else {})
    nodes = {"a": MOUNTED, "b": HERE}
    what = look(users, nodes, attachment("a", attached=True))
    assert what.attach == []
    assert [text for _, text in what.refused] == [f'Multi-Attach error for volume "pv" {words}']
    assert look(users, nodes, attachment("a", attached=True), volume=SHARED).attach == ["b"]


def test_of_two_new_nodes_one_gets_a_volume_for_one_node() -> None:
    users = {"a": [pod()], "b": [pod("db", node="b")]}
    what = look(users, {"a": HERE, "b": HERE})
    assert (what.attach, [p.metadata.name for p, _ in what.refused]) == (["a"], ["db"])


LOST = replace(MOUNTED, healthy=False)


@pytest.mark.parametrize(
    ("node", "left", "detached", "again"),
    [
        (HERE, 0.0, True, None),
        (MOUNTED, 0.0, False, MOST_UNMOUNT_SECONDS),
        (MOUNTED, MOST_UNMOUNT_SECONDS, False, None),  # its kubelet lives: it will unmount
        (LOST, 100.0, False, MOST_UNMOUNT_SECONDS - 100),
        (LOST, MOST_UNMOUNT_SECONDS, True, None),
        (replace(LOST, out_of_service=True), 0.0, True, None),
        (None, 0.0, False, MOST_UNMOUNT_SECONDS),  # nobody knows what it has mounted
        (None, MOST_UNMOUNT_SECONDS, True, None),
    ],
)
def test_when_a_volume_is_taken_away(node: NodeFacts | None, left: float, detached: bool, again: float | None) -> None:
    what = look({}, {"a": node} if node is not None else {}, attachment("a", attached=True), left=left)
    assert (what.detach == ["a"], what.again_seconds) == (detached, again)
    assert what.leaving == {"a"}


class Cluster:
    """Three nodes, one volume; what the API server, the driver and the kubelets do, step by step."""

    def __init__(self) -> None:
        self.pod_on = ""
        self.attached: dict[str, bool] = {}
        """Attachments by node: whether the driver has attached."""
        self.ending: set[str] = set()
        self.reported: set[str] = set()
        self.mounted: set[str] = set()
        self.lost: set[str] = set()
        self.since: dict[str, float] = {}
        self.now = 0.0

    def node(self, name: str) -> NodeFacts:
        def having(names: set[str]) -> frozenset[str]:
            return frozenset((VOLUME.unique_name,) if name in names else ())

        healthy = name not in self.lost
        return NodeFacts(managed=True, healthy=healthy, in_use=having(self.mounted), reported=having(self.reported))

    def control(self) -> None:
        users = {self.pod_on: [pod(node=self.pod_on)]} if self.pod_on else {}
        objects = {
            name: attachment(name, ending=name in self.ending, attached=done) for name, done in self.attached.items()
        }
        what = plan(VOLUME, users, objects, self.node, lambda name: self.now - self.since.setdefault(name, self.now))
        self.since = {name: at for name, at in self.since.items() if name in what.leaving}
        for name in what.detach:
            overdue = name in self.lost and self.now - self.since[name] >= MOST_UNMOUNT_SECONDS
            assert name not in self.mounted or overdue, "taken away while it was mounted"
            self.reported.discard(name)
            self.ending.add(name)
        for name in what.attach:
            self.attached[name] = False
        self.reported |= set(what.report)
        assert len(self.attached) <= 1, "attached to two nodes"

    def step(self, what: str, name: str) -> None:
        if what == "pod moves":
            self.pod_on = name
        elif what == "pod ends":
            self.pod_on = ""
        elif what == "driver attaches" and name in self.attached and name not in self.ending:
            self.attached[name] = True
        elif what == "driver detaches" and name in self.ending:
            self.ending.discard(name)
            del self.attached[name]
            self.mounted.discard(name)
        elif what == "kubelet mounts" and self.pod_on == name and name in self.reported and name not in self.lost:
            self.mounted.add(name)
        elif what == "kubelet unmounts" and self.pod_on != name and name not in self.lost:
            self.mounted.discard(name)
        elif what == "node is lost":
            self.lost.add(name)
        elif what == "node is back":
            self.lost.discard(name)
        elif what == "time passes":
            self.now += 200.0


STEPS = (
    "pod moves",
    "pod ends",
    "driver attaches",
    "driver detaches",
    "kubelet mounts",
    "kubelet unmounts",
    "node is lost",
    "node is back",
    "time passes",
)
# a volume must get far before it can be taken away too early
_OFTEN = ("pod moves", "driver attaches", "kubelet mounts")
_steps = st.lists(st.tuples(st.sampled_from(STEPS + 3 * _OFTEN), st.sampled_from("ab")), min_size=12, max_size=40)


@settings(max_examples=120, deadline=None)
@given(_steps, st.sampled_from("abc"))
def test_a_volume_for_one_node_is_on_one_node_and_ends_where_its_pod_is(
    steps: list[tuple[str, str]], last: str
) -> None:
    world = Cluster()
    for what, name in steps:
        # drivers and kubelets are slow or quick, but they serve every node
        for one in "abc" if what.startswith(("driver", "kubelet")) else name:
            world.step(what, one)
            world.control()
    world.step("pod moves", last)
    world.lost.clear()
    for _ in range(6):
        for what in ("kubelet unmounts", "driver detaches", "driver attaches", "kubelet mounts"):
            for name in "abc":
                world.step(what, name)
                world.control()
    assert world.mounted == {last}
