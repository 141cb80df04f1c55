"""The scheduling queue: order, back-off, and which events bring a pod back."""

from __future__ import annotations

import pytest

from controlplane.scheduler.waiting import Happened, WaitingPods, backoff_seconds

pytestmark = pytest.mark.pure
FIT = frozenset(("NodeResourcesFit",))


def test_higher_priority_goes_first_then_the_longer_waiting() -> None:
    queue = WaitingPods()
    queue.add("b", 0, 1.0)
    queue.add("a", 0, 2.0)
    queue.add("vip", 10, 3.0)
    assert [queue.pop(4.0) for _ in range(4)] == ["vip", "b", "a", None]


def test_backoff_doubles_from_one_second_to_ten() -> None:
    assert [backoff_seconds(attempt) for attempt in (1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 10, 10]


def test_failed_pod_waits_for_an_event_that_helps() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    assert queue.pop(0.0) == "a"
    queue.failed("a", FIT, 0.0)
    queue.happened(Happened.POD_PLACED, 5.0)
    assert queue.pop(5.0) is None
    queue.happened(Happened.POD_GONE, 6.0)
    assert queue.pop(6.0) == "a"


def test_event_inside_the_backoff_brings_the_pod_back_when_it_ends() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    queue.pop(0.0)
    queue.failed("a", FIT, 10.0)
    queue.happened(Happened.NODE_ADDED, 10.2)
    assert queue.pop(10.9) is None
    assert queue.next_at() == 11.0
    assert queue.pop(11.0) == "a"


def test_event_during_the_attempt_is_not_lost() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    queue.pop(0.0)
    queue.happened(Happened.NODE_CHANGED, 0.1)
    queue.failed("a", FIT, 0.2)
    assert queue.next_at() == pytest.approx(1.2)
    assert queue.pop(1.2) == "a"


def test_change_of_the_pod_during_the_attempt_is_not_lost() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    queue.pop(0.0)
    queue.add("a", 0, 0.1)
    queue.failed("a", FIT, 0.2)
    assert queue.pop(2.0) == "a"


def test_hopeless_pod_is_tried_again_after_five_minutes() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    queue.pop(0.0)
    queue.failed("a", FIT, 0.0)
    assert queue.next_at() == 300.0
    assert queue.pop(299.0) is None
    assert queue.pop(300.0) == "a"


def test_failure_that_may_pass_needs_no_event() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    queue.pop(0.0)
    queue.failed("a", frozenset(), 0.0, hopeless=False)
    assert queue.pop(1.0) == "a"


def test_forgotten_pod_never_comes_back_and_its_successor_is_its_own() -> None:
    queue = WaitingPods()
    queue.add("a", 0, 0.0)
    queue.pop(0.0)
    queue.forget("a")
    queue.add("a", 0, 1.0)
    queue.failed("a", FIT, 1.0)  # of the one that is gone
    assert queue.pop(1.0) == "a"
    queue.forget("a")
    assert queue.next_at() is None
    assert len(queue) == 0
