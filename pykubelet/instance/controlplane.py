"""How the control plane is run in an instance: its command line, addresses and names (pure)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pykubelet.instance.layout import Layout
from pykubelet.instance.network import DEFAULT_SUBNET

LOOPBACK = "127.0.0.1"
SERVICE_RANGE = "10.96.0.0/12"
"""Of Services, in every instance alike: what kubeadm uses."""

CLUSTER_RANGE = "10.244.0.0/16"
"""Of pods, where the usual instance has its usual range; one node takes a /24 of it."""


@dataclass(frozen=True, slots=True)
class ServerNeeds:
    """`advertise_address` is what pods and other hosts reach the server by; `subnet` the node's pod range."""

    port: int
    advertise_address: str
    subnet: str


def controlplane_arguments(layout: Layout, needs: ServerNeeds) -> list[str]:
    return [
        "--data-dir", str(layout.controlplane),
        "--secure-port", str(needs.port),
        "--advertise-address", needs.advertise_address,
        "--service-cluster-ip-range", SERVICE_RANGE,
        "--cluster-cidr", cluster_range(needs.subnet),
        "--address-file", str(layout.api_address),
        "-v", "2",
    ]  # fmt: skip


def cluster_range(subnet: str) -> str:
    """The range that nodes get theirs from. Where the usual one is not free the cluster is one node."""
    return CLUSTER_RANGE if subnet == DEFAULT_SUBNET else subnet


def server_url(port: int) -> str:
    """For whoever is on this host."""
    return f"https://{LOOPBACK}:{port}"


def first_service_address() -> str:
    """Of the `kubernetes` Service: the first of the range (kube-apiserver)."""
    return str(next(ipaddress.ip_network(SERVICE_RANGE).hosts()))


def gateway_of(subnet: str) -> str:
    """The bridge's address, which pods reach whatever else this host is connected to."""
    return str(next(ipaddress.ip_network(subnet).hosts()))
