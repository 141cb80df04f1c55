"""Resource arithmetic of pods and containers: limits, requests, and what the runtime is told.

Formulas are in `cgroups.convert`; this module decides which numbers go in (kuberuntime_container_linux.go,
qos/policy.go). All results are whole numbers: thousandths of a core, bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from cgroups.constants import BEST_EFFORT_OOM_SCORE_ADJ, GUARANTEED_OOM_SCORE_ADJ
from cgroups.convert import burstable_oom_score_adj, quota_from_milli_cpu, shares_from_milli_cpu
from cri.types import HugepageLimit, LinuxContainerResources
from kube import quantity
from kube.meta import is_critical
from kube.objects.core_v1 import Container, Pod, ResourceRequirements
from kube.qos import QOSClass, of_pod
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.names import AnyContainer

SYSTEM_NODE_CRITICAL = "system-node-critical"
_HUGEPAGES = "hugepages-"


def milli_cpu(resources: Mapping[str, str], name: str = "cpu") -> int:
    """Thousandths of a core, rounded up; 0 when not there."""
    text = resources.get(name)
    return 0 if text is None else quantity.parse(text).to_milli()


def amount(resources: Mapping[str, str], name: str) -> int:
    """Whole units (bytes), rounded up; 0 when not there."""
    text = resources.get(name)
    return 0 if text is None else quantity.parse(text).to_int()


def limits_of(container: AnyContainer) -> Mapping[str, str]:
    return container.resources.limits if container.resources is not None else {}


def requests_of(container: AnyContainer) -> Mapping[str, str]:
    return container.resources.requests if container.resources is not None else {}


def is_sidecar(pod: Pod, container: AnyContainer) -> bool:
    """An init container that keeps running: restartPolicy Always."""
    return container.restart_policy == "Always" and any(
        init.name == container.name for init in pod.spec.init_containers
    )


def pod_memory_limit(pod: Pod) -> int:
    """Bytes that the pod as a whole may use, 0 = unlimited: pod-level, else only if every container is."""
    level = amount((pod.spec.resources or ResourceRequirements()).limits, "memory")
    if level:
        return level
    running = [amount(limits_of(box), "memory") for box in pod.spec.containers]
    if not running or not all(running):
        return 0
    sidecars = 0
    init_peak = 0
    for box in pod.spec.init_containers:
        limit = amount(limits_of(box), "memory")
        if limit == 0:
            return 0
        if is_sidecar(pod, box):
            sidecars += limit
        init_peak = max(init_peak, sidecars + (0 if is_sidecar(pod, box) else limit))
    return max(sum(running) + sidecars, init_peak) + amount(pod.spec.overhead, "memory")


def oom_score_adj(pod: Pod, container: AnyContainer, memory_capacity_bytes: int) -> int:
    """How readily the kernel kills the container's processes (qos/policy.go)."""
    if is_critical(pod) and pod.spec.priority_class_name == SYSTEM_NODE_CRITICAL:
        return GUARANTEED_OOM_SCORE_ADJ
    qos = of_pod(pod)
    if qos is QOSClass.GUARANTEED:
        return GUARANTEED_OOM_SCORE_ADJ
    if qos is QOSClass.BEST_EFFORT:
        return BEST_EFFORT_OOM_SCORE_ADJ
    share = _unclaimed_memory_per_container(pod)
    request = amount(requests_of(container), "memory") + share
    if is_sidecar(pod, container):
        # A sidecar must not die before the containers that it serves.
        request = max(request, min(amount(requests_of(box), "memory") for box in pod.spec.containers) + share)
    return burstable_oom_score_adj(request, memory_capacity_bytes)


def _unclaimed_memory_per_container(pod: Pod) -> int:
    """What a pod-level memory request leaves beyond the containers' own requests, shared equally."""
    level = amount((pod.spec.resources or ResourceRequirements()).requests, "memory")
    boxes: list[Container] = [box for box in pod.spec.init_containers if is_sidecar(pod, box)]
    boxes.extend(pod.spec.containers)
    claimed = sum(amount(requests_of(box), "memory") for box in boxes)
    return max(level - claimed, 0) // len(boxes) if level and boxes else 0


def container_resources(pod: Pod, container: AnyContainer, node: NodeFacts) -> LinuxContainerResources:
    """The cgroup settings that the runtime applies to one container."""
    limits, requests = limits_of(container), requests_of(container)
    cpu_limit = milli_cpu(limits)
    # An explicit request of zero counts; only a missing one falls back to the limit.
    cpu_request = milli_cpu(requests) if "cpu" in requests or not cpu_limit else cpu_limit
    quota = quota_from_milli_cpu(cpu_limit, node.cpu_cfs_quota_period_us) if node.cpu_cfs_quota else 0
    unified = {} if node.single_process_oom_kill or not node.cgroup_v2 else {"memory.oom.group": "1"}
    return LinuxContainerResources(
        cpu_shares=shares_from_milli_cpu(cpu_request),
        cpu_period=node.cpu_cfs_quota_period_us if node.cpu_cfs_quota else 0,
        cpu_quota=quota,
        memory_limit_in_bytes=amount(limits, "memory"),
        oom_score_adj=oom_score_adj(pod, container, node.memory_capacity_bytes),
        hugepage_limits=_hugepage_limits(limits),
        unified=unified,
    )


def _hugepage_limits(limits: Mapping[str, str]) -> tuple[HugepageLimit, ...]:
    """`hugepages-2Mi: 4Mi` -> page size "2MB" as hugetlb files are named, limit in bytes."""
    found = []
    for name in sorted(limits):
        if name.startswith(_HUGEPAGES):
            page = quantity.parse(name.removeprefix(_HUGEPAGES)).to_int()
            found.append(HugepageLimit(page_size=_hugetlb_name(page), limit=amount(limits, name)))
    return tuple(found)


def _hugetlb_name(page_bytes: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if page_bytes % size == 0:
            return f"{page_bytes // size}{unit}"
    return f"{page_bytes}B"
