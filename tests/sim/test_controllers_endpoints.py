"""Endpoints, collected pods and token Secrets: decisions, and the controllers under virtual time."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers import account_tokens, pod_collector
from controlplane.controllers.account_tokens import AccountTokens
from controlplane.controllers.base import Controller
from controlplane.controllers.endpoints import EndpointsController, subsets, wanted
from controlplane.controllers.pod_collector import PodCollector
from kube.client import DeleteOptions
from kube.client import resources as r
from tests.sim.controllers_world import World, scenario

pytestmark = pytest.mark.sim


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    found = {"name": "web", "namespace": "shop", "uid": "svc", "labels": {"tier": "front"}}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": found,
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }  # fmt: skip


def pod(number: int, *, ready: bool = True, node: str = "n1", **found: Any) -> dict[str, Any]:
    metadata = {
        "name": f"p{number}", "namespace": "shop", "uid": f"u{number}", "labels": {"app": "web"},
        "creationTimestamp": "2026-01-01T00:00:00Z", **found,
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "main"}]} if node else {"containers": []},
        "status": {
            "phase": "Running", "podIP": f"10.0.{number // 250}.{number % 250 + 1}",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }  # fmt: skip


def test_ready_and_other_addresses_share_the_subset_of_their_ports() -> None:
    found, is_cut = subsets(service(), [pod(2), pod(1), pod(3, ready=False)])
    assert is_cut is False
    assert found == [
        {
            "addresses": [
                {"ip": "10.0.0.2", "nodeName": "n1", "targetRef": {
                    "kind": "Pod", "namespace": "shop", "name": "p1", "uid": "u1"}},
                {"ip": "10.0.0.3", "nodeName": "n1", "targetRef": {
                    "kind": "Pod", "namespace": "shop", "name": "p2", "uid": "u2"}},
            ],
            "notReadyAddresses": [
                {"ip": "10.0.0.4", "nodeName": "n1", "targetRef": {
                    "kind": "Pod", "namespace": "shop", "name": "p3", "uid": "u3"}},
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }
    ]  # fmt: skip


def test_pods_on_their_way_out_stand_behind_a_service_only_when_it_wants_all() -> None:
    leaving = pod(1, deletionTimestamp="2026-01-01T00:00:00Z", ready=False)
    assert subsets(service(), [leaving]) == ([], False)
    (found,), _ = subsets(service(publishNotReadyAddresses=True), [leaving])
    assert [item["ip"] for item in found["addresses"]] == ["10.0.0.2"]


def test_of_too_many_addresses_the_ready_ones_stay_and_it_is_said() -> None:
    pods = [pod(number, ready=number >= 100) for number in range(1100)]
    value = wanted(service(), pods, None)
    assert value is not None
    (found,) = value["subsets"]
    assert len(found["addresses"]) == 1000
    assert "notReadyAddresses" not in found
    assert value["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}


def test_what_is_as_it_should_be_is_left_alone_in_any_order() -> None:
    value = wanted(service(), [pod(1), pod(2)], None)
    assert value is not None
    assert value["metadata"]["labels"] == {
        "tier": "front", "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }  # fmt: skip
    assert wanted(service(), [pod(2), pod(1)], value) is None


def make_endpoints(clock: VirtualClock) -> list[Controller]:
    return [EndpointsController()]


def test_endpoints_follow_their_service_and_go_with_it() -> None:
    async def body(world: World) -> None:
        world.api.put(service())
        await asyncio.sleep(1)
        assert [item.get("subsets") for item in world.api.objects(r.ENDPOINTS)] == [[]]
        world.api.put(pod(1))
        await asyncio.sleep(1)
        (found,) = world.api.objects(r.ENDPOINTS)
        assert found["subsets"][0]["addresses"][0]["ip"] == "10.0.0.2"
        client = world.api.client("user")
        await client.delete(r.SERVICES, "web", namespace="shop")
        await asyncio.sleep(1)
        assert world.names(r.ENDPOINTS) == []

    scenario(make_endpoints, body)


def test_endpoints_made_by_hand_are_nobody_elses_business() -> None:
    async def body(world: World) -> None:
        own = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "shop"}}
        world.api.put(service(selector={}))
        world.api.put({**own, "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]})
        await asyncio.sleep(1)
        await world.api.client("user").delete(r.SERVICES, "web", namespace="shop")
        await asyncio.sleep(1)
        (found,) = world.api.objects(r.ENDPOINTS)
        assert found["subsets"] == [{"addresses": [{"ip": "192.0.2.1"}]}]

    scenario(make_endpoints, body)


def node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {}}


def test_the_oldest_ended_pods_go_when_there_are_too_many() -> None:
    pods = [pod(number, creationTimestamp=f"2026-01-0{number}T00:00:00Z") for number in (3, 1, 2)]
    ended = [{**item, "status": {"phase": "Succeeded"}} for item in pods]
    plan = pod_collector.decide([*ended, pod(9)], ["n1"], most_ended=1)
    assert [item["metadata"]["name"] for item in plan.ended] == ["p1", "p2"]
    assert (plan.unplaced, plan.on_missing) == ((), ())


def test_pods_of_a_node_that_is_gone_end_as_failed_after_a_while() -> None:
    async def body(world: World) -> None:
        world.api.put(node("n1"))
        world.api.put(pod(1))
        world.api.put(pod(2, node="lost"))
        await asyncio.sleep(1)
        assert world.names() == ["p1", "p2"]
        await asyncio.sleep(38)
        assert world.names() == ["p1", "p2"]
        await asyncio.sleep(30)
        assert world.names() == ["p1"]

    scenario(lambda clock: [PodCollector(clock)], body)


def test_a_pod_that_was_deleted_before_it_was_placed_goes_at_once() -> None:
    plan = pod_collector.decide(
        [pod(3, node="", deletionTimestamp="2026-01-01T00:00:00Z"), pod(4, node="")], []
    )
    assert [item["metadata"]["name"] for item in plan.unplaced] == ["p3"]


def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    async def body(world: World) -> None:
        world.api.put(pod(2, node="late"))
        await asyncio.sleep(30)
        world.api.put(node("late"))
        await asyncio.sleep(100)
        assert world.names() == ["p2"]

    scenario(lambda clock: [PodCollector(clock)], body)


def test_a_pod_whose_node_is_gone_says_by_whom_it_was_ended() -> None:
    found = pod_collector.failed_status(pod(1), datetime(2026, 1, 1, tzinfo=UTC))
    assert found["phase"] == "Failed"
    assert [item["type"] for item in found["conditions"]] == ["Ready", "DisruptionTarget"]
    assert found["conditions"][1]["reason"] == "DeletionByPodGC"


def account(uid: str = "a1") -> dict[str, Any]:
    metadata = {"name": "robot", "namespace": "shop", "uid": uid}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def secret(**annotations: str) -> dict[str, Any]:
    noted = {account_tokens.ACCOUNT_NAME: "robot", **annotations}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": account_tokens.TYPE,
        "metadata": {"name": "robot-token", "namespace": "shop", "uid": "s1", "annotations": noted},
    }  # fmt: skip


def test_a_token_secret_lacks_a_token_until_it_has_one() -> None:
    change, lacks_token = account_tokens.missing(secret(), account(), "PEM")
    assert lacks_token is True
    assert change["data"] == {
        "ca.crt": base64.b64encode(b"PEM").decode(), "namespace": base64.b64encode(b"shop").decode(),
    }  # fmt: skip
    assert change["metadata"] == {"annotations": {account_tokens.ACCOUNT_UID: "a1"}}
    full = secret(**{account_tokens.ACCOUNT_UID: "a1"})
    full["data"] = {**change["data"], "token": "dG9rZW4="}
    assert account_tokens.missing(full, account(), "PEM") == ({}, False)


def test_a_token_secret_is_an_orphan_when_its_account_is_another_one() -> None:
    assert account_tokens.is_orphan(secret(), None)
    assert not account_tokens.is_orphan(secret(), account())
    assert account_tokens.is_orphan(secret(**{account_tokens.ACCOUNT_UID: "old"}), account())


def test_token_secrets_go_with_their_account() -> None:
    async def body(world: World) -> None:
        uid = world.api.put(account())["metadata"]["uid"]
        full = secret(**{account_tokens.ACCOUNT_UID: uid})
        full["data"] = {"token": "dG9rZW4=", "ca.crt": "UEVN", "namespace": "c2hvcA=="}
        world.api.put(full)
        world.api.put({**secret(), "type": "Opaque", "metadata": {"name": "own", "namespace": "shop"}})
        await asyncio.sleep(1)
        assert world.names(r.SECRETS) == ["own", "robot-token"]
        options = DeleteOptions(grace_period_seconds=0)
        await world.api.client("user").delete(r.SERVICE_ACCOUNTS, "robot", namespace="shop", options=options)
        await asyncio.sleep(1)
        assert world.names(r.SECRETS) == ["own"]

    scenario(lambda _: [AccountTokens("PEM")], body)
