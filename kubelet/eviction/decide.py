"""What to do about pressure: free what is nobody's, else stop one pod, and what to tell its owner (pure).

Disk pressure first removes dead containers and unused images. One pod goes per pass; the next pass waits
for measurements taken after it is gone. Rules and texts: kubernetes 1.36
pkg/kubelet/eviction/eviction_manager.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from kube.quantity import Format, from_int
from kubelet.eviction.pressure import Observations, crossed
from kubelet.eviction.rank import ContainerUse, Part, PodUse, victims
from kubelet.eviction.signals import RESOURCE_OF, Layout, Resource, Signal, Threshold

REASON = "Evicted"
NODE_REASON = "EvictionThresholdMet"
CONDITION_TYPE = "DisruptionTarget"
CONDITION_REASON = "TerminationByKubelet"
POLL_SECONDS = 10.0  # evictionMonitoringPeriod
CLEANUP_WAIT_SECONDS = 30.0  # podCleanupTimeout
IMMEDIATE_GRACE_SECONDS = 1  # immediateEvictionGracePeriodSeconds: 0 would mean the pod's own
OFFENDING = "offending_containers"
OFFENDING_USAGE = "offending_containers_usage"
STARVED = "starved_resource"


class Reclaim(Enum):
    """What a node frees before pods have to go, in this order."""

    DEAD_CONTAINERS = "dead containers"
    UNUSED_IMAGES = "unused images"


@dataclass(frozen=True, slots=True)
class Eviction:
    """One pod to stop: status reason REASON, `message`, an event with `annotations`.

    `brake_bytes`: put this into memory.high of its cgroup at once, before it is asked to stop.
    """

    uid: str
    grace_seconds: int
    message: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    brake_bytes: int | None = None


def to_reclaim(signal: Signal, layout: Layout) -> tuple[Reclaim, ...]:
    """What may help against the signal."""
    filesystem = signal.partition(".")[0]
    both = (Reclaim.DEAD_CONTAINERS, Reclaim.UNUSED_IMAGES)
    if filesystem not in ("nodefs", "imagefs", "containerfs"):
        return ()
    if layout is Layout.SINGLE:
        return both
    if layout is Layout.IMAGES_APART:
        return () if filesystem == "nodefs" else both
    return (Reclaim.UNUSED_IMAGES,) if filesystem == "imagefs" else (Reclaim.DEAD_CONTAINERS,)


def reclaimed_enough(thresholds: Iterable[Threshold], seen: Observations) -> bool:
    """After reclaiming, on fresh measurements: no pod has to go."""
    return not crossed(thresholds, seen)


def node_message(signal: Signal) -> str:
    """Of the node's event NODE_REASON."""
    return f"Attempting to reclaim {RESOURCE_OF[signal]}"


def evict(
    threshold: Threshold,
    pods: Iterable[PodUse],
    seen: Observations,
    *,
    layout: Layout = Layout.SINGLE,
    most_grace_seconds: int = 0,
) -> Eviction | None:
    """The pod to stop for a crossed threshold, None when there is nobody but critical ones.

    `most_grace_seconds`: evictionMaxPodGracePeriod, for soft thresholds; 0 = no time, below 0 = the pod's.
    """
    ranked = victims(pods, threshold.signal, layout)
    if not ranked:
        return None
    victim = ranked[0]
    resource = RESOURCE_OF[threshold.signal]
    offending = [box for box in victim.containers if _of(box, resource)[0] > _of(box, resource)[1]]
    annotations = {STARVED: str(resource)}
    if offending:
        annotations[OFFENDING] = ",".join(box.name for box in offending)
        annotations[OFFENDING_USAGE] = ",".join(_shown(_of(box, resource)[0]) for box in offending)
    return Eviction(
        uid=victim.uid,
        grace_seconds=_grace(threshold, victim, most_grace_seconds),
        message=_message(threshold, seen, offending),
        annotations=annotations,
        brake_bytes=victim.memory if resource is Resource.MEMORY and victim.memory else None,
    )


def over_local_limits(pods: Iterable[PodUse]) -> list[Eviction]:
    """Pods beyond a storage limit of their own go at once, pressure or not (localStorageCapacityIsolation).

    Critical pods stay: no eviction touches them.
    """
    found = []
    for pod in pods:
        message = _beyond_limit(pod)
        if message and not pod.is_critical:
            found.append(Eviction(pod.uid, IMMEDIATE_GRACE_SECONDS, message))
    return found


def _beyond_limit(pod: PodUse) -> str:
    for volume in pod.volumes:
        if volume.limit and volume.used > volume.limit:
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{_shown(volume.limit)}". '
    if pod.storage_limit:
        used = sum(of.used for part, of in pod.disk if part is not Part.IMAGES)
        if used > pod.storage_limit:
            limit = _shown(pod.storage_limit)
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
    for box in pod.containers:
        if box.storage_limit is not None and box.storage > box.storage_limit:
            limit = _shown(box.storage_limit)
            return f'Container {box.name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def _grace(threshold: Threshold, pod: PodUse, most: int) -> int:
    if threshold.is_hard:
        return IMMEDIATE_GRACE_SECONDS
    if most < 0:
        return pod.grace_seconds
    return max(min(most, pod.grace_seconds), IMMEDIATE_GRACE_SECONDS)


def _message(threshold: Threshold, seen: Observations, offending: Iterable[ContainerUse]) -> str:
    resource = RESOURCE_OF[threshold.signal]
    text = f"The node was low on resource: {resource}. "
    if threshold.signal in seen:
        here = seen[threshold.signal]
        family = Format.BINARY_SI if resource in (Resource.MEMORY, Resource.STORAGE) else Format.DECIMAL_SI
        available = from_int(here.available, family)
        text += f"Threshold quantity: {threshold.limit.shown(here.capacity)}, available: {available}. "
    for box in offending:
        used, asked = _of(box, resource)
        text += (
            f"Container {box.name} was using {_shown(used)}, request is {_shown(asked)}, "
            f"has larger consumption of {resource}. "
        )
    return text


def _of(box: ContainerUse, resource: Resource) -> tuple[int, int]:
    if resource is Resource.MEMORY:
        return box.memory, box.memory_request
    if resource is Resource.STORAGE:
        return box.storage, box.storage_request
    return 0, 0


def _shown(amount: int) -> str:
    return str(from_int(amount, Format.BINARY_SI))
