"""The runner's own promises, and all controllers with the scheduler on one fake API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.errors import Bug
from aio.virtual import run
from controlplane.controllers.base import DONE, Controller, Result, View, Writer, key_of
from controlplane.controllers.deployment import DeploymentController
from controlplane.controllers.endpointslice import EndpointSliceController
from controlplane.controllers.garbage import GarbageCollector
from controlplane.controllers.namespace import NamespaceController
from controlplane.controllers.namespace_content import RootCaPublisher, ServiceAccountController
from controlplane.controllers.node_ipam import NodeIpamController
from controlplane.controllers.node_lifecycle import NodeLifecycleController
from controlplane.controllers.replicaset import ReplicaSetController
from controlplane.controllers.runner import Runner
from controlplane.scheduler.loop import Scheduler
from kube.client import DeleteOptions, JsonObject
from kube.client import resources as r
from kube.fake import FakeApi
from kube.leader import Elector
from tests.sim.controllers_world import World, scenario, workload

pytestmark = pytest.mark.sim


def everything(clock: VirtualClock) -> list[Controller]:
    return [
        DeploymentController(clock), ReplicaSetController(clock), EndpointSliceController(),
        ReplicaSetController(clock, r.REPLICATION_CONTROLLERS), NamespaceController(clock),
        ServiceAccountController(), RootCaPublisher("PEM"), GarbageCollector(), NodeIpamController(),
        NodeLifecycleController(clock),
    ]  # fmt: skip


def put_node(world: World) -> None:
    state = {
        "allocatable": {"cpu": "8", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    world.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": state})


def test_deployment_ends_up_on_a_node_behind_a_service_and_goes_with_its_namespace() -> None:
    async def body(world: World) -> None:
        scheduler = Scheduler(world.api.client("scheduler"), clock=world.clock)
        elector = Elector(world.api.client("scheduler"), "me", clock=world.clock, name="kube-scheduler")
        task = asyncio.create_task(elector.run(scheduler.run))
        try:
            await live(world)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def live(world: World) -> None:
        put_node(world)
        world.api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        found = {"name": "web", "namespace": "shop"}
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        world.api.put({"apiVersion": "v1", "kind": "Service", "metadata": found, "spec": spec})
        world.api.put(workload("Deployment", 3))
        await asyncio.sleep(2)
        assert [pod["spec"].get("nodeName") for pod in world.pods()] == ["n1"] * 3
        world.run_pods()
        for number, pod in enumerate(world.pods()):
            world.api.put({**pod, "status": {**pod["status"], "podIP": f"10.244.0.{number}"}})
        await asyncio.sleep(2)
        slices = world.api.objects(r.ENDPOINT_SLICES, "shop")
        assert sum(len(item["endpoints"]) for item in slices) == 3
        assert world.api.object(r.DEPLOYMENTS, "web", "shop")["status"]["availableReplicas"] == 3
        assert world.api.object(r.NODES, "n1")["spec"]["podCIDR"] == "10.244.0.0/24"
        world.api.delete(r.NAMESPACES, ("", "shop"), DeleteOptions())
        for _ in range(20):
            await asyncio.sleep(2)
            for pod in world.pods():
                if "deletionTimestamp" in pod["metadata"]:
                    world.api.remove(r.PODS, pod["metadata"]["name"], "shop")
        assert world.api.find(r.NAMESPACES, "shop") is None
        assert world.pods() == []

    scenario(everything, body, check_namespaces=True)


class _Trespasser:
    """Writes what it does not declare."""

    name = "trespasser"
    reads = (r.CONFIG_MAPS,)
    writes = (r.CONFIG_MAPS,)

    def keys(self, resource: r.Resource, value: JsonObject, view: View) -> Iterable[str]:
        return (key_of(value),)

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        await api.create(r.SECRETS, {"metadata": {"name": "x", "namespace": "shop"}})
        return DONE


def test_write_of_an_undeclared_kind_ends_the_runner_and_writes_nothing() -> None:
    async def main(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        found: dict[str, Any] = {"name": "a", "namespace": "shop"}
        api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": found})
        runner = Runner(api.client(), [_Trespasser()], clock=clock)
        with pytest.raises(ExceptionGroup) as caught:
            await runner.run()
        assert caught.group_contains(Bug)
        assert api.objects(r.SECRETS) == []

    run(main)
