"""Who is tried next, and when a Pod that failed is tried again."""

from __future__ import annotations

from worlds import pod

from carob.scheduler.queue import Place, SchedulingQueue, Waiting

FIT = frozenset({"NodeResourcesFit"})


def popped(queue: SchedulingQueue, now: float = 0.0) -> list[str]:
    names = []
    while (waiting := queue.pop(now)) is not None:
        names.append(waiting.pod.view.metadata.name)
    return names


def failed_once(queue: SchedulingQueue, now: float = 0.0) -> Waiting:
    waiting = queue.pop(now)
    assert waiting is not None
    queue.sleep(waiting, FIT, None)
    return waiting


def test_priority_first_then_order_of_arrival() -> None:
    queue = SchedulingQueue()
    for name, priority in (("a", 0), ("b", 5), ("c", 5), ("d", 9)):
        queue.add(pod(name, priority=priority))
    queue.delete("default/c")
    assert popped(queue) == ["d", "b", "a"]


def test_a_sleeper_is_woken_only_by_what_could_help() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    waiting = failed_once(queue)
    assert popped(queue, 1000) == []
    assert queue.wake(1000, lambda w: w.rejected_by != FIT) == 0
    assert queue.wake(1000, lambda w: w.rejected_by == FIT) == 1
    assert waiting.place is Place.ACTIVE
    assert popped(queue, 1000) == ["a"]


def test_the_pause_grows_to_ten_seconds() -> None:
    queue = SchedulingQueue()
    queue.add(pod())
    pauses = []
    for attempt in range(6):
        now = 100.0 * attempt
        waiting = queue.pop(now)
        assert waiting is not None
        queue.retry(waiting)
        pauses.append(waiting.ready_at - now)
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_a_woken_pod_need_not_wait_when_nothing_else_is_to_do() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    failed_once(queue)
    queue.add(pod("b"))
    queue.wake(0.1, lambda w: True)
    assert popped(queue, 0.1) == ["b", "a"]


def test_a_failed_binding_waits_its_whole_pause() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    waiting = queue.pop(0)
    assert waiting is not None
    queue.retry(waiting)
    assert popped(queue, 0.9) == []
    assert queue.next_ready() == 1.0
    assert popped(queue, 1.0) == ["a"]


def test_gates_keep_a_pod_out_until_the_last_is_gone() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a", schedulingGates=[{"name": "wait"}]))
    assert popped(queue) == []
    queue.add(pod("a"))
    assert popped(queue) == ["a"]


def test_a_sleeper_that_changes_is_tried_again_but_a_new_condition_is_no_change() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a", {"cpu": "9"}))
    failed_once(queue)
    queue.add(pod("a", {"cpu": "9"}, status={"conditions": [{"type": "PodScheduled", "status": "False"}]}))
    assert popped(queue) == []
    queue.add(pod("a", {"cpu": "1"}))
    assert popped(queue) == ["a"]


def test_a_new_pod_of_an_old_name_starts_anew() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    failed_once(queue)
    fresh = pod("a")
    fresh.view.metadata.uid = "fresh"
    queue.add(fresh)
    waiting = queue.pop(0)
    assert waiting is not None
    assert (waiting.pod.uid, waiting.attempts) == ("fresh", 1)


def test_what_was_deleted_in_flight_does_not_come_back() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    waiting = queue.pop(0)
    assert waiting is not None
    queue.delete("default/a")
    queue.retry(waiting)
    assert queue.next_ready() is None
    assert len(queue) == 0


def test_a_large_backlog_that_wakes_at_once_is_popped_in_order_of_its_pauses() -> None:
    queue = SchedulingQueue()
    for number in range(2000):
        queue.add(pod(f"pod-{number}"))
    for number in range(2000):
        failed_once(queue, number / 1000)
    assert queue.wake(2.0, lambda w: True) == 2000
    names = popped(queue, 2.0)
    assert len(names) == 2000
    assert names[0] == "pod-0"
    assert queue.wake(9.0, lambda w: True) == 0


def test_a_pod_that_is_held_was_not_tried_and_goes_on_at_once() -> None:
    queue = SchedulingQueue()
    queue.add(pod("held"))
    waiting = queue.pop(100.0)
    assert waiting is not None
    queue.hold(waiting, frozenset(("DynamicResources",)))
    assert queue.pop(100.0) is None
    assert queue.wake_each(100.0, lambda one: True) == 1
    assert waiting.place is Place.ACTIVE
    assert queue.pop(100.0) is waiting
    assert waiting.attempts == 1
