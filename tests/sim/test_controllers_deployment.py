"""Deployments with their ReplicaSets against the fake API server, under virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import Controller
from controlplane.controllers.deployment import DeploymentController
from controlplane.controllers.replicaset import ReplicaSetController
from kube.client import resources as r
from tests.sim.controllers_world import World, scenario, workload

pytestmark = pytest.mark.sim


def controllers(clock: VirtualClock) -> list[Controller]:
    return [DeploymentController(clock), ReplicaSetController(clock)]


def put(world: World, replicas: int, image: str = "i:1", **spec: Any) -> None:
    body = workload("Deployment", replicas, image=image, **spec)
    old = world.api.find(r.DEPLOYMENTS, "web", "shop")
    if old is not None:
        body["metadata"]["annotations"] = old["metadata"].get("annotations", {})
    world.api.put(body)


def images(world: World) -> list[str]:
    alive = [pod for pod in world.pods() if "deletionTimestamp" not in pod["metadata"]]
    return sorted(pod["spec"]["containers"][0]["image"] for pod in alive)


def condition(world: World, kind: str = "Progressing") -> tuple[str, str]:
    found = world.api.object(r.DEPLOYMENTS, "web", "shop")["status"]["conditions"]
    one = next(item for item in found if item["type"] == kind)
    return one["status"], one["reason"]


async def settle(world: World) -> None:
    """Pods become ready one after the other until nothing is pending."""
    for _ in range(40):
        await asyncio.sleep(0.3)
        pending = [pod for pod in world.pods() if pod["status"].get("phase") == "Pending"]
        if pending:
            first = pending[0]["metadata"]["name"]
            world.run_pods(lambda pod, name=first: pod["metadata"]["name"] == name)  # type: ignore[misc]
    await asyncio.sleep(1)


def test_deployment_comes_up_and_says_that_it_is_available() -> None:
    async def body(world: World) -> None:
        put(world, 3)
        await asyncio.sleep(1)
        assert condition(world, "Available") == ("False", "MinimumReplicasUnavailable")
        assert condition(world)[0] == "True"
        await settle(world)
        assert condition(world) == ("True", "NewReplicaSetAvailable")
        assert condition(world, "Available") == ("True", "MinimumReplicasAvailable")
        found = world.api.object(r.DEPLOYMENTS, "web", "shop")
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        state = found["status"]
        assert (state["replicas"], state["updatedReplicas"], state["availableReplicas"]) == (3, 3, 3)
        before = len(world.api.requests)
        await asyncio.sleep(3600)
        assert [req for req in list(world.api.requests)[before:] if req.verb not in ("watch", "list")] == []

    scenario(controllers, body)


def test_new_image_replaces_pods_within_the_limits_and_rollback_returns() -> None:
    async def body(world: World) -> None:
        put(world, 4)
        await settle(world)
        put(world, 4, "i:2")
        for _ in range(60):
            await asyncio.sleep(0.2)
            alive = images(world)
            ready = [pod for pod in world.pods() if pod["status"].get("phase") == "Running"]
            assert len(alive) <= 5
            assert len(ready) >= 3
            world.run_pods()
        await settle(world)
        assert images(world) == ["i:2"] * 4
        assert condition(world) == ("True", "NewReplicaSetAvailable")
        put(world, 4, "i:1")
        await settle(world)
        assert images(world) == ["i:1"] * 4
        revisions = {
            item["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: item["spec"]["replicas"]
            for item in world.api.objects(r.REPLICA_SETS)
        }
        assert revisions == {"3": 4, "2": 0}

    scenario(controllers, body)


def test_bad_image_stops_at_the_surge_and_is_told_after_the_deadline() -> None:
    async def body(world: World) -> None:
        put(world, 4, progressDeadlineSeconds=60)
        await settle(world)
        put(world, 4, "bad", progressDeadlineSeconds=60)
        await asyncio.sleep(30)
        assert condition(world)[0] == "True"
        await asyncio.sleep(60)
        assert condition(world) == ("False", "ProgressDeadlineExceeded")
        assert condition(world, "Available")[0] == "True"
        assert images(world).count("i:1") == 3
        put(world, 4, progressDeadlineSeconds=60)
        await settle(world)
        assert images(world) == ["i:1"] * 4
        assert condition(world) == ("True", "NewReplicaSetAvailable")

    scenario(controllers, body)


def test_paused_deployment_scales_but_rolls_nothing_out_until_it_is_resumed() -> None:
    async def body(world: World) -> None:
        put(world, 2)
        await settle(world)
        put(world, 3, "i:2", paused=True)
        await settle(world)
        assert images(world) == ["i:1"] * 3
        assert condition(world) == ("Unknown", "DeploymentPaused")
        put(world, 3, "i:2")
        await settle(world)
        assert images(world) == ["i:2"] * 3

    scenario(controllers, body)


def test_recreate_never_runs_two_versions_at_once() -> None:
    async def body(world: World) -> None:
        strategy = {"type": "Recreate"}
        put(world, 2, strategy=strategy)
        await settle(world)
        holding = world.pods()[0]
        holding["metadata"]["finalizers"] = ["test/hold"]
        world.api.put(holding)
        put(world, 2, "i:2", strategy=strategy)
        await asyncio.sleep(5)
        assert len(world.pods()) == 1  # the one that cannot go yet
        assert images(world) == []
        world.api.remove(r.PODS, holding["metadata"]["name"], "shop")
        await settle(world)
        assert images(world) == ["i:2"] * 2

    scenario(controllers, body)


def test_scaling_writes_the_event_users_know_and_old_sets_beyond_the_history_go() -> None:
    async def body(world: World) -> None:
        for number in range(5):
            put(world, 1, f"i:{number}", revisionHistoryLimit=2)
            await settle(world)
        assert len(world.names(r.REPLICA_SETS)) == 3
        put(world, 2, "i:4", revisionHistoryLimit=2)
        await settle(world)
        messages = [event["message"] for event in world.api.objects(r.EVENTS)]
        assert any(m.startswith("Scaled up replica set web-") and m.endswith("from 1 to 2") for m in messages)

    scenario(controllers, body)
