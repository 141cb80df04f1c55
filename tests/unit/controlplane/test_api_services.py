"""Services on their way through the API: addresses and node ports are given, kept, refused and freed."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from controlplane.api.registry import KINDS
from tests.unit.controlplane.api_world import Json, World, in_world, world

pytestmark = pytest.mark.pure
SERVICES = "/api/v1/namespaces/default/services"
MERGE = "application/merge-patch+json"


def _service(name: str, **spec: Any) -> Json:
    ports = [{"port": 80}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec},
    }  # fmt: skip


async def _patch(api: World, name: str, spec: Json, code: int = 0, **more: str) -> Json:
    return await api.do("PATCH", f"{SERVICES}/{name}", {"spec": spec}, content_type=MERGE, code=code, **more)


@in_world
async def test_a_service_is_given_an_address_of_its_family(api: World) -> None:
    first = (await api.do("POST", SERVICES, _service("a")))["spec"]
    second = (await api.do("POST", SERVICES, _service("b")))["spec"]
    assert first["clusterIP"] != second["clusterIP"]
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert first["clusterIP"].startswith("10.")
    assert (first["ipFamilies"], first["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    headless = (await api.do("POST", SERVICES, _service("c", clusterIP="None")))["spec"]
    assert headless["clusterIPs"] == ["None"]
    outside = _service("d", type="ExternalName", externalName="db.example")
    assert "clusterIP" not in (await api.do("POST", SERVICES, outside))["spec"]


@in_world
async def test_what_another_service_has_is_refused_in_upstreams_words(api: World) -> None:
    made = (await api.do("POST", SERVICES, _service("a", type="NodePort")))["spec"]
    port, address = made["ports"][0]["nodePort"], made["clusterIP"]
    wish = _service("b", type="NodePort")
    wish["spec"]["ports"] = [{"port": 1, "nodePort": port}]
    refused = await api.do("POST", SERVICES, wish, code=422)
    assert refused["message"] == (
        f'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: {port}: '
        "provided port is already allocated"
    )
    assert refused["details"]["causes"][0]["field"] == "spec.ports[0].nodePort"
    refused = await api.do("POST", SERVICES, _service("b", clusterIP=address), code=422)
    assert f"failed to allocate IP {address}: provided IP is already allocated" in refused["message"]
    refused = await api.do("POST", SERVICES, _service("b", clusterIP="192.0.2.1"), code=422)
    assert "The range of valid IPs is 10.96.0.0/12" in refused["message"]
    wish["spec"]["ports"] = [{"port": 1, "nodePort": 80}]
    refused = await api.do("POST", SERVICES, wish, code=422)
    assert "The range of valid ports is 30000-32767" in refused["message"]


@in_world
async def test_a_refused_or_dry_write_takes_nothing(api: World) -> None:
    wish = _service("a", type="NodePort", clusterIP="10.96.0.50")
    wish["spec"]["ports"] = [{"port": 0, "nodePort": 30000}]
    await api.do("POST", SERVICES, wish, code=422)
    wish["spec"]["ports"] = [{"port": 80, "nodePort": 30000}]
    dry = await api.do("POST", f"{SERVICES}?dryRun=All", wish)
    assert dry["spec"]["ports"][0]["nodePort"] == 30000
    await api.do("POST", SERVICES, wish)
    taken = await api.do("POST", SERVICES, {**wish, "metadata": {"name": "a"}}, code=422)
    assert taken["reason"] == "Invalid"


@in_world
async def test_a_deleted_service_and_a_changed_type_free_what_they_had(api: World) -> None:
    wish = _service("a", type="NodePort", clusterIP="10.96.0.50")
    wish["spec"]["ports"] = [{"port": 80, "nodePort": 30000}]
    await api.do("POST", SERVICES, wish)
    changed = (await _patch(api, "a", {"type": "ClusterIP"}))["spec"]
    assert "nodePort" not in changed["ports"][0]
    assert changed["clusterIP"] == "10.96.0.50"
    other = _service("b", type="NodePort")
    other["spec"]["ports"] = [{"port": 80, "nodePort": 30000}]
    await api.do("POST", SERVICES, other)
    await api.do("DELETE", f"{SERVICES}/a")
    await api.do("POST", SERVICES, _service("c", clusterIP="10.96.0.50"))
    gone = await _patch(api, "c", {"type": "ExternalName", "externalName": "x.y", "clusterIP": None})
    assert "clusterIP" not in gone["spec"]
    await api.do("POST", SERVICES, _service("d", clusterIP="10.96.0.50"))


@in_world
async def test_an_address_stays_once_it_is_given(api: World) -> None:
    made = (await api.do("POST", SERVICES, _service("a")))["spec"]
    refused = await _patch(api, "a", {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}, code=422)
    assert refused["details"]["causes"][0]["message"].endswith("may not change once set")
    # An update that leaves it out keeps it, as kubectl replace does.
    again = await api.do("PUT", f"{SERVICES}/a", _service("a", sessionAffinity="ClientIP"))
    assert again["spec"]["clusterIP"] == made["clusterIP"]


@in_world
async def test_one_node_port_for_many_at_once_goes_to_one(api: World) -> None:
    def wish(number: int) -> Json:
        made = _service(f"s{number}", type="NodePort")
        made["spec"]["ports"] = [{"port": 80, "nodePort": 30123}]
        return made

    answers = await asyncio.gather(*(api.ask("POST", SERVICES, wish(number)) for number in range(8)))
    assert sorted(answer.code for answer in answers) == [201] + [422] * 7


@in_world
async def test_what_is_stored_by_others_is_held_too(api: World) -> None:
    """As the `kubernetes` Service, which is written at the start."""
    kind = next(kind for kind in KINDS if kind.resource.plural == "services")
    value = (
        b'{"apiVersion":"v1","kind":"Service","metadata":{"resourceVersion":"","name":"k","namespace":'
        b'"default","uid":"u"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"]}}'
    )
    await api.store.create(kind.key("default", "k"), value)
    refused = await api.do("POST", SERVICES, _service("a", clusterIP="10.96.0.1"), code=422)
    assert "provided IP is already allocated" in refused["message"]


@in_world
async def test_two_stacks_are_refused_on_a_cluster_of_one(api: World) -> None:
    refused = await api.do("POST", SERVICES, _service("a", ipFamilyPolicy="RequireDualStack"), code=422)
    assert refused["details"]["causes"][0]["field"] == "spec.ipFamilyPolicy"
    refused = await api.do("POST", SERVICES, _service("a", ipFamilies=["IPv6"]), code=422)
    assert refused["details"]["causes"][0]["field"] == "spec.ipFamilies[0]"


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_of_writes_nothing_is_held_twice_or_for_nobody(seed: int) -> None:
    async def inside() -> None:
        async with world() as api:
            workers = (_churn(api, Random(seed * 100 + number)) for number in range(12))
            codes = Counter(code for part in await asyncio.gather(*workers) for code in part)
            assert {200, 201, 404, 409, 422} <= set(codes)
            specs = [item["spec"] for item in (await api.do("GET", SERVICES))["items"]]
            addresses = [spec["clusterIP"] for spec in specs]
            ports = [port["nodePort"] for spec in specs for port in spec["ports"] if "nodePort" in port]
            assert len(set(addresses)) == len(addresses)
            assert len(set(ports)) == len(ports)
            for spec in specs:
                assert (spec["type"] == "NodePort") is ("nodePort" in spec["ports"][0])
            for item in (await api.do("GET", SERVICES))["items"]:
                await api.do("DELETE", f"{SERVICES}/{item['metadata']['name']}")
            await api.do("POST", SERVICES, _service("last", type="NodePort"))
            assert (len(api.services.addresses), len(api.services.ports)) == (1, 1)

    asyncio.run(inside())


async def _churn(api: World, random: Random) -> list[int]:
    codes = []
    for _ in range(60):
        path = f"{SERVICES}/s{random.randint(0, 15)}"
        spec: Json = {"type": random.choice(("ClusterIP", "NodePort", "NodePort")), "ports": [{"port": 80}]}
        if spec["type"] == "NodePort" and random.random() < 0.5:
            spec["ports"][0]["nodePort"] = random.randint(30000, 30020)
        if random.random() < 0.3:
            spec["clusterIP"] = f"10.96.0.{random.randint(1, 40)}"
        chance = random.random()
        if chance < 0.45:
            answer = await api.ask("POST", SERVICES, _service(path.rpartition("/")[2], **spec))
        elif chance < 0.65:
            answer = await api.ask("PATCH", path, {"spec": {"type": spec["type"]}}, content_type=MERGE)
        else:
            answer = await api.ask("DELETE", path)
        codes.append(answer.code)
    return codes
