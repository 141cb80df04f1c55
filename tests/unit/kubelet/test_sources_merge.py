"""Deliveries of sources become additions, updates and removals."""

from __future__ import annotations

import msgspec
import pytest

from kube.objects.core_v1 import Container, Pod, PodSpec, PodStatus
from kube.objects.meta_v1 import ObjectMeta
from kubelet.sources.merge import Changes, SourceState, expecting, merge
from kubelet.sources.model import CONFIG_ORIGIN, Delivery

pytestmark = pytest.mark.pure

T0, T1 = "2026-11-21T00:00:00Z", "2026-11-21T00:00:01Z"


def pod(name: str, uid: str = "", *, image: str = "busybox", origin: str = "", **meta: object) -> Pod:
    annotations = {CONFIG_ORIGIN: origin} if origin else {}
    return Pod(
        metadata=msgspec.convert(
            {"name": name, "namespace": "default", "uid": uid or name, "annotations": annotations, **meta},
            ObjectMeta,
        ),
        spec=PodSpec(containers=(Container(name="c", image=image),)),
    )


def deliver(
    state: SourceState, *pods: Pod, source: str = "file", now: str = T0, broken: tuple[str, ...] = ()
) -> tuple[SourceState, Changes]:
    return merge(state, Delivery(source, pods, frozenset(broken)), now=now)


def test_nothing_is_missing_before_every_source_has_delivered() -> None:
    state = expecting({"file", "http"})
    assert not state.all_delivered()
    state, _ = deliver(state)
    assert not state.all_delivered()
    state, _ = deliver(state, source="http")
    assert state.all_delivered()


def test_pod_is_added_marked_and_removed() -> None:
    state, changes = deliver(expecting({"file"}), pod("a"))
    (added,) = changes.added
    assert added.metadata.annotations["kubernetes.io/config.source"] == "file"
    assert added.metadata.annotations["kubernetes.io/config.seen"] == T0
    assert state.pod("a") is added
    state, changes = deliver(state)
    assert [p.metadata.name for p in changes.removed] == ["a"]
    assert state.pod("a") is None


def test_same_pods_again_change_nothing() -> None:
    one, same = pod("a"), pod("a")
    state, _ = deliver(expecting({"file"}), one)
    kept = state.pod("a")
    for again in (one, same):
        state, changes = deliver(state, again, now=T1)
        assert not changes
        assert state.pod("a") is kept


def test_changed_spec_labels_or_own_annotation_is_an_update_that_keeps_when_it_was_seen() -> None:
    for changed in (
        pod("a", image="nginx"),
        pod("a", labels={"x": "y"}),
        pod("a", annotations={"mine": "1"}),
    ):
        state, _ = deliver(expecting({"file"}), pod("a"))
        state, changes = deliver(state, changed, now=T1)
        assert len(changes.updated) == 1
        assert not (changes.added or changes.removed or changes.deleted)
        assert changes.updated[0].metadata.annotations["kubernetes.io/config.seen"] == T0


def test_difference_in_the_agents_own_annotations_alone_is_no_change() -> None:
    state, _ = deliver(expecting({"file"}), pod("a", annotations={"kubernetes.io/config.hash": "1"}))
    _, changes = deliver(state, pod("a", annotations={"kubernetes.io/config.hash": "2"}))
    assert not changes


def test_deletion_timestamp_is_a_deletion_and_status_alone_a_reconciliation() -> None:
    state, _ = deliver(expecting({"api"}), pod("a"), pod("b"), source="api")
    ran = msgspec.structs.replace(pod("b"), status=PodStatus(phase="Running"))
    state, changes = deliver(state, pod("a", deletionTimestamp=T1), ran, source="api")
    assert [p.metadata.name for p in changes.deleted] == ["a"]
    assert [p.metadata.name for p in changes.reconciled] == ["b"]
    _, changes = deliver(expecting({"api"}), pod("c", deletionTimestamp=T1), source="api")
    assert [p.metadata.name for p in changes.deleted] == ["c"]


def test_new_content_of_a_static_pod_is_a_removal_and_an_addition_in_one_step() -> None:
    state, _ = deliver(expecting({"file"}), pod("web", uid="u1"))
    state, changes = deliver(state, pod("web", uid="u2", image="nginx"))
    assert [p.metadata.uid for p in changes.removed] == ["u1"]
    assert [p.metadata.uid for p in changes.added] == ["u2"]


def test_second_pod_of_a_name_is_a_problem_told_once_and_the_first_wins() -> None:
    twins = (pod("a", uid="u1", origin="/m/1.yaml"), pod("a", uid="u2", origin="/m/2.yaml"))
    state, changes = deliver(expecting({"file"}), *twins)
    assert [p.metadata.uid for p in changes.added] == ["u1"]
    (problem,) = changes.problems
    assert problem.reason == "FailedValidation"
    assert str(problem) == (
        "/m/2.yaml: metadata.name: Error validating pod a_default(u2) from file due to duplicate pod name "
        '"a", ignoring (the pod of "/m/1.yaml" is used)'
    )
    state, changes = deliver(state, *twins)
    assert not changes
    state, changes = deliver(state, twins[1])  # the first file went away: the second takes over
    assert [p.metadata.uid for p in changes.added] == ["u2"]
    _, changes = deliver(state, *twins)
    assert len(changes.problems) == 1


def test_sources_do_not_touch_each_others_pods() -> None:
    state, _ = deliver(expecting({"file", "http"}), pod("a"))
    state, changes = deliver(state, pod("b"), source="http")
    assert not changes.removed
    assert state.pod("a") is not None


def test_undecodable_origin_holds_the_pods_that_came_from_it() -> None:
    state, _ = deliver(expecting({"file"}), broken=("/m/web.yaml",))
    assert state.holds("/m/web.yaml")
    assert not state.holds("/m/other.yaml")
    assert not state.holds("")
    state, _ = deliver(state)
    assert not state.holds("/m/web.yaml")
