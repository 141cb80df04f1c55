"""What becomes of events on their way to the API: combined, counted, or too many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kubelet import events
from kubelet.events_api.correlate import Correlator, Entry, Source, body_of, count_of

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
POD = events.pod_ref("shop", "web", "u1", "17")
SECOND = timedelta(seconds=1)


def taken(correlator: Correlator, event: events.Event, at: datetime = NOW) -> Entry:
    entry = correlator.take(event, at)
    assert entry is not None
    return entry


def test_the_first_of_its_kind_is_a_new_object() -> None:
    entry = taken(Correlator(), events.created(events.container_ref(POD, "main")))
    assert body_of(entry, Source("kubelet", "n1")) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1886999c36a18000", "namespace": "shop"},
        "involvedObject": {
            "kind": "Pod",
            "namespace": "shop",
            "name": "web",
            "uid": "u1",
            "apiVersion": "v1",
            "resourceVersion": "17",
            "fieldPath": "spec.containers{main}",
        },
        "reason": "Created",
        "message": "Container created",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2026-01-01T12:00:00Z",
        "lastTimestamp": "2026-01-01T12:00:00Z",
        "source": {"component": "kubelet", "host": "n1"},
        "reportingComponent": "kubelet",
        "reportingInstance": "n1",
    }


def test_the_same_again_counts_up_on_the_same_object() -> None:
    correlator = Correlator()
    first = taken(correlator, events.started(POD))
    again = taken(correlator, events.started(POD), NOW + SECOND)
    assert again.name == first.name
    assert count_of(again) == {
        "count": 2,
        "message": "Container started",
        "lastTimestamp": "2026-01-01T12:00:01Z",
    }
    assert again.first_at == first.first_at


@pytest.mark.parametrize(
    "other",
    [
        events.started(events.container_ref(POD, "side")),
        events.started(events.pod_ref("shop", "web", "u2")),
        events.failed(POD, "no"),
    ],
    ids=["container", "pod", "reason"],
)
def test_what_differs_is_an_object_of_its_own(other: events.Event) -> None:
    correlator = Correlator()
    first = taken(correlator, events.started(POD))
    second = taken(correlator, other)
    assert (second.count, second.name == first.name) == (1, False)


def test_two_of_one_moment_have_different_names() -> None:
    correlator = Correlator()
    names = {taken(correlator, events.failed(POD, str(number))).name for number in range(5)}
    assert len(names) == 5


def test_the_tenth_similar_message_is_combined_and_then_counted() -> None:
    correlator = Correlator()
    said = [taken(correlator, events.failed(POD, str(number))) for number in range(12)]
    assert [entry.count for entry in said] == [1] * 10 + [2, 3]
    assert said[8].event.message == "Error: 8"
    assert said[9].event.message == "(combined from similar events): Error: 9"
    assert said[11].event.message == "(combined from similar events): Error: 11"
    assert said[9].name == said[11].name


def test_similar_messages_far_apart_are_not_combined() -> None:
    correlator = Correlator()
    for number in range(9):
        taken(correlator, events.failed(POD, str(number)))
    later = taken(correlator, events.failed(POD, "late"), NOW + timedelta(seconds=601))
    assert later.event.message == "Error: late"


def test_an_object_has_25_events_at_once_and_then_one_every_five_minutes() -> None:
    correlator = Correlator()
    told = [correlator.take(events.started(POD), NOW) is not None for _ in range(30)]
    assert told == [True] * 25 + [False] * 5
    assert correlator.take(events.started(POD), NOW + timedelta(seconds=299)) is None
    late = taken(correlator, events.started(POD), NOW + timedelta(seconds=600))
    assert late.count == 32  # what was not told is in the count


def test_the_spam_of_one_object_does_not_silence_another() -> None:
    correlator = Correlator()
    for _ in range(30):
        correlator.take(events.started(POD), NOW)
    assert correlator.take(events.started(events.pod_ref("shop", "other", "u9")), NOW) is not None


def test_events_of_the_node_are_in_the_default_namespace() -> None:
    entry = taken(Correlator(), events.cgroup_v1(events.node_ref("n1"), "old"))
    assert body_of(entry, Source("kubelet", "n1"))["metadata"]["namespace"] == "default"
    assert "namespace" not in body_of(entry, Source("kubelet", "n1"))["involvedObject"]


def test_a_long_name_still_gives_a_valid_event() -> None:
    entry = taken(Correlator(), events.started(events.pod_ref("shop", "a" * 253, "u1")))
    assert entry.name.startswith("event.")


def test_memory_is_bounded() -> None:
    correlator = Correlator(size=2)
    for name in ("a", "b", "c"):
        taken(correlator, events.started(events.pod_ref("shop", name, name)))
    forgotten = taken(correlator, events.started(events.pod_ref("shop", "a", "a")), NOW + SECOND)
    kept = taken(correlator, events.started(events.pod_ref("shop", "c", "c")), NOW + SECOND)
    assert (forgotten.count, kept.count) == (1, 2)
