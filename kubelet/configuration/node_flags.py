"""Faults in the flags that describe the node (pure): `--node-ip`, `--node-labels`.

Rules: kubelet 1.36, cmd/kubelet/app/options (ValidateKubeletFlags) and component-helpers/node/util/ips.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from kubelet.flags import Flags
from kubelet.node import labels

_PAIR = "must contain either a single IP or a dual-stack pair of IPs"


def faults(flags: Flags) -> list[str]:
    """One sentence per fault; [] when the flags can be used."""
    return [*labels.problems(flags.node_labels), *_node_ip(flags.node_ip)]


def _node_ip(text: str) -> Iterator[str]:
    families = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            families.append(ip_address(part).version)
        except ValueError:
            yield f'bad --node-ip "{text}": "{part}" is not an IP address'
            return
    if len(families) > 2 or len(set(families)) != len(families):
        yield f'bad --node-ip "{text}": {_PAIR}'
