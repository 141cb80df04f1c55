"""The node's own nftables table, as text: the API server's ClusterIP, and the way outside (pure).

One table of the family ip, named after the instance. It is replaced as a whole in one transaction, so there
is no moment without it, and removed by its name. Nothing of another table is read or changed.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_TABLE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_\-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class NodeRules:
    """`service` is where pods look for the API server, `server` where it listens. `is_for_all`: pods are on a
    network of somebody else's making, whose ranges are not known here."""

    table: str
    bridge: str
    pod_cidr: str
    service_address: str = ""
    service_port: int = 443
    server_address: str = ""
    server_port: int = 6443
    is_for_all: bool = False


def ruleset(rules: NodeRules) -> str:
    """What `nft -f -` reads. ValueError for a value that is no address, range, port or name."""
    _check(rules)
    pods, bridge = rules.pod_cidr, rules.bridge
    body = []
    if rules.service_address:
        to_server = (
            f"ip daddr {rules.service_address} tcp dport {rules.service_port} "
            f"dnat to {rules.server_address}:{rules.server_port}"
        )
        body += [
            # Only for pods of this network: another instance on this host may have the same service range.
            _chain(
                "services",
                "type nat hook prerouting priority dstnat",
                to_server if rules.is_for_all else f"ip saddr {pods} {to_server}",
            ),
            # The node's own processes, pods on the host's network among them.
            _chain("local-services", "type nat hook output priority -100", to_server),
        ]
    outside = f'ip saddr {pods} ip daddr != {pods} oifname != "{bridge}" masquerade'
    # A pod that reaches itself through a hostPort or service would answer itself without this.
    hairpin = f'ip saddr {pods} ip daddr {pods} oifname "{bridge}" ct status dnat masquerade'
    body.append(_chain("outside", "type nat hook postrouting priority srcnat", outside, hairpin))
    inside = "\n".join(body)
    # Adding before deleting: deleting a table that is not there would fail the transaction.
    head = f"add table ip {rules.table}\ndelete table ip {rules.table}\n"
    return f"{head}table ip {rules.table} {{\n{inside}\n}}\n"


def removal(table: str) -> str:
    """What takes the table away, whether it is there or not."""
    return f"add table ip {table}\ndelete table ip {table}\n"


def _chain(name: str, hook: str, *rules: str) -> str:
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    {hook}; policy accept;\n{lines}  }}"


def _check(rules: NodeRules) -> None:
    ipaddress.IPv4Network(rules.pod_cidr)
    if not _TABLE_NAME.match(rules.table) or not re.match(r"[a-zA-Z0-9_.\-]{1,15}\Z", rules.bridge):
        raise ValueError(f'cannot write rules: because "{rules.table}" or "{rules.bridge}" is no name')
    if rules.service_address:
        ipaddress.IPv4Address(rules.service_address)
        ipaddress.IPv4Address(rules.server_address)
        for port in (rules.service_port, rules.server_port):
            if not 0 < port < 65536:
                raise ValueError(f"cannot write rules: because {port} is no port")
