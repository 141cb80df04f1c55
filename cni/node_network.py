"""The network list of this node, made from its pod range: bridge, host-local and portmap.

The bridge does no masquerading of its own: that plugin runs iptables several times per pod, where the
instance's nftables table (`cni.filter_table`) needs one rule for all of them.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kube.files import write_atomically

VERSION = "1.0.0"
"""The newest that Debian 12's plugins know (containernetworking-plugins 1.1.1)."""
OLDER_VERSION = "0.4.0"


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """`pod_cidrs` are the node's spec.podCIDRs, one per family; `leases` is host-local's directory."""

    name: str
    bridge: str
    pod_cidrs: tuple[str, ...]
    leases: str
    has_portmap: bool = True
    mtu: int = 0
    version: str = VERSION


def conflist(network: NodeNetwork) -> dict[str, Any]:
    """The list as JSON. ValueError for a pod range that is no network. Pure."""
    subnets = [ipaddress.ip_network(cidr) for cidr in network.pod_cidrs]
    if not subnets:
        raise ValueError(f'cannot make the network "{network.name}": because the node has no pod range')
    defaults = ["0.0.0.0/0" if subnet.version == 4 else "::/0" for subnet in subnets]
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": network.leases,
            "ranges": [[{"subnet": str(subnet)}] for subnet in subnets],
            "routes": [{"dst": default} for default in dict.fromkeys(defaults)],
        },
    }
    if network.mtu:
        bridge["mtu"] = network.mtu
    plugins = [bridge]
    if network.has_portmap:
        plugins.append({"type": "portmap", "capabilities": {"portMappings": True}})
    return {"cniVersion": network.version, "name": network.name, "plugins": plugins}


def render(network: NodeNetwork) -> bytes:
    """The text of the .conflist file. Pure."""
    return json.dumps(conflist(network), indent=2).encode() + b"\n"


def write(network: NodeNetwork, path: Path) -> bool:
    """Put the list at `path`, whole or not at all; False when it is there already.

    Raises OSError, ValueError.

    A runtime that watches the directory never sees a half-written list, nor the temporary file: it begins
    with a dot and does not end in .conflist.
    """
    wanted = render(network)
    try:
        if path.read_bytes() == wanted:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, wanted, mode=0o644)
    return True
