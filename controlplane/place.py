"""Where this control plane is: the address by which others reach it, and its names for the certificate."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from controlplane.flags import Flags

LOOPBACK = "127.0.0.1"
# Of no host (RFC 5737 and 3849): asking the kernel for a way there sends nothing.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True, slots=True)
class Place:
    """`advertised` is what pods are sent to; `hosts` are all names of the server that are known."""

    advertised: str
    hosts: tuple[str, ...]


def place_of(flags: Flags) -> Place:
    """--advertise-address, else --bind-address when it is one, else the host's address on its default route,
    else loopback."""
    bound = ipaddress.ip_address(flags.bind_address)
    own = "" if bound.is_unspecified else str(bound)
    advertised = flags.advertise_address or own or _route_address() or LOOPBACK
    hosts = (advertised, own, socket.gethostname(), *flags.tls_sans)
    return Place(advertised, tuple(dict.fromkeys(host for host in hosts if host)))


def joined(address: str, port: int) -> str:
    """HOST:PORT, as it stands in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _route_address() -> str:
    for family, target in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((target, 9))
                return str(asking.getsockname()[0])
        except OSError:
            # No way out by this family.
            continue
    return ""
