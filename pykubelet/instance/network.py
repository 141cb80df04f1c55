"""The pod network of one instance: its range, and the CNI configuration. All but the route reader is pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cni.filter_table import NodeRules, ruleset
from cni.node_network import NodeNetwork, render
from pykubelet.errors import CommandError
from pykubelet.instance.layout import Layout
from pykubelet.instance.record import Record

DEFAULT_SUBNET = "10.244.0.0/24"
"""The usual instance's: the first /24 of what Kubernetes set-ups commonly use."""

POOL = ipaddress.IPv4Network("10.128.0.0/10")
CONFLIST_NAME = "10-pykubelet.conflist"
_Network = ipaddress.IPv4Network


def read_routes() -> str:
    return Path("/proc/net/route").read_text()


def routed_networks(routes: str) -> list[_Network]:
    """The destinations in the text of /proc/net/route, the default route left out."""
    found = []
    for line in routes.splitlines()[1:]:
        parts = line.split()
        if len(parts) < 8:
            continue
        # Hexadecimal of the number as it lies in memory: little-endian on every machine we run on.
        destination, mask = (int(parts[at], 16).to_bytes(4, "little") for at in (1, 7))
        if any(mask):
            found.append(ipaddress.IPv4Network((destination, bin(int.from_bytes(mask, "big")).count("1"))))
    return found


def choose_subnet(layout: Layout, taken: Iterable[_Network]) -> str:
    """A /24 that overlaps none of `taken`: the usual one for the usual instance, else one of its tag."""
    routed = list(taken)
    candidates = [ipaddress.IPv4Network(DEFAULT_SUBNET)] if layout.is_default else []
    pool = list(POOL.subnets(new_prefix=24))
    begin = int(layout.tag, 16) % len(pool)
    for candidate in (*candidates, *pool[begin:], *pool[:begin]):
        if not any(candidate.overlaps(network) for network in routed):
            return str(candidate)
    raise CommandError(f"cannot find a pod range: because every /24 of {POOL} is routed elsewhere")


def conflist(layout: Layout, subnet: str, *, has_portmap: bool) -> bytes:
    """What the agent will write once the cluster has given the node this range: the runtime need not wait."""
    network = NodeNetwork(
        name=layout.network, bridge=layout.bridge, pod_cidrs=(subnet,), leases=str(layout.leases),
        has_portmap=has_portmap,
    )  # fmt: skip
    return render(network)


def rules(layout: Layout, record: Record, service_address: str) -> str:
    """The instance's own nftables table: pods' way outside and, in a cluster, to the API server."""
    server = "" if record.is_standalone else record.advertise_address
    return ruleset(
        NodeRules(
            table=layout.nft_table,
            bridge=layout.bridge,
            pod_cidr=record.subnet,
            service_address=service_address if server else "",
            server_address=server,
            server_port=record.api_port,
            is_for_all=not record.is_private_runtime and not record.conflist,
        )
    )
