"""What claims ask of nodes, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1, storage_v1
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.pod_volumes import StorageView, look
from carob.scheduler.pods import PodInfo
from tests.unit.scheduler.worlds import node_view, pod, snapshot


def claim(name: str, to: str = "", size: str = "1Gi", **spec: Any) -> core_v1.PersistentVolumeClaim:
    annotations = spec.pop("annotations", {})
    if to:
        annotations = annotations | {"pv.kubernetes.io/bind-completed": "yes"}
    tree = {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "volumeName": to}
        | {"storageClassName": "later"}
        | spec,
        "status": {"phase": "Bound" if to else "Pending"},
    }
    return codec.from_tree(core_v1.PersistentVolumeClaim, tree)


def volume(name: str, host: str = "", size: str = "1Gi", **spec: Any) -> core_v1.PersistentVolume:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}
    affinity = {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}} if host else {}
    tree = {
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "later"}
        | affinity
        | spec,
        "status": {"phase": "Available"},
    }
    return codec.from_tree(core_v1.PersistentVolume, tree)


def storage_class(name: str, provisioner: str, mode: str = "WaitForFirstConsumer") -> storage_v1.StorageClass:
    tree = {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode}
    return codec.from_tree(storage_v1.StorageClass, tree)


NOTHING = storage_class("later", "kubernetes.io/no-provisioner")
MAKER = storage_class("later", "carob.local/local-path")
AT_ONCE = storage_class("later", "carob.local/local-path", "Immediate")


def user(*names: str, ephemeral: bool = False) -> PodInfo:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
    if ephemeral:
        volumes = [{"name": name, "ephemeral": {}} for name in names]
    return pod(volumes=volumes)


def decided(one: PodInfo, *things: Any, taken: str = "", users: Any = None) -> str:
    """The node, or why there is none, without what preemption says."""
    view = StorageView(
        claims={f"default/{t.metadata.name}": t for t in things if isinstance(t, core_v1.PersistentVolumeClaim)},
        volumes={t.metadata.name: t for t in things if isinstance(t, core_v1.PersistentVolume)},
        classes={t.metadata.name: t for t in things if isinstance(t, storage_v1.StorageClass)},
        taken=frozenset([taken] if taken else ()),
    )
    one.volumes = look(one, view, users or {})
    found = decide(one, snapshot(node_view("node-0"), node_view("node-1")))
    if isinstance(found, Unschedulable):
        return found.message.partition(". ")[0].removeprefix("0/2 nodes are available: ")
    return found.name


ONE_POD: Any = {"accessModes": ["ReadWriteOncePod"]}
ELSEWHERE = "2 node(s) didn't find available persistent volumes to bind"


@pytest.mark.parametrize(
    ("one", "things", "expected"),
    [
        (user("a"), [], 'persistentvolumeclaim "a" not found'),
        (
            user("a", ephemeral=True),
            [],
            'waiting for ephemeral volume controller to create the persistentvolumeclaim "pod-a"',
        ),
        (user("a"), [claim("a"), AT_ONCE], "pod has unbound immediate PersistentVolumeClaims"),
        (user("a"), [claim("a"), NOTHING], ELSEWHERE),
        (user("a"), [claim("a"), NOTHING, volume("v", "node-1")], "node-1"),
        (user("a"), [claim("a"), NOTHING, volume("v", "node-1", "1Mi")], ELSEWHERE),
        (user("a", "b"), [claim("a"), claim("b"), NOTHING, volume("v", "node-1")], ELSEWHERE),
        (
            user("a", "b"),
            [claim("a", size="2Gi"), claim("b"), NOTHING, volume("v", "node-1", "2Gi"), volume("w", "node-1")],
            "node-1",
        ),
        (user("a"), [claim("a", annotations={"volume.kubernetes.io/selected-node": "node-1"}), MAKER], "node-1"),
        (user("a"), [claim("a", "v"), volume("v", "node-1")], "node-1"),
        (user("a"), [claim("a", "v"), volume("v", "node-7")], "2 node(s) had volume node affinity conflict"),
        (
            user("a"),
            [claim("a", "v")],
            "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
        ),
    ],
)
def test_claims_choose_nodes(one: PodInfo, things: list[Any], expected: str) -> None:
    assert decided(one, *things) == expected


def test_what_another_pod_is_about_to_get_is_taken() -> None:
    assert decided(user("a"), claim("a"), NOTHING, volume("v", "node-1"), taken="v") == ELSEWHERE


def test_one_pod_at_a_time() -> None:
    things = (claim("a", "v", **ONE_POD), volume("v", "node-1", **ONE_POD))
    assert decided(user("a"), *things) == "node-1"
    assert decided(user("a"), *things, users={"default/a": 1}) == (
        "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    )


def test_the_plan_prefers_what_is_there_to_what_must_be_made() -> None:
    one = user("a", "b")
    assert decided(one, claim("a"), claim("b", size="9Gi"), MAKER, volume("v", "node-1", "2Gi")) in ("node-0", "node-1")
    assert one.volumes is not None
    world = snapshot(node_view("node-0"), node_view("node-1"))
    plans = [one.volumes.plan(node) for node in world.nodes()]
    assert [(p.chosen, p.made) for p in plans if p is not None] == [
        ({}, ("default/a", "default/b")),
        ({"default/a": "v"}, ("default/b",)),
    ]
