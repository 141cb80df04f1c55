"""Cluster addresses and node ports."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.allocation.pool import Full, Pool, addresses, ports
from controlplane.allocation.services import Services
from kube.errors import InvalidObject

pytestmark = pytest.mark.pure
Json = dict[str, Any]


def service(name: str = "web", *listed: Json, **spec: Any) -> Json:
    meta = {"name": name, "namespace": "a", "uid": f"u-{name}"}
    return {"metadata": meta, "spec": {"type": "ClusterIP", "ports": list(listed) or [{"port": 80}], **spec}}


def cluster(network: str = "10.96.0.0/24") -> Services:
    return Services(network, ports(), lambda: 0)


def refused(services: Services, item: Json) -> str:
    with pytest.raises(InvalidObject) as caught:
        services.allocate(item)
    return caught.value.message


def test_the_lower_band_is_left_for_those_who_ask_by_name() -> None:
    wide = addresses("10.96.0.0/12")
    assert (wide.dynamic - wide.first, wide.last - wide.first + 1) == (256, 2**20 - 2)
    assert ports().dynamic == 30000 + 86
    small = Pool(addresses("10.96.0.0/27"))
    found = [small.take("x", 5) for _ in range(30)]
    assert len(set(found)) == 30
    assert all(number >= small.range.dynamic for number in found[:14])
    with pytest.raises(Full):
        small.take("x", 0)


def test_a_service_gets_an_address_and_asking_for_anothers_is_refused() -> None:
    services = cluster()
    one = service()
    services.allocate(one)
    assert one["spec"]["clusterIP"] == "10.96.0.17"
    assert one["spec"]["clusterIPs"] == ["10.96.0.17"]
    same = service("other", clusterIP="10.96.0.17")
    assert refused(services, same).endswith(
        "failed to allocate IP 10.96.0.17: provided IP is already allocated"
    )
    assert "The range of valid IPs is 10.96.0.0/24" in refused(services, service("x", clusterIP="10.1.0.1"))
    services.settle(one, None)
    services.allocate(same)


def test_headless_and_external_services_get_none() -> None:
    services = cluster()
    for item in (service(clusterIP="None"), service(type="ExternalName")):
        services.allocate(item)
    assert len(services.addresses) == 0


def test_a_refused_service_takes_nothing() -> None:
    services = cluster()
    assert "spec.ports[0].nodePort: Invalid value: 99: provided port is not in the valid range" in refused(
        services, service("x", {"port": 80, "nodePort": 99}, {"port": 81}, type="NodePort")
    )
    assert len(services.addresses) == len(services.ports) == 0


def test_node_ports_are_single_but_shared_by_protocols() -> None:
    services = cluster()
    both = service("dns", {"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}, type="NodePort")
    services.allocate(both)
    assert [port["nodePort"] for port in both["spec"]["ports"]] == [30086, 30086]
    clash = service("x", {"port": 80, "nodePort": 30086}, type="NodePort")
    assert "provided port is already allocated" in refused(services, clash)


def test_an_update_keeps_what_it_leaves_out_and_frees_what_it_drops() -> None:
    services = cluster()
    old = service(type="NodePort")
    services.allocate(old)
    new = service(type="NodePort")
    services.allocate(new, old)
    assert new == old
    plain = service("web", {"port": 80, "nodePort": 30086})
    services.allocate(plain, old)
    assert plain["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert "nodePort" not in plain["spec"]["ports"][0]
    services.settle(old, plain)
    assert (len(services.addresses), len(services.ports)) == (1, 0)
    services.settle(plain, None)
    assert len(services.addresses) == 0


def test_a_failed_write_gives_back_only_what_it_took() -> None:
    services = cluster()
    old = service()
    services.allocate(old)
    taken = services.allocate(service(type="NodePort"), old)
    assert len(services.ports) == 1
    services.undo(taken)
    assert (len(services.addresses), len(services.ports)) == (1, 0)


def test_pools_are_filled_from_what_is_stored_as_often_as_one_likes() -> None:
    services = cluster()
    stored = [service("one", clusterIP="10.96.0.9"), service("two", clusterIP="10.96.0.9"),
              service("three", clusterIP="10.1.0.1")]  # fmt: skip
    wrong = services.hold_all(stored)
    assert wrong == services.hold_all(stored)
    assert len(wrong) == 2
    assert 'is held by service "a/one/u-one"' in wrong[0]
    assert "not in the range" in wrong[1]
    assert "already allocated" in refused(services, service("four", clusterIP="10.96.0.9"))


def test_a_full_range_says_so() -> None:
    services = cluster("10.96.0.0/30")
    for name in ("a", "b"):
        services.allocate(service(name))
    assert "range is full" in refused(services, service("c"))
