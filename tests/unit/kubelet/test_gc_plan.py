"""What garbage collection takes, and what it must leave."""

from __future__ import annotations

import pytest

from cri.types import (
    Container,
    ContainerMetadata,
    ContainerState,
    PodSandbox,
    PodSandboxMetadata,
    PodSandboxState,
)
from kubelet import gc

pytestmark = pytest.mark.pure

SECOND = 1_000_000_000
NOW = 1000.0
DEAD = ContainerState.CONTAINER_EXITED
RUNNING = ContainerState.CONTAINER_RUNNING
ALIVE = gc.PodsKnown(frozenset({"u1"}), is_complete=True)
GONE = gc.PodsKnown(frozenset(), is_complete=True)
NOT_YET = gc.PodsKnown(frozenset(), is_complete=False)
POLICY = gc.GcPolicy()


def container(
    id: str,
    created: int,
    state: ContainerState = DEAD,
    *,
    uid: str = "u1",
    name: str = "a",
    sandbox: str = "s1",
    attempt: int = 0,
) -> Container:
    labels = {"io.kubernetes.pod.uid": uid, "io.kubernetes.container.name": name} if uid else {}
    return Container(
        id=id,
        pod_sandbox_id=sandbox,
        metadata=ContainerMetadata(name, attempt),
        state=state,
        created_at=created * SECOND,
        labels=labels,
    )


def sandbox(id: str, created: int, *, ready: bool = False, uid: str = "u1", attempt: int = 0) -> PodSandbox:
    state = PodSandboxState.SANDBOX_READY if ready else PodSandboxState.SANDBOX_NOTREADY
    labels = {"io.kubernetes.pod.uid": uid} if uid else {}
    return PodSandbox(
        id=id,
        metadata=PodSandboxMetadata(attempt=attempt),
        state=state,
        created_at=created * SECOND,
        labels=labels,
    )


def taken(
    *containers: Container, pods: gc.PodsKnown = ALIVE, policy: gc.GcPolicy = POLICY
) -> list[tuple[str, str]]:
    removals = gc.surplus_containers(containers, pods, NOW, policy)
    return [(removal.container.id, removal.why) for removal in removals]


def test_newest_dead_container_of_a_name_is_kept_for_its_logs() -> None:
    assert taken(container("c3", 3), container("c1", 1), container("c2", 2)) == [
        ("c1", gc.NEWER_DEAD),
        ("c2", gc.NEWER_DEAD),
    ]


def test_newest_is_the_last_attempt_though_the_clock_was_set_back() -> None:
    assert taken(container("c1", 900, attempt=1), container("c2", 5, attempt=2)) == [("c1", gc.NEWER_DEAD)]
    boxes = [sandbox("s1", 900, attempt=1), sandbox("s2", 5, attempt=2)]
    assert [one.sandbox.id for one in gc.surplus_sandboxes(boxes, [], ALIVE)] == ["s1"]


def test_dead_containers_are_counted_per_name_and_running_ones_not_at_all() -> None:
    assert taken(container("a1", 1), container("b1", 2, name="b"), container("a2", 3, RUNNING)) == []


def test_container_just_created_is_never_taken_from_a_pod_that_lives() -> None:
    created = container("new", 5, ContainerState.CONTAINER_CREATED)
    assert taken(container("old", 1), created) == [("old", gc.NEWER_DEAD)]


def test_every_dead_container_of_a_pod_that_is_gone_goes() -> None:
    assert taken(container("c1", 1), container("c2", 2), pods=GONE) == [
        ("c1", gc.POD_GONE),
        ("c2", gc.POD_GONE),
    ]


def test_before_all_sources_delivered_an_unknown_pod_counts_as_alive() -> None:
    assert taken(container("c1", 1), container("c2", 2), pods=NOT_YET) == [("c1", gc.NEWER_DEAD)]
    assert gc.surplus_sandboxes([sandbox("s1", 1)], [], NOT_YET) == []
    found = gc.Found(
        pod_directories=(gc.PodDirectory("u9", has_mounts=False),), log_directories=("shop_web_u9",)
    )
    assert gc.plan(found, NOT_YET, NOW, POLICY) == gc.GcPlan()


def test_container_younger_than_the_minimum_age_stays() -> None:
    policy = gc.GcPolicy(min_age_seconds=60)
    assert taken(container("c1", 950), container("c2", 960), pods=GONE, policy=policy) == []
    assert taken(container("c1", 900), container("c2", 960), pods=GONE, policy=policy) == [
        ("c1", gc.POD_GONE)
    ]


@pytest.mark.parametrize(("per_container", "expected"), [(0, ["c1", "c2"]), (2, []), (-1, [])])
def test_limit_per_container_is_obeyed(per_container: int, expected: list[str]) -> None:
    policy = gc.GcPolicy(per_container=per_container)
    assert [id for id, _ in taken(container("c1", 1), container("c2", 2), policy=policy)] == expected


def test_limit_for_the_node_takes_older_ones_before_any_newest() -> None:
    policy = gc.GcPolicy(per_container=-1, in_total=2)
    containers = (
        container("a1", 10),
        container("a2", 20),
        container("b1", 1, name="b"),
        container("b2", 2, name="b"),
    )
    assert taken(*containers, policy=policy) == [("b1", gc.OVER_TOTAL), ("a1", gc.OVER_TOTAL)]
    policy = gc.GcPolicy(per_container=-1, in_total=1)
    assert [id for id, _ in taken(*containers, policy=policy)] == ["b1", "a1", "b2"]


def test_containers_that_are_not_kubernetes_are_left_alone() -> None:
    assert taken(container("c1", 1, uid=""), container("c2", 2, uid=""), pods=GONE) == []
    assert gc.surplus_sandboxes([sandbox("s1", 1, uid="")], [], GONE) == []


def sandboxes_taken(
    *sandboxes: PodSandbox, containers: tuple[Container, ...] = (), pods: gc.PodsKnown = ALIVE
) -> list[tuple[str, str]]:
    removals = gc.surplus_sandboxes(sandboxes, containers, pods)
    return [(removal.sandbox.id, removal.why) for removal in removals]


def test_newest_sandbox_is_kept_while_the_pod_exists() -> None:
    assert sandboxes_taken(sandbox("s1", 1), sandbox("s3", 3), sandbox("s2", 2)) == [
        ("s1", gc.SANDBOX_OUTLIVED),
        ("s2", gc.SANDBOX_OUTLIVED),
    ]
    assert sandboxes_taken(sandbox("s1", 1)) == []
    assert sandboxes_taken(sandbox("s1", 1), pods=GONE) == [("s1", gc.POD_GONE)]


def test_sandbox_that_is_ready_or_holds_containers_is_kept() -> None:
    assert sandboxes_taken(sandbox("s1", 1, ready=True), pods=GONE) == []
    held = (container("c1", 1, sandbox="s1"),)
    assert sandboxes_taken(sandbox("s1", 1), containers=held, pods=GONE) == []
    assert sandboxes_taken(sandbox("s1", 1), sandbox("s2", 2), containers=held) == []


def test_directories_of_a_pod_that_is_gone_go_once_the_runtime_has_nothing_of_it() -> None:
    found = gc.Found(
        pod_directories=(gc.PodDirectory("u1", has_mounts=False), gc.PodDirectory("u2", has_mounts=False)),
        log_directories=("shop_web_u1", "shop_db_u2", "foreign"),
    )
    assert gc.plan(found, ALIVE, NOW, POLICY).actions == (
        gc.RemovePodDirectory("u2", gc.POD_GONE),
        gc.RemoveLogDirectory("shop_db_u2", "u2", gc.POD_GONE),
    )


def test_directories_wait_for_containers_and_sandboxes() -> None:
    found = gc.Found(
        containers=(container("c1", 1, uid="u2"),),
        pod_directories=(gc.PodDirectory("u2", has_mounts=False),),
        log_directories=("shop_db_u2",),
    )
    plan = gc.plan(found, ALIVE, NOW, POLICY)
    assert [type(action) for action in plan.actions] == [gc.RemoveContainer]
    assert plan.held == (gc.Held("u2", gc.STILL_IN_RUNTIME),)


def test_directory_with_a_mounted_volume_is_never_removed() -> None:
    found = gc.Found(pod_directories=(gc.PodDirectory("u2", has_mounts=True),))
    plan = gc.plan(found, ALIVE, NOW, POLICY)
    assert plan == gc.GcPlan(held=(gc.Held("u2", gc.STILL_MOUNTED),))


def test_dangling_log_link_goes_unless_its_container_runs() -> None:
    links = (
        gc.LogLink("/l/a-dead.log", "dead", is_dangling=True),
        gc.LogLink("/l/b-live.log", "live", is_dangling=True),
        gc.LogLink("/l/c-cut.log", "cutid", is_dangling=True),
        gc.LogLink("/l/d-fine.log", "fine", is_dangling=False),
    )
    running = (container("live", 1, RUNNING), container("cutid0123456789", 1, RUNNING, name="c"))
    found = gc.Found(containers=running, log_links=links)
    assert gc.plan(found, ALIVE, NOW, POLICY).actions == (gc.RemoveLogLink("/l/a-dead.log", gc.LINK_DANGLES),)
