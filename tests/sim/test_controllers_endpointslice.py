"""EndpointSlices: the decision, and the controller against the fake API server under virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import Controller
from controlplane.controllers.endpointslice import EndpointSliceController, decide
from kube.client import resources as r
from tests.sim.controllers_world import World, scenario

pytestmark = pytest.mark.sim


def service(**spec: Any) -> dict[str, Any]:
    wanted = {
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "web"}],
        **spec,
    }
    found = {"name": "web", "namespace": "shop", "uid": "svc"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": found, "spec": wanted}


def pod(number: int, *, port: int = 8080, ready: bool = True, **found: Any) -> dict[str, Any]:
    metadata = {
        "name": f"p{number}",
        "namespace": "shop",
        "uid": f"u{number}",
        "labels": {"app": "web"},
        **found,
    }
    container = {"name": "main", "ports": [{"name": "web", "containerPort": port}]}
    condition = {"type": "Ready", "status": str(ready)}
    address = f"10.0.{number // 250}.{number % 250}"
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"nodeName": "n1", "containers": [container]},
        "status": {"phase": "Running", "podIP": address, "conditions": [condition]},
    }  # fmt: skip


def named(bodies: Any) -> list[dict[str, Any]]:
    return [
        {**body, "metadata": {**body["metadata"], "name": body["metadata"].get("name", f"s{at}")}}
        for at, body in enumerate(bodies)
    ]


def test_endpoint_says_whether_it_is_ready_serving_or_leaving() -> None:
    pods = [pod(1), pod(2, ready=False), pod(3, deletionTimestamp="2026-01-01T00:00:00Z")]
    (body,) = decide(service(), pods, [], {"n1": "z1"}).create
    assert [item["conditions"] for item in body["endpoints"]] == [
        {"ready": True, "serving": True, "terminating": False},
        {"ready": False, "serving": False, "terminating": False},
        {"ready": False, "serving": True, "terminating": True},
    ]
    assert body["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    first = body["endpoints"][0]
    assert (first["nodeName"], first["zone"], first["targetRef"]["name"]) == ("n1", "z1", "p1")
    wants_all = decide(service(publishNotReadyAddresses=True), pods, [], {}).create[0]
    assert all(item["conditions"]["ready"] for item in wants_all["endpoints"])


def test_slices_hold_a_hundred_and_a_change_touches_one() -> None:
    pods = [pod(number) for number in range(250)]
    slices = named(decide(service(), pods, [], {}).create)
    assert [len(item["endpoints"]) for item in slices] == [100, 100, 50]
    same = decide(service(), pods, slices, {})
    assert (same.create, same.update, same.delete) == ((), (), ())
    plan = decide(service(), [*pods[:120], *pods[121:]], slices, {})
    assert (plan.create, plan.delete) == ((), ())
    assert sorted(item["metadata"]["name"] for item in plan.update) == ["s1"]


def test_pods_whose_named_port_differs_get_slices_of_their_own() -> None:
    plan = decide(service(), [pod(1), pod(2, port=9090)], [], {})
    assert sorted((body["ports"][0]["port"], len(body["endpoints"])) for body in plan.create) == [
        (8080, 1),
        (9090, 1),
    ]


def test_service_without_pods_keeps_one_empty_slice() -> None:
    (body,) = decide(service(), [], [], {}).create
    assert (body["endpoints"], body["ports"]) == ([], [])
    plan = decide(service(), [], named([body]), {})
    assert (plan.create, plan.update, plan.delete) == ((), (), ())
    filled = decide(service(), [pod(1)], named([body]), {})
    assert (len(filled.create), len(filled.delete)) == (1, 1)


def test_headless_service_is_labelled_and_pods_have_host_names() -> None:
    wanted = pod(1)
    wanted["spec"] |= {"hostname": "db-0", "subdomain": "web"}
    (body,) = decide(service(clusterIP="None"), [wanted], [], {}).create
    assert body["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert body["endpoints"][0]["hostname"] == "db-0"


def test_slices_follow_pods_that_come_become_ready_and_go() -> None:
    def controllers(clock: VirtualClock) -> list[Controller]:
        return [EndpointSliceController()]

    def ready(world: World) -> list[str]:
        found = [item for slice_ in world.api.objects(r.ENDPOINT_SLICES) for item in slice_["endpoints"]]
        return sorted(item["targetRef"]["name"] for item in found if item["conditions"]["ready"])

    async def body(world: World) -> None:
        world.api.put(service())
        await asyncio.sleep(1)
        assert len(world.names(r.ENDPOINT_SLICES)) == 1
        for number in (1, 2):
            world.api.put(pod(number, ready=number == 1))
        await asyncio.sleep(1)
        assert ready(world) == ["p1"]
        (found,) = world.api.objects(r.ENDPOINT_SLICES)
        assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
        world.api.put(pod(2))
        await asyncio.sleep(1)
        assert ready(world) == ["p1", "p2"]
        world.api.remove(r.PODS, "p1", "shop")
        await asyncio.sleep(1)
        assert ready(world) == ["p2"]
        world.api.remove(r.ENDPOINT_SLICES, found["metadata"]["name"], "shop")
        await asyncio.sleep(1)
        assert ready(world) == ["p2"]
        creates = [req for req in world.api.requests if req.verb == "create"]
        assert len(creates) == 3

    scenario(controllers, body)
