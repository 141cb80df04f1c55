"""A Deployment's numbers: exact steps of a rolling update, and scaling in proportion."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.controllers.deployment import next_revision, notes_of_new, snapshot_of, template_hash
from controlplane.controllers.rollout import Limits, Set, limits_of, scale, scaled, size_of_new, sizes_of_old

pytestmark = pytest.mark.pure


def deployment(replicas: int, **rolling: Any) -> dict[str, Any]:
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return {"spec": {"replicas": replicas, "strategy": strategy}}


@pytest.mark.parametrize(
    ("replicas", "rolling", "surge", "unavailable"),
    [
        (10, {}, 3, 2),
        (3, {}, 1, 0),
        (1, {}, 1, 0),
        (4, {"maxSurge": 0, "maxUnavailable": 0}, 0, 1),
        (10, {"maxSurge": "0%", "maxUnavailable": "9%"}, 0, 1),
        (5, {"maxSurge": 2, "maxUnavailable": "100%"}, 2, 5),
    ],
)
def test_surge_rounds_up_and_unavailable_down(
    replicas: int, rolling: dict[str, Any], surge: int, unavailable: int
) -> None:
    found = limits_of(deployment(replicas, **rolling))
    assert (found.surge, found.unavailable) == (surge, unavailable)
    assert scaled("33%", 10, up=True) == 4
    assert scaled("33%", 10, up=False) == 3


@pytest.mark.parametrize(
    ("new", "old", "goes_to"),
    [(0, 10, 3), (3, 10, 3), (3, 8, 5), (9, 1, 10), (12, 0, 10)],
)
def test_newest_set_grows_into_the_surge(new: int, old: int, goes_to: int) -> None:
    assert size_of_new(Set("new", new), [Set("old", old)], Limits(10, 3, 2)) == goes_to


@pytest.mark.parametrize(
    ("new", "olds", "shrink"),
    [
        # 13 pods, 8 must stay available, 3 new ones are not yet: two may go.
        (Set("new", 3, 0), [Set("a", 10, 10)], {"a": 8}),
        (Set("new", 3, 3), [Set("a", 10, 10)], {"a": 5}),
        # What is not available goes first, whatever its age.
        (Set("new", 3, 0), [Set("a", 8, 8, created="1"), Set("b", 2, 0, created="2")], {"b": 0}),
        # Of what is, the oldest.
        (Set("new", 3, 3), [Set("b", 5, 5, created="2"), Set("a", 5, 5, created="1")], {"a": 0}),
        (Set("new", 3, 0), [Set("a", 8, 8)], {}),
    ],
)
def test_old_sets_shrink_only_as_far_as_enough_stays_available(
    new: Set, olds: list[Set], shrink: dict[str, int]
) -> None:
    assert sizes_of_old(new, olds, Limits(10, 3, 2)) == shrink


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10), st.integers(0, 10))
def test_rolling_update_ends_and_keeps_both_limits_all_the_way(
    replicas: int, surge: int, unavailable: int
) -> None:
    limits = limits_of(deployment(replicas, maxSurge=surge, maxUnavailable=unavailable))
    new, old = Set("new", 0), Set("old", replicas, replicas)
    for _ in range(200):
        size = size_of_new(new, [old], limits)
        if size != new.size:
            new = Set("new", size, new.available)
        else:
            left = sizes_of_old(new, [old], limits).get("old", old.size)
            old = Set("old", left, min(left, old.available))
        assert new.size + old.size <= limits.most
        assert new.available + old.available >= limits.least_available
        # One pod of the new set becomes available between passes.
        new = Set("new", new.size, min(new.size, new.available + 1))
        if (new.available, old.size) == (replicas, 0):
            return
    pytest.fail(f"not over: {new} {old}")


def test_scaling_in_the_middle_of_a_rollout_is_in_proportion() -> None:
    new = Set("new", 5, 5, created="2", desired=10, most=15)
    old = Set("old", 10, 10, created="1", desired=10, most=15)
    assert scale(new, [old], Limits(20, 5, 0), 15) == {"new": 8, "old": 17}
    assert scale(new, [old], Limits(5, 5, 0), 15) == {"new": 3, "old": 7}
    assert scale(new, [old], Limits(0, 5, 0), 15) == {"new": 0, "old": 0}


def test_only_set_with_pods_takes_all_of_a_change_of_size() -> None:
    assert scale(Set("new", 3), [Set("old", 0)], Limits(7, 1, 0), 3) == {"new": 7}
    assert scale(None, [Set("a", 0, created="1"), Set("b", 0, created="2")], Limits(7, 1, 0), 0) == {"b": 7}


def replica_set(name: str, revision: int, image: str) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web", "pod-template-hash": name}}, "spec": {"image": image}}
    notes = {"deployment.kubernetes.io/revision": str(revision)}
    found = {"name": name, "creationTimestamp": f"2026-01-0{revision}T00:00:00Z", "annotations": notes}
    return {"metadata": found, "spec": {"replicas": 0, "template": template}}


def test_rollback_finds_the_old_set_and_gives_it_the_next_revision() -> None:
    template = {"metadata": {"labels": {"app": "web"}, "creationTimestamp": None}, "spec": {"image": "one"}}
    wanted = {"metadata": {"annotations": {"team": "x"}}, "spec": {"replicas": 1, "template": template}}
    snapshot = snapshot_of(wanted, [replica_set("b", 2, "two"), replica_set("a", 1, "one")])
    assert snapshot.new is not None
    assert snapshot.new["metadata"]["name"] == "a"
    assert next_revision(snapshot) == 3
    assert notes_of_new(snapshot) == {
        "team": "x", "deployment.kubernetes.io/revision": "3",
        "deployment.kubernetes.io/revision-history": "1",
    }  # fmt: skip


def test_hash_of_a_template_is_stable_and_changes_with_template_and_collisions() -> None:
    one = {"metadata": {"labels": {"b": "1", "a": "2"}}, "spec": {"x": 1}}
    same = {"spec": {"x": 1}, "metadata": {"labels": {"a": "2", "b": "1", "pod-template-hash": "zzz"}}}
    assert template_hash(one, 0) == template_hash(same, 0)
    assert (
        len({template_hash(one, 0), template_hash(one, 1), template_hash({**one, "spec": {"x": 2}}, 0)}) == 3
    )
