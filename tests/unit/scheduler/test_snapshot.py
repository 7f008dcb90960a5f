"""What is where, event by event."""

from __future__ import annotations

from worlds import node_view, pod, pod_view, snapshot


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


def test_pods_that_differ_in_nothing_that_fits_share_a_key() -> None:
    assert pod("a", {"cpu": "1"}).fit_key() == pod("b", {"cpu": "1000m"}).fit_key()
    assert pod("a", {"cpu": "1"}).fit_key() != pod("a", {"cpu": "2"}).fit_key()
    assert pod("a", nodeSelector={"x": "y"}).fit_key() != pod("a").fit_key()


def test_a_change_that_counts_for_nothing_is_told_apart() -> None:
    world = snapshot(node_view("a"))
    assert not world.replace_same(pod("web", {"cpu": "1"}, nodeName="a"))
    assert not world.set_pod(pod("web", {"cpu": "1"}, nodeName="a"))
    assert world.replace_same(pod("web", {"cpu": "1"}, nodeName="a", status={"phase": "Running"}))
    assert not world.replace_same(pod("web", {"cpu": "2"}, nodeName="a"))
    assert world.set_pod(pod("web", {"cpu": "2"}, nodeName="a"))
    assert world.nodes()[0].requested == {"cpu": 2000}


def test_a_newer_view_that_changes_nothing_is_taken_over() -> None:
    world = snapshot(node_view("a"))
    world.assume(pod("web", {"cpu": "1"}), "a")
    status = {"startTime": "2026-01-01T00:00:00Z"}
    assert not world.confirm("default/web", pod_view("web", {"cpu": "1"}, nodeName="b"))
    assert world.confirm("default/web", pod_view("web", {"cpu": "1"}, nodeName="a", status=status))
    assert not world.is_assumed("default/web")
    known = world.placed("default/web")
    assert known is not None
    assert (known.started, known.node_name) == (status["startTime"], "a")
    assert not world.confirm("default/web", pod_view("web", {"cpu": "1"}, nodeName="a", labels={"app": "x"}))
    resized = {"containerStatuses": [{"name": "main", "allocatedResources": {"cpu": "2"}}]}
    assert not world.confirm("default/web", pod_view("web", {"cpu": "1"}, nodeName="a", status=resized))
    assert not world.confirm("default/other", pod_view("other", nodeName="a"))
