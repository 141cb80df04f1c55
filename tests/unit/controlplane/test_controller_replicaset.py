"""ReplicaSet's decisions: how many pods, whose they are, and which go first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.controllers.replicaset import BURST, decide, in_order_of_deletion, new_status, next_look
from kube import meta

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ago(seconds: float) -> str:
    return meta.format_time(NOW - timedelta(seconds=seconds))


def owner(replicas: int = 3, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web", "tier": "front"}}}
    wanted = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"metadata": {"name": "web", "uid": "rs", "generation": 2}, "spec": wanted}


def pod(
    name: str, *, own: bool = True, app: str = "web", node: str = "n", phase: str = "Running",
    ready: float | None = 100, born: float = 200, restarts: int = 0, cost: str = "", going: bool = False,
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {
        "name": name,
        "uid": name,
        "labels": {"app": app},
        "creationTimestamp": ago(born),
    }
    if own:
        found["ownerReferences"] = [{"uid": "rs", "controller": True, "name": "web", "kind": "ReplicaSet"}]
    if cost:
        found["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": cost}
    if going:
        found["deletionTimestamp"] = ago(0)
    conditions = []
    if ready is not None:
        conditions.append({"type": "Ready", "status": "True", "lastTransitionTime": ago(ready)})
    state = {"phase": phase, "conditions": conditions, "containerStatuses": [{"restartCount": restarts}]}
    return {"metadata": found, "spec": {"nodeName": node} if node else {}, "status": state}


def names(pods: Any) -> list[str]:
    return [item["metadata"]["name"] for item in pods]


def test_missing_pods_are_made_and_dead_or_going_ones_do_not_count() -> None:
    plan = decide(owner(3), [pod("a"), pod("b", phase="Failed"), pod("c", going=True)], NOW)
    assert (plan.create, plan.delete) == (2, ())


def test_one_pass_makes_no_more_than_a_burst() -> None:
    assert decide(owner(5000), [], NOW).create == BURST


def test_matching_orphan_is_adopted_and_a_pod_that_no_longer_matches_is_let_go() -> None:
    candidates = [pod("orphan", own=False), pod("stray", app="x"), pod("other", own=False, app="x")]
    plan = decide(owner(2), candidates, NOW)
    assert (names(plan.adopt), names(plan.release), plan.create) == (["orphan"], ["stray"], 1)


def test_owner_that_is_being_deleted_makes_and_takes_nothing() -> None:
    going = owner(3)
    going["metadata"]["deletionTimestamp"] = ago(0)
    plan = decide(going, [pod("a"), pod("orphan", own=False)], NOW)
    assert (plan.adopt, plan.create, plan.delete) == ((), 0, ())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("z", node=""), pod("a", ready=None)),
        (pod("z", phase="Pending", ready=None), pod("a", phase="Unknown", ready=None)),
        (pod("z", phase="Unknown", ready=None), pod("a", ready=None)),
        (pod("z", ready=None), pod("a")),
        (pod("z", cost="-5"), pod("a")),
        (pod("z", ready=10), pod("a", ready=1000)),
        (pod("z", restarts=3), pod("a")),
        (pod("z", born=300), pod("a", born=5000)),
    ],
)
def test_order_of_deletion(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert names(in_order_of_deletion([second, first], NOW)) == ["z", "a"]


def test_crowded_node_loses_a_pod_first() -> None:
    pods = [pod("a", node="n1"), pod("y", node="n2"), pod("z", node="n2")]
    assert names(decide(owner(2), pods, NOW).delete) == ["y"]


def test_status_counts_what_is_ready_available_labelled_and_leaving() -> None:
    full = pod("full", ready=100)
    full["metadata"]["labels"]["tier"] = "front"
    pods = [full, pod("young", ready=5), pod("starting", ready=None), pod("leaving", going=True)]
    found = new_status(owner(3, minReadySeconds=10), pods, "", NOW)
    assert found == {
        "replicas": 3, "fullyLabeledReplicas": 1, "readyReplicas": 2, "availableReplicas": 1,
        "terminatingReplicas": 1, "observedGeneration": 2, "conditions": [],
    }  # fmt: skip
    assert next_look(owner(3, minReadySeconds=10), pods, NOW) == 5.0


def test_failure_to_create_is_a_condition_until_it_passes() -> None:
    failing = owner()
    failing["status"] = new_status(failing, [], "quota", NOW)
    condition = failing["status"]["conditions"][0]
    assert (condition["type"], condition["reason"], condition["message"]) == (
        "ReplicaFailure",
        "FailedCreate",
        "quota",
    )
    again = new_status(failing, [], "quota", NOW + timedelta(hours=1))
    assert again["conditions"] == failing["status"]["conditions"]
    assert new_status(failing, [], "", NOW)["conditions"] == []
