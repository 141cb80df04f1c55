"""Node lifecycle: its decisions, and silent nodes against the fake API server under virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import Controller
from controlplane.controllers.node_lifecycle import NodeLifecycleController, leaves_in, wanted_taints
from kube import meta
from kube.client import resources as r
from tests.sim.controllers_world import World, scenario

pytestmark = pytest.mark.sim

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNREACHABLE = "node.kubernetes.io/unreachable"


def controllers(clock: VirtualClock) -> list[Controller]:
    return [NodeLifecycleController(clock)]


def put_node(world: World, name: str) -> None:
    stamp = meta.format_time(world.clock.now())
    kinds = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    conditions = [
        {"type": kind, "status": value, "lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
        for kind, value in kinds.items()
    ]
    old = world.api.find(r.NODES, name)
    spec = old["spec"] if old is not None else {}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
    world.api.put({**body, "status": {"conditions": conditions}})


def beat(world: World, name: str) -> None:
    found = {"name": name, "namespace": "kube-node-lease"}
    spec = {"renewTime": meta.format_micro_time(world.clock.now())}
    world.api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": found, "spec": spec})


async def pass_time(world: World, seconds: int, *alive: str) -> None:
    for _ in range(seconds // 10):
        for name in alive:
            beat(world, name)
        await asyncio.sleep(10)


def put_pod(world: World, name: str, node: str, *tolerations: dict[str, Any]) -> None:
    spec = {"nodeName": node, "containers": [], "tolerations": list(tolerations)}
    state = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    found = {"name": name, "namespace": "shop"}
    world.api.put({"apiVersion": "v1", "kind": "Pod", "metadata": found, "spec": spec, "status": state})


def ready_of(world: World, name: str) -> str:
    conditions = world.api.object(r.NODES, name)["status"]["conditions"]
    found: str = next(item["status"] for item in conditions if item["type"] == "Ready")
    return found


def taints_of(world: World, name: str) -> list[tuple[str, str]]:
    found = world.api.object(r.NODES, name)["spec"].get("taints") or []
    return sorted((item["key"].removeprefix("node.kubernetes.io/"), item["effect"]) for item in found)


def leaving(world: World, name: str) -> bool:
    found = world.api.find(r.PODS, name, "shop")
    return found is None or "deletionTimestamp" in found["metadata"]


def test_silent_node_is_unknown_after_fifty_seconds_and_its_pods_leave_when_tolerated_no_longer() -> None:
    async def body(world: World) -> None:
        for name in ("a", "b"):
            put_node(world, name)
            beat(world, name)
        put_pod(world, "web", "b", {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})  # noqa: E501  # fmt: skip
        put_pod(world, "patient", "b", {"operator": "Exists"})
        put_pod(world, "bare", "b")
        await pass_time(world, 50, "a")
        assert ready_of(world, "b") == "True"
        await pass_time(world, 10, "a")
        assert (ready_of(world, "a"), ready_of(world, "b")) == ("True", "Unknown")
        assert taints_of(world, "b") == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]
        assert taints_of(world, "a") == []
        conditions = world.api.object(r.PODS, "web", "shop")["status"]["conditions"]
        assert conditions[0]["status"] == "False"
        assert leaving(world, "bare")
        await pass_time(world, 280, "a")
        assert not leaving(world, "web")
        await pass_time(world, 30, "a")
        assert leaving(world, "web")
        assert not leaving(world, "patient")

    scenario(controllers, body)


def test_node_that_speaks_again_loses_its_taints_and_keeps_its_pods() -> None:
    async def body(world: World) -> None:
        for name in ("a", "b"):
            put_node(world, name)
            beat(world, name)
        put_pod(world, "web", "b", {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})  # noqa: E501  # fmt: skip
        await pass_time(world, 120, "a")
        assert ready_of(world, "b") == "Unknown"
        put_node(world, "b")
        await pass_time(world, 400, "a", "b")
        assert (ready_of(world, "b"), taints_of(world, "b")) == ("True", [])
        assert not leaving(world, "web")

    scenario(controllers, body)


def test_nothing_is_emptied_while_every_node_is_silent() -> None:
    async def body(world: World) -> None:
        for name in ("a", "b"):
            put_node(world, name)
        put_pod(world, "bare", "a")
        await pass_time(world, 600)
        assert (ready_of(world, "a"), ready_of(world, "b")) == ("Unknown", "Unknown")
        for name in ("a", "b"):
            assert taints_of(world, name) == [("unreachable", "NoSchedule")]
        assert not leaving(world, "bare")

    scenario(controllers, body)


def test_taints_that_empty_a_node_are_taken_back_when_the_last_other_falls_silent() -> None:
    async def body(world: World) -> None:
        for name in ("a", "b"):
            put_node(world, name)
        await pass_time(world, 60, "a")
        assert ("unreachable", "NoExecute") in taints_of(world, "b")
        await pass_time(world, 100)
        assert taints_of(world, "b") == [("unreachable", "NoSchedule")]

    scenario(controllers, body)


def node(*conditions: tuple[str, str], **spec: Any) -> dict[str, Any]:
    said = [{"type": kind, "status": value} for kind, value in conditions]
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": said}}


def test_conditions_become_taints_and_foreign_taints_stay() -> None:
    foreign = {"key": "dedicated", "value": "db", "effect": "NoExecute"}
    pressed = node(("Ready", "True"), ("MemoryPressure", "True"), unschedulable=True, taints=[foreign])
    found = wanted_taints(pressed, NOW, may_evict=True)
    assert [(item["key"], item["effect"]) for item in found] == [
        ("dedicated", "NoExecute"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ]
    unready = node(("Ready", "False"))
    held = wanted_taints(unready, NOW, may_evict=False)
    assert [(item["key"], item["effect"]) for item in held] == [
        ("node.kubernetes.io/not-ready", "NoSchedule")
    ]
    both = wanted_taints(unready, NOW, may_evict=True)
    kept = wanted_taints(node(("Ready", "False"), taints=both), NOW + timedelta(hours=1), may_evict=False)
    assert kept == both


def test_pod_leaves_with_the_shortest_toleration_that_covers_the_taint() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": meta.format_time(NOW)}

    def pod(*tolerations: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"tolerations": list(tolerations)}}

    later = NOW + timedelta(seconds=20)
    assert leaves_in(pod(), [taint], NOW) == 0.0
    assert leaves_in(pod({"operator": "Exists"}), [taint], NOW) is None
    long, short = ({"key": "k", "value": "v", "tolerationSeconds": seconds} for seconds in (300, 60))
    assert leaves_in(pod(long, short), [taint], later) == 40.0
    assert leaves_in(pod(short), [taint], NOW + timedelta(seconds=90)) == 0.0
    assert leaves_in(pod(), [{**taint, "effect": "NoSchedule"}], NOW) is None
