"""Reads what of the host decides whether a configuration can be used there.

Pure parsers over the texts of /proc/self/mounts and /proc/swaps, and one reader.
"""

from __future__ import annotations

from pathlib import Path

from kubelet.configuration.validation import HostFacts

CGROUP_ROOT = "/sys/fs/cgroup"


def is_cgroup2_unified(mounts: str) -> bool:
    """Whether /sys/fs/cgroup itself is cgroup2, given the text of /proc/self/mounts.

    On the hybrid layout it is a tmpfs with the v1 hierarchies below. The last mount on a path is what counts.
    """
    kind = ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) > 2 and parts[1] == CGROUP_ROOT:
            kind = parts[2]
    return kind == "cgroup2"


def swap_devices(swaps: str) -> tuple[str, ...]:
    """The devices and files in the text of /proc/swaps; swap on zram counts, as upstream counts it."""
    return tuple(line.split()[0] for line in swaps.splitlines()[1:] if line.strip())


def read_host(proc: Path = Path("/proc")) -> HostFacts:
    """The facts of this host. A kernel without swap support has no /proc/swaps."""
    swaps = proc / "swaps"
    return HostFacts(
        is_cgroup2_unified=is_cgroup2_unified((proc / "self" / "mounts").read_text()),
        swap_devices=swap_devices(swaps.read_text()) if swaps.exists() else (),
    )
