"""A range of pod addresses per node, written to spec.podCIDR once and never changed.

All nodes are one key: two ranges are never chosen at the same time. A node that is deleted gives its range
back; ranges that nodes already have are respected whoever gave them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from aio import log as logs
from controlplane.controllers.base import DONE, Result, View, Writer
from controlplane.recorder import WARNING, Note
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

log = logs.get(__name__)

ALL = "all-nodes"
IPV4_NODE_BITS = 24
IPV6_NODE_BITS = 64
FULL_EVENT = "CIDRNotAvailable"
Network = IPv4Network | IPv6Network


def ranges_of(node: JsonObject) -> list[str]:
    spec = node.get("spec") or {}
    found: list[str] = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return found


def allocate(nodes: Iterable[JsonObject], cluster: Network) -> dict[str, str | None]:
    """The range for each node that has none, by name; None when none is left. Oldest nodes first."""
    ordered = sorted(
        nodes, key=lambda node: (node["metadata"]["creationTimestamp"], node["metadata"]["name"])
    )
    taken = [ip_network(text, strict=False) for node in ordered for text in ranges_of(node)]
    bits = IPV4_NODE_BITS if cluster.version == 4 else IPV6_NODE_BITS
    free = (
        part for part in cluster.subnets(new_prefix=max(bits, cluster.prefixlen))
        if not any(part.version == other.version and part.overlaps(other) for other in taken)
    )  # fmt: skip
    wanting = [node["metadata"]["name"] for node in ordered if not ranges_of(node)]
    return {name: str(part) if (part := next(free, None)) is not None else None for name in wanting}


class NodeIpamController:
    name = "node-ipam-controller"
    reads = (r.NODES,)
    writes = (r.NODES,)

    def __init__(self, cluster_cidr: str = "10.244.0.0/16") -> None:
        self._cluster = ip_network(cluster_cidr)

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        return (ALL,)

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        for name, cidr in allocate(view.all(r.NODES), self._cluster).items():
            node = view.get(r.NODES, name)
            if node is None:
                continue  # gone while the others were written
            if cidr is None:
                log.warning("No pod range is left for a node", node=name, cluster=str(self._cluster))
                note = Note(FULL_EVENT, f"Node {name} status is now: {FULL_EVENT}", WARNING)
                api.tell(r.NODES, node, note)
                continue
            await api.patch(r.NODES, node, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
        return DONE
