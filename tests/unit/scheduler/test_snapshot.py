"""What is where, event by event."""

from __future__ import annotations

from worlds import node_view, pod, snapshot


def test_an_assumed_pod_counts_once_and_the_api_wins() -> None:
    world = snapshot(node_view("a"), node_view("b"))
    world.assume(pod("web", {"cpu": "1"}), "a")
    assert world.is_assumed("default/web")
    world.set_pod(pod("web", {"cpu": "1"}, nodeName="b"))
    assert not world.is_assumed("default/web")
    assert [len(node.pods) for node in world.nodes()] == [0, 1]
    assert world.forget(pod("web")) == ""
    assert [len(node.pods) for node in world.nodes()] == [0, 1]


def test_a_failed_binding_is_undone_but_not_for_another_pod_of_the_name() -> None:
    world = snapshot(node_view("a"))
    world.assume(pod("web"), "a")
    old = pod("web")
    old.view.metadata.uid = "older"
    assert world.forget(old) == ""
    assert world.forget(pod("web")) == "a"
    assert world.nodes()[0].requested.get("cpu", 0) == 0


def test_pods_are_counted_although_their_node_comes_later() -> None:
    world = snapshot()
    world.set_pod(pod("web", {"cpu": "1"}, nodeName="late"))
    assert world.nodes() == []
    world.set_node(node_view("late"))
    assert world.nodes()[0].requested == {"cpu": 1000}
    world.remove_node("late")
    assert world.get("late") is None
    assert world.remove_pod("default/web") == "late"
    world.set_node(node_view("late"))
    assert world.nodes()[0].requested == {}


def test_images_are_counted_over_nodes() -> None:
    image = {"names": ["a:1", "a@sha256:0"], "sizeBytes": 1}
    world = snapshot(node_view("a", images=[image]), node_view("b", images=[image]))
    assert world.image_nodes == {"a:1": 2, "a@sha256:0": 2}
    world.set_node(node_view("a"))
    world.remove_node("b")
    assert world.image_nodes == {}
