"""What a cluster has before anybody writes to it: namespaces, priority classes, the `kubernetes` Service with
its endpoints, and the content of the root-CA ConfigMap.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from kube.validation.policies import SYSTEM_CLASSES

Json = dict[str, Any]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
ROOT_CA = "kube-root-ca.crt"
SERVICE = "kubernetes"
_DESCRIPTIONS = {
    "system-node-critical": ("Used for system critical pods that must not be moved from their current node."),
    "system-cluster-critical": (
        "Used for system critical pods that must run in the cluster, but can be moved to another node if "
        "necessary."
    ),
}


def namespaces() -> list[Json]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        for name in NAMESPACES
    ]


def priority_classes() -> list[Json]:
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": _DESCRIPTIONS[name],
            "preemptionPolicy": "PreemptLowerPriority",
        }
        for name, value in SYSTEM_CLASSES.items()
    ]


def service_address(network: str) -> str:
    """The first address of the service range is the API server's."""
    return str(ipaddress.ip_network(network)[1])


def kubernetes_service(network: str, port: int = 6443) -> Json:
    """Port 443 in front of the servers, which listen on `port`; where they are is in the endpoints."""
    address = service_address(network)
    family = "IPv6" if ipaddress.ip_address(address).version == 6 else "IPv4"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"provider": "kubernetes", "component": "apiserver"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
        "status": {"loadBalancer": {}},
    }


def kubernetes_endpoints(addresses: list[str], port: int) -> Json:
    """Where the servers listen. The mirroring controller leaves these alone: the slice is written too."""
    listed = [{"ip": address} for address in addresses]
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": listed, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }


def kubernetes_endpoint_slice(addresses: list[str], port: int) -> Json:
    """Addresses of one family, that of the first."""
    version = ipaddress.ip_address(addresses[0]).version
    same = [address for address in addresses if ipaddress.ip_address(address).version == version]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "addressType": f"IPv{version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in same],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def root_ca(namespace: str, ca: str) -> Json:
    """The ConfigMap by which pods trust the API server, one in every namespace (rootcacertpublisher)."""
    note = (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints "
        "such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
        "distributions of Kubernetes clusters."
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ROOT_CA,
            "namespace": namespace,
            "annotations": {"kubernetes.io/description": note},
        },
        "data": {"ca.crt": ca},
    }


def client_ca(ca: str) -> Json:
    """By which other servers of the cluster know its client certificates (the authentication ConfigMap)."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": ca},
    }
