"""How long a container's termination message may be in a status (pure).

A container has 4 KiB (`kubelet.termination`); all of a pod's containers together have 12 KiB, shared
evenly (kubelet 1.36, pkg/kubelet/container/runtime.go MaxPodTerminationMessageLogLength).
"""

from __future__ import annotations

MAX_POD_BYTES = 12 * 1024


def bytes_per_container(containers: int) -> int:
    """The share of one container in the pod's budget."""
    return MAX_POD_BYTES // max(containers, 1)


def cut_to_budget(message: str, containers: int) -> str:
    """`message` cut at the end to its share, never inside a character."""
    limit = bytes_per_container(containers)
    if len(message) * 4 <= limit:
        return message
    return message.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
