"""Where requests for nodes, pods and services go, and the reader of their answers: values alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api.streaming.answer_reading import AnswerReader, BadAnswer
from controlplane.api.streaming.targets import (
    is_global_unicast,
    kubelet_of,
    node_target,
    pod_target,
    service_targets,
    split_name,
)
from kube.errors import StatusError

pytestmark = pytest.mark.pure


def node(*addresses: tuple[str, str], port: int = 0, **status: Any) -> dict[str, Any]:
    listed = [{"type": kind, "address": address} for kind, address in addresses]
    endpoints = {"kubeletEndpoint": {"Port": port}} if port else {}
    return {"status": {"addresses": listed, "daemonEndpoints": endpoints, **status}}


def test_kubelet_is_at_the_nodes_internal_address_and_its_own_port() -> None:
    found = kubelet_of(
        node(("Hostname", "n"), ("ExternalIP", "9.9.9.9"), ("InternalIP", "10.0.0.1"), port=777)
    )
    assert (found.scheme, found.host, found.port, found.is_kubelet) == ("https", "10.0.0.1", 777, True)
    assert kubelet_of(node(("Hostname", "n"))).authority == "n:10250"
    assert kubelet_of(node(("InternalIP", "fd00::1"))).authority == "[fd00::1]:10250"
    with pytest.raises(StatusError, match="no preferred addresses found"):
        kubelet_of(node())


def test_only_a_node_that_says_so_takes_web_sockets() -> None:
    assert not kubelet_of(node(("InternalIP", "10.0.0.1"))).takes_websockets
    declared = node(("InternalIP", "10.0.0.1"), declaredFeatures=["A", "ExtendWebSocketsToKubelet"])
    assert kubelet_of(declared).takes_websockets


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a", ("", "a", "")), ("a:80", ("", "a", "80")), ("https:a:80", ("https", "a", "80")),
     ("https:a:", ("https", "a", "")), ("ftp:a:1", None), (":", None), ("a:b:c:d", None), ("", None)],
)  # fmt: skip
def test_names_of_proxies_carry_scheme_and_port(text: str, wanted: tuple[str, str, str] | None) -> None:
    assert split_name(text) == wanted


def test_another_port_of_a_node_sees_no_credentials() -> None:
    found = node_target(node(("InternalIP", "10.0.0.1"), port=10250), "", "9100")
    assert (found.scheme, found.port, found.is_kubelet) == ("http", 9100, False)
    assert node_target(node(("InternalIP", "10.0.0.1"), port=10250), "http", "10250").is_kubelet


def test_pod_is_reached_at_its_first_declared_port_and_never_on_loopback() -> None:
    spec = {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 8080}]}]}
    pod = {"spec": spec, "status": {"podIPs": [{"ip": "10.1.0.2"}]}}
    assert pod_target(pod, "", "", is_global_unicast).authority == "10.1.0.2:8080"
    assert pod_target(pod, "https", "99", is_global_unicast).authority == "10.1.0.2:99"
    for address in ("127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::1", "fe80::1", "", "name"):
        with pytest.raises(StatusError, match="address not allowed"):
            pod_target({**pod, "status": {"podIP": address}}, "", "80", is_global_unicast)


def test_service_is_its_ready_endpoints_of_that_port() -> None:
    service = {
        "metadata": {"name": "s"},
        "spec": {"ports": [{"name": "web", "port": 80}, {"name": "admin", "port": 81}]},
    }
    slices = [
        {
            "ports": [{"name": "web", "port": 8080}, {"name": "admin", "port": 8081}],
            "endpoints": [
                {"addresses": ["10.1.0.2"], "conditions": {"ready": True}},
                {"addresses": ["10.1.0.3"], "conditions": {}},
                {"addresses": ["10.1.0.4"], "conditions": {"ready": False}},
            ],
        }
    ]
    found = service_targets(service, slices, "", "81")
    assert [one.authority for one in found] == ["10.1.0.2:8081", "10.1.0.3:8081"]
    assert [one.port for one in service_targets(service, slices, "", "web")] == [8080, 8080]
    for port in ("", "82"):
        with pytest.raises(StatusError):
            service_targets(service, slices, "", port)


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\nhello"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello"


@given(st.sampled_from([LENGTH, CHUNKS, CONTINUED, TO_THE_END]), st.integers(1, 40))
def test_answer_is_read_however_it_is_framed_and_cut(raw: bytes, size: int) -> None:
    reader = AnswerReader()
    for at in range(0, len(raw), size):
        reader.feed(raw[at : at + size])
    reader.end()
    assert (reader.code, b"".join(reader.pieces)) == (404 if raw is CHUNKS else 200, b"hello")
    assert reader.is_whole and (raw in (CHUNKS, TO_THE_END) or reader.headers["x-a"] == "1, 2")


@pytest.mark.parametrize("raw", [LENGTH[:-1], CHUNKS[:-9], LENGTH[:30], b"", b"nonsense\r\n\r\n"])
def test_answer_that_breaks_off_is_no_answer(raw: bytes) -> None:
    reader = AnswerReader()
    with pytest.raises(BadAnswer):
        reader.feed(raw)
        reader.end()


def test_what_comes_behind_a_101_is_the_tunnels() -> None:
    reader = AnswerReader()
    reader.feed(SWITCHED)
    assert reader.is_upgrade and reader.rest == b"hello" and not reader.pieces


def test_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    reader = AnswerReader(has_body=False)
    reader.feed(LENGTH[: LENGTH.index(b"hello")])
    assert reader.is_whole
