"""What a cluster keeps by itself: namespaces and their content, pod ranges of nodes."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import Controller
from controlplane.controllers.namespace import NamespaceController
from controlplane.controllers.namespace_content import RootCaPublisher, ServiceAccountController
from controlplane.controllers.node_ipam import NodeIpamController, allocate
from kube.client import DeleteOptions
from kube.client import resources as r
from tests.sim.controllers_world import World, scenario

pytestmark = pytest.mark.sim


def controllers(clock: VirtualClock) -> list[Controller]:
    return [
        NamespaceController(clock), ServiceAccountController(), RootCaPublisher("PEM"), NodeIpamController(),
    ]  # fmt: skip


def put(world: World, kind: str, name: str, namespace: str = "", **fields: Any) -> None:
    found = {"name": name, **({"namespace": namespace} if namespace else {})}
    world.api.put({"apiVersion": "v1", "kind": kind, "metadata": found, **fields})


def test_namespace_gets_its_account_and_ca_and_keeps_them() -> None:
    async def body(world: World) -> None:
        put(world, "Namespace", "shop")
        await asyncio.sleep(1)
        assert world.api.object(r.SERVICE_ACCOUNTS, "default", "shop")
        assert world.api.object(r.CONFIG_MAPS, "kube-root-ca.crt", "shop")["data"] == {"ca.crt": "PEM"}
        world.api.remove(r.SERVICE_ACCOUNTS, "default", "shop")
        world.api.remove(r.CONFIG_MAPS, "kube-root-ca.crt", "shop")
        await asyncio.sleep(1)
        assert world.api.object(r.SERVICE_ACCOUNTS, "default", "shop")
        put(world, "ConfigMap", "kube-root-ca.crt", "shop", data={"ca.crt": "forged", "more": "x"})
        await asyncio.sleep(1)
        assert world.api.object(r.CONFIG_MAPS, "kube-root-ca.crt", "shop")["data"] == {"ca.crt": "PEM"}

    scenario(controllers, body)


def test_deleted_namespace_empties_pods_first_and_then_goes() -> None:
    async def body(world: World) -> None:
        put(world, "Namespace", "shop")
        spec = {"nodeName": "n1", "containers": []}
        put(world, "Pod", "web", "shop", spec=spec)
        put(world, "Secret", "key", "shop")
        await asyncio.sleep(1)
        world.api.delete(r.NAMESPACES, ("", "shop"), DeleteOptions())
        await asyncio.sleep(5)
        # The pod's agent has not let go of it yet.
        assert world.api.object(r.SECRETS, "key", "shop")
        conditions = world.api.object(r.NAMESPACES, "shop")["status"]["conditions"]
        said = {item["type"]: (item["status"], item["message"]) for item in conditions}
        remaining = "Some resources are remaining: pods has 1 resource instances"
        assert said["NamespaceContentRemaining"] == ("True", remaining)
        world.api.remove(r.PODS, "web", "shop")
        await asyncio.sleep(3)
        assert world.api.find(r.NAMESPACES, "shop") is None
        assert world.api.objects(r.SECRETS, "shop") == []
        assert world.api.objects(r.SERVICE_ACCOUNTS, "shop") == []

    scenario(controllers, body)


def test_finalizer_that_holds_a_namespace_is_named() -> None:
    async def body(world: World) -> None:
        put(world, "Namespace", "shop")
        found = {"name": "held", "namespace": "shop", "finalizers": ["test/hold"]}
        world.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": found})
        world.api.delete(r.NAMESPACES, ("", "shop"), DeleteOptions())
        await asyncio.sleep(3)
        conditions = world.api.object(r.NAMESPACES, "shop")["status"]["conditions"]
        said = {item["type"]: item["message"] for item in conditions}
        held = "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances"
        assert said["NamespaceFinalizersRemaining"] == held
        world.api.remove(r.CONFIG_MAPS, "held", "shop")
        await asyncio.sleep(3)
        assert world.api.find(r.NAMESPACES, "shop") is None

    scenario(controllers, body)


def test_every_node_gets_a_range_of_its_own_and_keeps_it() -> None:
    async def body(world: World) -> None:
        for name in ("a", "b", "c"):
            put(world, "Node", name)
        await asyncio.sleep(1)
        ranges = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in world.api.objects(r.NODES)}
        assert ranges == {"a": "10.244.0.0/24", "b": "10.244.1.0/24", "c": "10.244.2.0/24"}
        world.api.remove(r.NODES, "b")
        put(world, "Node", "d")
        await asyncio.sleep(1)
        found = world.api.object(r.NODES, "d")["spec"]
        assert (found["podCIDR"], found["podCIDRs"]) == ("10.244.1.0/24", ["10.244.1.0/24"])

    scenario(controllers, body)


def test_ranges_given_by_others_are_respected_and_a_full_cluster_says_so() -> None:
    def node(name: str, cidr: str = "") -> dict[str, Any]:
        found = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {"metadata": found, "spec": {"podCIDR": cidr} if cidr else {}}

    nodes = [node("a", "10.0.0.0/25"), node("b"), node("c")]
    assert allocate(nodes, ip_network("10.0.0.0/23")) == {"b": "10.0.1.0/24", "c": None}
    assert allocate([node("a")], ip_network("fd00::/48")) == {"a": "fd00::/64"}
