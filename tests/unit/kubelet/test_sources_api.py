"""Single changes of a source merged one by one, and what the API's word does to a pod's life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kube.meta import CONFIG_SEEN, CONFIG_SOURCE
from kube.objects.core_v1 import Pod, PodCondition, PodStatus
from kubelet import happened as h
from kubelet.draft import Policy
from kubelet.lifecycle import first_state, is_called_over, step
from kubelet.model import Instant, Key, Observed, PodState, RetryEntry, Stage
from kubelet.sources.merge import Changes, SourceState, expecting, merge, merge_one
from kubelet.sources.model import API, FILE, Delivery, PodChange
from tests.builders import make_pod, with_spec

pytestmark = pytest.mark.pure

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
AT = Instant(100.0, 1_000_000.0)


def changed(pod: Pod, *, status: PodStatus | None = None, **metadata: Any) -> Pod:
    pod = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, **metadata))
    return pod if status is None else msgspec.structs.replace(pod, status=status)


def deleted(pod: Pod, grace: int | None = 5) -> Pod:
    return changed(pod, deletion_timestamp=NOW, deletion_grace_period_seconds=grace)


def begun(*pods: Pod) -> SourceState:
    state, _ = merge(expecting([API]), Delivery(API, pods), now=NOW)
    return state


def put(state: SourceState, pod: Pod) -> tuple[SourceState, Changes]:
    return merge_one(state, PodChange(API, pod.metadata.uid, pod), now=LATER)


# Merging


def test_new_pod_is_added_with_its_source_and_time() -> None:
    state, changes = put(begun(), make_pod(uid="a"))
    (pod,) = changes.added
    assert pod.metadata.annotations == {CONFIG_SOURCE: API, CONFIG_SEEN: LATER}
    assert state.pod("a") is pod


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda pod: with_spec(pod, active_deadline_seconds=5), "updated"),
        (lambda pod: changed(pod, labels={"a": "b"}), "updated"),
        (lambda pod: changed(pod, annotations={"a": "b"}), "updated"),
        (deleted, "deleted"),
        (lambda pod: changed(pod, status=PodStatus(phase="Running")), "reconciled"),
    ],
)
def test_each_change_is_told_by_its_kind(change: Any, kind: str) -> None:
    pod, other = make_pod(uid="a", name="a"), make_pod(uid="b", name="b")
    state, changes = put(begun(pod, other), change(pod))
    (found,) = getattr(changes, kind)
    assert changes == replace(Changes(), **{kind: (found,)})
    assert found.metadata.annotations[CONFIG_SEEN] == NOW, "it was seen before"
    assert state.pod("a") is found


def test_same_again_is_no_change() -> None:
    pod = make_pod(uid="a")
    state = begun(pod)
    after, changes = put(state, changed(pod, resource_version="77"))
    assert not changes and after is state


def test_pod_that_is_gone_is_removed_once_and_others_stay() -> None:
    state = begun(make_pod(uid="a", name="a"), make_pod(uid="b", name="b"))
    gone = PodChange(API, "a", None)
    state, changes = merge_one(state, gone, now=LATER)
    assert [pod.metadata.uid for pod in changes.removed] == ["a"]
    assert state.pod("a") is None and state.pod("b") is not None
    assert merge_one(state, gone, now=LATER) == (state, Changes())


def test_change_does_not_count_as_a_delivery_of_other_sources() -> None:
    state, _ = merge(expecting([API, FILE]), Delivery(API, ()), now=NOW)
    state, _ = put(state, make_pod(uid="a"))
    assert not state.all_delivered()


# What the API says of a pod's end


def life(pod: Pod, **fields: Any) -> PodState:
    return replace(PodState(pod.metadata.uid, pod, observed=Observed(1.0), start_time=1.0), **fields)


def test_pod_that_is_to_go_when_first_seen_begins_with_its_stop() -> None:
    state = first_state(life(deleted(make_pod())), AT)
    assert state.stage is Stage.TERMINATING and state.stop is not None
    assert state.stop.deadline == AT.wall + 5
    assert state.wanted, "it is known until the API has it no more"


def test_pod_that_is_over_when_first_seen_begins_with_its_stop_and_outcome() -> None:
    pod = changed(make_pod(), status=PodStatus(phase="Failed", reason="Evicted", message="low on memory"))
    assert is_called_over(pod)
    stop = first_state(life(pod), AT).stop
    assert stop is not None and (stop.phase, stop.reason, stop.message) == (
        "Failed", "Evicted", "low on memory",
    )  # fmt: skip


def test_living_pod_begins_without_a_stop() -> None:
    pod = changed(make_pod(), status=PodStatus(phase="Running"))
    assert first_state(life(pod), AT) == life(pod)


def take(state: PodState, pod: Pod, at: Instant = AT) -> PodState:
    return step(state, h.DesiredChanged(pod), at, Policy()).state


@pytest.mark.parametrize(("grace", "seconds"), [(5, 5), (0, 1), (None, 30)])
def test_deletion_is_heard_with_its_grace_and_never_less_than_a_second(
    grace: int | None, seconds: int
) -> None:
    state = take(life(make_pod()), deleted(make_pod(), grace))
    assert state.stop is not None and state.stop.deadline == AT.wall + seconds
    assert state.stage > Stage.SYNCING and state.wanted


def test_later_word_only_brings_the_end_nearer() -> None:
    pod = make_pod()
    state = take(life(pod, in_flight={}), deleted(pod, 100))
    state = replace(state, stage=Stage.TERMINATING)
    assert state.stop is not None
    first = state.stop.deadline
    later = Instant(110.0, AT.wall + 10)
    same = take(state, deleted(pod, 100), later)
    assert same.stop is not None and same.stop.deadline == first
    sooner = take(state, deleted(pod, 3), later)
    assert sooner.stop is not None and sooner.stop.deadline == AT.wall + 13


def test_status_that_comes_back_does_not_lift_what_is_held_back() -> None:
    pod = make_pod()
    held = {Key("RunSandbox"): RetryEntry(3, AT.mono + 60)}
    gate = PodCondition(type="example.com/gate", status="True")
    echoed = changed(pod, status=PodStatus(phase="Pending", conditions=(gate,)))
    assert take(life(pod, retry=held), echoed).retry == held
    assert take(life(pod, retry=held), with_spec(pod, active_deadline_seconds=900)).retry == {}
