"""Where a request for a pod, service or node goes: addresses from the objects, refusals in upstream's words
(pure; registry/core/{pod,service,node}/strategy.go, kubelet/client).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kube import status
from kube.client.model import JsonObject
from kube.errors import Status

KUBELET_PORT = 10250
WEBSOCKETS = "ExtendWebSocketsToKubelet"
"""In a Node's declaredFeatures: its kubelet takes the client's WebSocket as it is."""
# What is tried first (kubelet-preferred-address-types, as kubeadm sets it).
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")
_SCHEMES = ("http", "https", "")


@dataclass(frozen=True, slots=True)
class Target:
    """`is_kubelet`: a node's own server, which is shown the API server's certificate."""

    scheme: str
    host: str
    port: int
    is_kubelet: bool = False
    takes_websockets: bool = False

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def kubelet_of(node: JsonObject) -> Target:
    state = node.get("status") or {}
    addresses = state.get("addresses") or []
    found = [
        address["address"]
        for wanted in _ADDRESS_TYPES
        for address in addresses
        if address.get("type") == wanted and address.get("address")
    ]
    if not found:
        known = " ".join(f"{{{one.get('type')} {one.get('address')}}}" for one in addresses)
        text = f"no preferred addresses found; known addresses: [{known}]"
        raise status.error_of(Status(500, "", text))
    endpoint = (state.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    port = endpoint.get("Port") or endpoint.get("port") or KUBELET_PORT
    features = state.get("declaredFeatures") or []
    return Target("https", found[0], port, is_kubelet=True, takes_websockets=WEBSOCKETS in features)


def split_name(text: str) -> tuple[str, str, str] | None:
    """(scheme, name, port) of `name`, `name:port` or `scheme:name:port`; None for anything else."""
    parts = text.split(":")
    if len(parts) == 1:
        parts = ["", parts[0], ""]
    elif len(parts) == 2:
        parts = ["", *parts]
    if len(parts) != 3 or parts[0] not in _SCHEMES or not parts[1]:
        return None
    return parts[0], parts[1], parts[2]


def node_target(node: JsonObject, scheme: str, port: str) -> Target:
    """The kubelet, or another port of the node without credentials."""
    kubelet = kubelet_of(node)
    if port in ("", str(kubelet.port)):
        return kubelet
    return Target(scheme or "http", kubelet.host, _number(port, "node"))


def pod_target(pod: JsonObject, scheme: str, port: str, may_reach: Callable[[str], bool]) -> Target:
    """By default the first port that any container declares."""
    state = pod.get("status") or {}
    addresses = [one.get("ip") for one in state.get("podIPs") or []] or [state.get("podIP")]
    address = addresses[0] or ""
    if not may_reach(address):
        raise status.bad_request("address not allowed")
    return Target(scheme or "http", address, _number(port, "pod") if port else _first_port(pod, scheme))


def _first_port(pod: JsonObject, scheme: str) -> int:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            return int(port["containerPort"])
    return 443 if scheme == "https" else 80


def service_targets(
    service: JsonObject, slices: Sequence[JsonObject], scheme: str, port: str
) -> list[Target]:
    """All ready endpoints of one of its ports. ServiceUnavailable when there is none."""
    name = service["metadata"]["name"]
    port_name = _port_name(service, port)
    if port_name is None:
        raise _unavailable(f'no service port "{port}" found for service "{name}"')
    found = []
    for one in slices:
        for offered in one.get("ports") or []:
            if (offered.get("name") or "") != port_name or not offered.get("port"):
                continue
            ready = [e for e in one.get("endpoints") or [] if (e.get("conditions") or {}).get("ready", True)]
            found += [Target(scheme or "http", e["addresses"][0], offered["port"]) for e in ready]
    if not found:
        raise _unavailable(f'no endpoints available for service "{name}"')
    return found


def _port_name(service: JsonObject, port: str) -> str | None:
    """Endpoints know a service's port by its name. Without one asked for: that of the only port, or the one
    that has none."""
    ports: list[dict[str, Any]] = service["spec"].get("ports") or []
    if not port:
        return (ports[0].get("name") or "") if len(ports) == 1 else ""
    for one in ports:
        if port == one.get("name") or port == str(one["port"]):
            return one.get("name") or ""
    return None


def is_global_unicast(address: str) -> bool:
    """Where pods and endpoints may be: on nobody's loopback, link or group (proxyutil.IsProxyableIP)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
                or str(found) == "255.255.255.255")  # fmt: skip


def _number(port: str, what: str) -> int:
    if port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
        return int(port)
    raise status.bad_request(f'invalid {what} request: "{port}" is no port')


def _unavailable(message: str) -> Exception:
    return status.error_of(Status(503, "ServiceUnavailable", message))
