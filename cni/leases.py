"""host-local's leases as they lie on disk: DIR/NETWORK/ADDRESS holds the container's id and interface.

containernetworking/plugins plugins/ipam/host-local/backend/disk: the id on the first line, the interface on
the second, lines parted by CR LF. What is read here is only for finding leases whose pod is gone; they are
given back through the plugin, never by removing the file.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cni.invocation import Attachment


@dataclass(frozen=True, slots=True)
class Lease:
    address: str
    container_id: str
    interface: str

    @property
    def attachment(self) -> Attachment:
        return Attachment(self.container_id, self.interface)


def parse(name: str, text: str) -> Lease | None:
    """The lease in a file of this name, None for anything else in the directory. Pure."""
    try:
        address = str(ipaddress.ip_address(name))
    except ValueError:
        return None
    lines = text.split()
    return Lease(address, lines[0], lines[1] if len(lines) > 1 else "eth0") if lines else None


def read(directory: Path, network: str, *, before: float = math.inf) -> list[Lease]:
    """Every lease of a network that was given before that time (wall seconds); none when it never had one.
    Raises OSError."""
    place = directory / network
    if not place.is_dir():
        return []
    found = []
    for path in sorted(place.iterdir()):
        try:
            if path.stat().st_mtime >= before:
                continue
            lease = parse(path.name, path.read_text(errors="replace"))
        except (FileNotFoundError, IsADirectoryError):
            # Given back just now, or no lease at all.
            continue
        if lease is not None:
            found.append(lease)
    return found


def stale(leases: Collection[Lease], live: Collection[str]) -> list[Lease]:
    """Those of containers that are gone. Pure."""
    return [lease for lease in leases if lease.container_id not in live]
