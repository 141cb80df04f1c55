"""Who goes first when something runs short (pure).

Memory and disk: pods above their request, then lower priority, then the larger excess. Processes: lower
priority, then more of them. A pod that nothing is known of comes before all others. Critical pods never go.
Rules: kubernetes 1.36 pkg/kubelet/eviction/helpers.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from kubelet.eviction.signals import RESOURCE_OF, Layout, Resource, Signal


class Part(Enum):
    """Where a pod's disk use is."""

    ROOT = "writable layers"
    LOGS = "logs"
    VOLUMES = "local volumes"
    IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes and inodes."""

    used: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """One container's use and requests, in bytes; storage is its writable layer and logs."""

    name: str
    memory: int = 0
    memory_request: int = 0
    storage: int = 0
    storage_request: int = 0
    storage_limit: int | None = None


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """One emptyDir that is not in memory, with its sizeLimit."""

    name: str
    used: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class PodUse:
    """What is known of a pod. `known`: there were statistics. Memory is the working set."""

    uid: str
    priority: int = 0
    is_critical: bool = False
    known: bool = True
    grace_seconds: int = 30
    memory: int = 0
    memory_request: int = 0
    storage_request: int = 0
    storage_limit: int | None = None
    processes: int = 0
    disk: tuple[tuple[Part, Disk], ...] = ()
    containers: tuple[ContainerUse, ...] = ()
    volumes: tuple[VolumeUse, ...] = ()


_WHOLE = frozenset({Part.ROOT, Part.LOGS, Part.VOLUMES})
_WITH_NODE = frozenset({Part.LOGS, Part.VOLUMES})
_LAYERS = frozenset({Part.ROOT})
_IMAGES = frozenset({Part.IMAGES})


def measured(signal: Signal, layout: Layout) -> frozenset[Part]:
    """Which parts of a pod's use are on the signal's filesystem."""
    filesystem = signal.partition(".")[0]
    if layout is Layout.SINGLE:
        return _WHOLE
    if layout is Layout.IMAGES_APART:
        return _WITH_NODE if filesystem == "nodefs" else _LAYERS
    return _IMAGES if filesystem == "imagefs" else _WHOLE


def rank(pods: Iterable[PodUse], signal: Signal, layout: Layout = Layout.SINGLE) -> list[PodUse]:
    """All pods, the first to go first; equals in the order of their uids."""
    resource = RESOURCE_OF[signal]
    parts = measured(signal, layout)

    def key(pod: PodUse) -> tuple[bool, bool, int, int, str]:
        used, asked = _use(pod, resource, parts)
        return pod.known, used <= asked, pod.priority, asked - used, pod.uid

    if resource is Resource.PIDS:
        return sorted(pods, key=lambda pod: (pod.priority, pod.known, -pod.processes, pod.uid))
    return sorted(pods, key=key)


def victims(pods: Iterable[PodUse], signal: Signal, layout: Layout = Layout.SINGLE) -> list[PodUse]:
    """`rank` without those that are never evicted."""
    return [pod for pod in rank(pods, signal, layout) if not pod.is_critical]


def _use(pod: PodUse, resource: Resource, parts: frozenset[Part]) -> tuple[int, int]:
    """(used, requested). Nobody requests inodes."""
    if resource is Resource.MEMORY:
        return pod.memory, pod.memory_request
    disk = [of for part, of in pod.disk if part in parts]
    if resource is Resource.INODES:
        return sum(of.inodes for of in disk), 0
    return sum(of.used for of in disk), pod.storage_request
