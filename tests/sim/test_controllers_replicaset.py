"""ReplicaSet and ReplicationController against the fake API server, under virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import Controller
from controlplane.controllers.replicaset import ReplicaSetController
from kube import status
from kube.client import resources as r
from kube.fake import Pattern
from tests.sim.controllers_world import World, scenario, workload

pytestmark = pytest.mark.sim


def both(clock: VirtualClock) -> list[Controller]:
    return [ReplicaSetController(clock), ReplicaSetController(clock, r.REPLICATION_CONTROLLERS)]


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("ReplicaSet", r.REPLICA_SETS), ("ReplicationController", r.REPLICATION_CONTROLLERS)],
)
def test_pods_follow_the_number_asked_for(kind: str, resource: r.Resource) -> None:
    async def body(world: World) -> None:
        world.api.put(workload(kind, 3))
        await asyncio.sleep(1)
        assert len(world.pods()) == 3
        owner = world.pods()[0]["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["controller"]) == (kind, "web", True)
        world.run_pods()
        await asyncio.sleep(1)
        found = world.api.object(resource, "web", "shop")["status"]
        assert (found["replicas"], found["readyReplicas"], found["availableReplicas"]) == (3, 3, 3)
        world.api.put(workload(kind, 1))
        await asyncio.sleep(1)
        assert len(world.pods()) == 1
        world.api.remove(r.PODS, world.names()[0], "shop")
        await asyncio.sleep(1)
        assert len(world.pods()) == 1
        creates = [req for req in world.api.requests if (req.verb, req.resource) == ("create", r.PODS)]
        assert len(creates) == 4

    scenario(both, body)


def test_slow_watch_never_makes_a_pod_too_many() -> None:
    async def body(world: World) -> None:
        world.api.put(workload("ReplicaSet", 5))
        await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0.05)
            # Somebody's writes wake the key again and again.
            world.api.put(workload("ReplicaSet", 5, minReadySeconds=_))
            assert len(world.pods()) <= 5
        await asyncio.sleep(1)
        assert len(world.pods()) == 5

    scenario(both, body)


def test_orphan_is_adopted_and_counts() -> None:
    async def body(world: World) -> None:
        meta: dict[str, Any] = {"name": "orphan", "namespace": "shop", "labels": {"app": "web"}}
        world.api.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": []}})
        world.api.put(workload("ReplicaSet", 2))
        await asyncio.sleep(1)
        assert len(world.pods()) == 2
        orphan = world.api.object(r.PODS, "orphan", "shop")
        assert orphan["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"

    scenario(both, body)


def test_refused_pods_are_told_of_and_tried_again() -> None:
    async def body(world: World) -> None:
        world.api.fail(status.bad_request("no"), Pattern("create", r.PODS), times=3)
        world.api.put(workload("ReplicaSet", 2))
        await asyncio.sleep(0.002)
        await asyncio.sleep(5)
        assert len(world.pods()) == 2
        assert "FailedCreate" in [event["reason"] for event in world.api.objects(r.EVENTS)]
        assert world.api.object(r.REPLICA_SETS, "web", "shop")["status"]["conditions"] == []

    scenario(both, body)
