"""Pressure, ranking and the choice of a victim, as tables and short stories."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from kubelet.eviction.decide import (
    Reclaim,
    evict,
    node_message,
    over_local_limits,
    reclaimed_enough,
    to_reclaim,
)
from kubelet.eviction.pressure import Pressure, PressureState, observe
from kubelet.eviction.rank import ContainerUse, Disk, Part, PodUse, VolumeUse, measured, rank, victims
from kubelet.eviction.signals import Condition, Layout, Limit, Observation, Signal, Threshold

pytestmark = pytest.mark.pure

MI = 1 << 20
GI = 1 << 30
HARD = Threshold(Signal.MEMORY, Limit("1Gi"))
SOFT = Threshold(Signal.MEMORY, Limit("2Gi"), grace_seconds=60)
DISK = Threshold(Signal.NODE_FS, Limit("10%"))


def memory(gigs: float, at: float = 0.0) -> dict[Signal, Observation]:
    return {Signal.MEMORY: Observation(int(gigs * GI), 8 * GI, at)}


def run(*gigs: float, thresholds: tuple[Threshold, ...] = (HARD,), every: float = 10.0) -> list[Pressure]:
    """Passes `every` so many seconds, each with that much memory available."""
    state, found = PressureState(), []
    for number, available in enumerate(gigs):
        now = number * every
        state, pressure = observe(state, thresholds, memory(available, now), now)
        found.append(pressure)
    return found


def test_a_hard_threshold_acts_at_once_and_an_exact_amount_is_enough() -> None:
    assert [bool(one.act_on) for one in run(1, 0.99)] == [False, True]


def test_a_soft_threshold_waits_for_its_grace_period_without_a_break() -> None:
    passes = run(1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, thresholds=(SOFT,))
    assert [bool(one.act_on) for one in passes] == [False] * 6 + [True]
    assert all(one.conditions == {Condition.MEMORY} for one in passes)
    broken = run(1.5, 1.5, 1.5, 3, 1.5, 1.5, 1.5, 1.5, thresholds=(SOFT,))
    assert not any(one.act_on for one in broken)


def test_minimum_reclaim_keeps_a_threshold_met_until_more_is_free() -> None:
    line = replace(HARD, min_reclaim=Limit("500Mi"))
    passes = run(1.2, 0.9, 1.2, 1.4, 1.6, 1.2, thresholds=(line,))
    assert [bool(one.act_on) for one in passes] == [False, True, True, True, False, False]


def test_a_condition_outlives_its_cause_by_the_transition_period() -> None:
    passes = run(0.5, *[3.0] * 31)
    assert [bool(one.conditions) for one in passes] == [True] * 30 + [False] * 2


def test_an_old_measurement_is_not_acted_on_twice() -> None:
    state, first = observe(PressureState(), (HARD,), memory(0.5, at=5.0), 5.0)
    _, again = observe(state, (HARD,), memory(0.5, at=5.0), 15.0)
    assert (bool(first.act_on), bool(again.act_on)) == (True, False)
    assert again.conditions == {Condition.MEMORY}


def test_memory_comes_before_disk_and_unmeasured_signals_are_quiet() -> None:
    seen = {Signal.NODE_FS: Observation(1, 1000, 1.0), **memory(0.1, 1.0)}
    pids = Threshold(Signal.PIDS, Limit("50%"))
    _, pressure = observe(PressureState(), (DISK, pids, HARD), seen, 1.0)
    assert pressure.act_on == (HARD, DISK)
    assert pressure.conditions == {Condition.MEMORY, Condition.DISK}


QUIET = PodUse("quiet", memory=100, memory_request=200)
GREEDY = PodUse("greedy", memory=900, memory_request=100)
HUNGRY = PodUse("hungry", memory=500, memory_request=100)
NOBLE = PodUse("noble", priority=10, memory=5000, memory_request=100)
UNKNOWN = PodUse("unknown", priority=99, known=False)
SYSTEM = PodUse("system", is_critical=True, memory=9000)


def test_memory_ranking_is_excess_then_priority_then_amount() -> None:
    for order in itertools.permutations([QUIET, GREEDY, HUNGRY, NOBLE, UNKNOWN]):
        names = [pod.uid for pod in rank(order, Signal.MEMORY)]
        assert names == ["unknown", "greedy", "hungry", "noble", "quiet"]


def test_process_ranking_is_priority_then_count() -> None:
    pods = [PodUse("a", 1, processes=900), PodUse("b", processes=5), PodUse("c", processes=50)]
    assert [pod.uid for pod in rank(pods, Signal.PIDS)] == ["c", "b", "a"]


def used(
    uid: str, root: int = 0, logs: int = 0, volumes: int = 0, images: int = 0, request: int = 0
) -> PodUse:
    parts = ((Part.ROOT, root), (Part.LOGS, logs), (Part.VOLUMES, volumes), (Part.IMAGES, images))
    disk = tuple((part, Disk(amount, amount)) for part, amount in parts)
    return PodUse(uid, storage_request=request, disk=disk)


@pytest.mark.parametrize(
    ("signal", "layout", "first"),
    [
        (Signal.NODE_FS, Layout.SINGLE, "layers"),
        (Signal.NODE_FS, Layout.IMAGES_APART, "logs"),
        (Signal.IMAGE_FS, Layout.IMAGES_APART, "layers"),
        (Signal.CONTAINER_FS, Layout.IMAGES_APART, "layers"),
        (Signal.IMAGE_FS, Layout.SPLIT, "images"),
        (Signal.CONTAINER_FS_INODES, Layout.SPLIT, "layers"),
        (Signal.NODE_FS_INODES, Layout.IMAGES_APART, "logs"),
    ],
)
def test_disk_ranking_counts_what_is_on_the_short_filesystem(
    signal: Signal, layout: Layout, first: str
) -> None:
    pods = [used("layers", root=900), used("logs", logs=500, volumes=100), used("images", images=800)]
    assert rank(pods, signal, layout)[0].uid == first


def test_a_storage_request_protects_from_disk_eviction() -> None:
    pods = [used("asked", root=900, request=1000), used("small", root=10)]
    assert [pod.uid for pod in rank(pods, Signal.NODE_FS)] == ["small", "asked"]
    assert measured(Signal.NODE_FS, Layout.SINGLE) == {Part.ROOT, Part.LOGS, Part.VOLUMES}


def test_critical_pods_never_go() -> None:
    assert victims([SYSTEM, QUIET], Signal.MEMORY) == [QUIET]
    assert evict(HARD, [SYSTEM], memory(0.5)) is None


def test_eviction_says_what_was_short_and_who_used_more_than_asked() -> None:
    pod = PodUse(
        "u",
        memory=300 * MI,
        containers=(
            ContainerUse("web", memory=200 * MI, memory_request=64 * MI),
            ContainerUse("log", memory=10 * MI, memory_request=64 * MI),
            ContainerUse("aux", memory=90 * MI),
        ),
    )
    found = evict(HARD, [pod], memory(0.5))
    assert found is not None
    assert found.message == (
        "The node was low on resource: memory. Threshold quantity: 1Gi, available: 512Mi. "
        "Container web was using 200Mi, request is 64Mi, has larger consumption of memory. "
        "Container aux was using 90Mi, request is 0, has larger consumption of memory. "
    )
    assert dict(found.annotations) == {
        "starved_resource": "memory",
        "offending_containers": "web,aux",
        "offending_containers_usage": "200Mi,90Mi",
    }
    assert (found.grace_seconds, found.brake_bytes) == (1, 300 * MI)
    assert node_message(Signal.MEMORY) == "Attempting to reclaim memory"


@pytest.mark.parametrize(
    ("most", "own", "grace"), [(0, 30, 1), (10, 30, 10), (60, 30, 30), (-1, 30, 30), (60, 0, 1)]
)
def test_soft_eviction_gives_the_shorter_of_both_graces(most: int, own: int, grace: int) -> None:
    found = evict(SOFT, [replace(GREEDY, grace_seconds=own)], memory(1.5), most_grace_seconds=most)
    assert found is not None
    assert found.grace_seconds == grace


def test_disk_eviction_brakes_nobody() -> None:
    found = evict(DISK, [used("a", root=5)], {Signal.NODE_FS: Observation(50, 1000)})
    assert found is not None
    assert (found.brake_bytes, found.message) == (
        None,
        "The node was low on resource: ephemeral-storage. Threshold quantity: 100, available: 50. ",
    )


@pytest.mark.parametrize(
    ("signal", "layout", "expected"),
    [
        (Signal.NODE_FS, Layout.SINGLE, (Reclaim.DEAD_CONTAINERS, Reclaim.UNUSED_IMAGES)),
        (Signal.NODE_FS, Layout.IMAGES_APART, ()),
        (Signal.IMAGE_FS_INODES, Layout.IMAGES_APART, (Reclaim.DEAD_CONTAINERS, Reclaim.UNUSED_IMAGES)),
        (Signal.IMAGE_FS, Layout.SPLIT, (Reclaim.UNUSED_IMAGES,)),
        (Signal.CONTAINER_FS, Layout.SPLIT, (Reclaim.DEAD_CONTAINERS,)),
        (Signal.MEMORY, Layout.SINGLE, ()),
        (Signal.PIDS, Layout.SPLIT, ()),
    ],
)
def test_nobodys_things_go_first_where_they_are_on_the_short_disk(
    signal: Signal, layout: Layout, expected: tuple[Reclaim, ...]
) -> None:
    assert to_reclaim(signal, layout) == expected


def test_what_was_freed_may_be_enough() -> None:
    assert reclaimed_enough([DISK], {Signal.NODE_FS: Observation(100, 1000)})
    assert not reclaimed_enough([DISK], {Signal.NODE_FS: Observation(99, 1000)})


def test_pods_beyond_their_own_storage_limits_go_without_pressure() -> None:
    cache = PodUse("cache", volumes=(VolumeUse("tmp", 11 * MI, 10 * MI),))
    total = replace(used("total", root=6 * MI, logs=5 * MI, images=99 * MI), storage_limit=10 * MI)
    box = PodUse("box", containers=(ContainerUse("web", storage=2 * MI, storage_limit=1 * MI),))
    fine = replace(used("fine", root=10 * MI), storage_limit=10 * MI)
    critical = replace(box, uid="critical", is_critical=True)
    assert {one.uid: one.message for one in over_local_limits([cache, total, box, fine, critical])} == {
        "cache": 'Usage of EmptyDir volume "tmp" exceeds the limit "10Mi". ',
        "total": "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
        "box": 'Container web exceeded its local ephemeral storage limit "1Mi". ',
    }
