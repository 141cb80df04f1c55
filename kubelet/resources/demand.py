"""What a pod asks of the managers and of its cgroup: sums, pod-level resources, overhead (pure).

Rules: kubernetes 1.36 component-helpers/resource (AggregateContainerRequests and limits): sidecars run beside
everything that starts after them, other init containers one at a time; overhead comes on top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cgroups.settings import Demand
from cgroups.tree import Qos
from kube.meta import is_critical
from kube.objects.core_v1 import Pod, ResourceRequirements
from kube.qos import QOSClass, of_pod
from kubelet.podspec.names import AnyContainer
from kubelet.podspec.resources import amount, is_sidecar, limits_of, milli_cpu, requests_of
from kubelet.resources.cpu_static import CpuAsk
from kubelet.resources.memory_static import MEMORY, MemoryAsk

_HUGEPAGES = "hugepages-"
Resources = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PodAsks:
    """One pod's wishes to the managers, in the order its containers start."""

    cpus: tuple[CpuAsk, ...]
    memory: tuple[MemoryAsk, ...]


def pod_demand(pod: Pod) -> Demand:
    """For the pod's cgroup. A limit stays None unless the pod, or every container of it, has one."""
    level = pod.spec.resources or ResourceRequirements()
    return Demand(
        qos=Qos(of_pod(pod).value),
        cpu_request_milli=_requested(pod, level, milli_cpu_of, "cpu"),
        cpu_limit_milli=_limited(pod, level, milli_cpu_of),
        memory_request=_requested(pod, level, memory_of, MEMORY),
        memory_limit=_limited(pod, level, memory_of),
        hugepages=_pod_hugepages(pod, level),
        is_critical=is_critical(pod),
    )


def container_demand(pod: Pod, container: AnyContainer) -> Demand:
    """For one container's cgroup."""
    limits, requests = limits_of(container), requests_of(container)
    cpu_limit, memory_limit = milli_cpu_of(limits), memory_of(limits)
    return Demand(
        qos=Qos(of_pod(pod).value),
        cpu_request_milli=_asked(requests, limits, milli_cpu_of, "cpu"),
        cpu_limit_milli=cpu_limit or None,
        memory_request=_asked(requests, limits, memory_of, MEMORY),
        memory_limit=memory_limit or None,
        hugepages=_hugepages(limits),
        is_critical=is_critical(pod),
    )


def pod_asks(pod: Pod) -> PodAsks:
    """What the static managers are asked for. Pods with pod-level resources are left to the shared pool."""
    pinned = of_pod(pod) is QOSClass.GUARANTEED and not _has_level(pod)
    boxes = [*pod.spec.init_containers, *pod.spec.containers]
    ending = [box.name for box in pod.spec.init_containers if not is_sidecar(pod, box)]
    uid = pod.metadata.uid
    return PodAsks(
        cpus=tuple(
            CpuAsk(uid, box.name, whole_cpus(requests_of(box)) if pinned else 0, frozenset(ending))
            for box in boxes
        ),
        memory=tuple(
            MemoryAsk(uid, box.name, _memory_sizes(requests_of(box)) if pinned else {}, tuple(ending))
            for box in boxes
        ),
    )


def whole_cpus(requests: Resources) -> int:
    """CPUs to own: the request when it is a whole number of them, else 0."""
    milli = milli_cpu(requests)
    return milli // 1000 if milli % 1000 == 0 else 0


def pod_cpus(pod: Pod) -> int:
    """CPUs that the pod owns at its peak; what the scope "pod" of the topology manager asks for."""
    asks = {ask.container: ask.count for ask in pod_asks(pod).cpus}
    return _peak(pod, lambda box: asks[box.name])


def pod_memory(pod: Pod) -> dict[str, int]:
    """Bytes by resource that the pod holds at its peak; {} when nothing is pinned."""
    asks = {ask.container: ask.sizes for ask in pod_asks(pod).memory}
    names = sorted({name for sizes in asks.values() for name in sizes})

    def size_of(name: str) -> Callable[[AnyContainer], int]:
        return lambda box: asks[box.name].get(name, 0)

    return {name: _peak(pod, size_of(name)) for name in names}


def milli_cpu_of(resources: Resources) -> int:
    return milli_cpu(resources)


def memory_of(resources: Resources) -> int:
    return amount(resources, MEMORY)


def _requested(pod: Pod, level: ResourceRequirements, read: Callable[[Resources], int], name: str) -> int:
    own = _asked(level.requests, level.limits, read, name)
    peak = own or _peak(pod, lambda box: _asked(requests_of(box), limits_of(box), read, name))
    return peak + read(pod.spec.overhead)


def _asked(requests: Resources, limits: Resources, read: Callable[[Resources], int], name: str) -> int:
    """The request; only a missing one is the limit, an explicit zero is not."""
    return read(requests if name in requests else limits)


def _limited(pod: Pod, level: ResourceRequirements, read: Callable[[Resources], int]) -> int | None:
    own = read(level.limits)
    if not own:
        boxes = [*pod.spec.init_containers, *pod.spec.containers]
        if not boxes or not all(read(limits_of(box)) for box in boxes):
            return None
        own = _peak(pod, lambda box: read(limits_of(box)))
    return own + read(pod.spec.overhead)


def _peak(pod: Pod, size_of: Callable[[AnyContainer], int]) -> int:
    """The most at once: all containers and sidecars, or an init container with the sidecars before it."""
    sidecars = highest = 0
    for box in pod.spec.init_containers:
        if is_sidecar(pod, box):
            sidecars += size_of(box)
            highest = max(highest, sidecars)
        else:
            highest = max(highest, sidecars + size_of(box))
    return max(highest, sidecars + sum(size_of(box) for box in pod.spec.containers))


def _hugepages(limits: Resources) -> dict[int, int]:
    return {
        amount({"size": name.removeprefix(_HUGEPAGES)}, "size"): amount(limits, name)
        for name in limits
        if name.startswith(_HUGEPAGES)
    }


def _pod_hugepages(pod: Pod, level: ResourceRequirements) -> dict[int, int]:
    own = _hugepages(level.limits)
    boxes = [*pod.spec.init_containers, *pod.spec.containers]
    sizes = {size for box in boxes for size in _hugepages(limits_of(box))}

    def size_of(page: int) -> Callable[[AnyContainer], int]:
        return lambda box: _hugepages(limits_of(box)).get(page, 0)

    return {size: _peak(pod, size_of(size)) for size in sizes} | own


def _memory_sizes(requests: Resources) -> dict[str, int]:
    return {
        name: amount(requests, name) for name in requests if name == MEMORY or name.startswith(_HUGEPAGES)
    }


def _has_level(pod: Pod) -> bool:
    level = pod.spec.resources
    return level is not None and bool(level.requests or level.limits)
