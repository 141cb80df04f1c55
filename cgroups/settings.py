"""What the agent wants in the files of a cgroup v2 directory: limits in, a list of `Write` out.

`Settings` says it in numbers, `writes` spells it for the kernel, `missing` leaves out what is there already,
and `in_order` sorts changes of several cgroups so that no child is ever allowed more than its parent while
they are made. Rules: kubernetes 1.36 pkg/kubelet/cm (helpers_linux.go, qos_container_manager_linux.go,
node_container_manager_linux.go) and pkg/kubelet/kuberuntime/kuberuntime_container_linux.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cgroups.constants import (
    MEMORY_THROTTLING_FACTOR,
    MIN_SHARES,
    PAGE_BYTES,
    QUOTA_PERIOD_US,
    UNLIMITED,
)
from cgroups.convert import (
    hugetlb_name,
    limited_swap,
    memory_high,
    quota_from_milli_cpu,
    runtime_weight_from_shares,
    shares_from_milli_cpu,
    weight_from_shares,
)
from cgroups.tree import Name, Qos

MAX = "max"


@dataclass(frozen=True, slots=True)
class Write:
    """One file of a cgroup's directory and all that is to be in it."""

    file: str
    value: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Numbers for one cgroup. None = leave the file alone, UNLIMITED (-1) = `max`.

    `hugetlb` goes by page size in bytes. Memory and swap are bytes, the quota microseconds per period.
    """

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int = QUOTA_PERIOD_US
    memory_min: int | None = None
    memory_low: int | None = None
    memory_high: int | None = None
    memory_max: int | None = None
    swap_max: int | None = None
    pids_max: int | None = None
    oom_group: bool | None = None
    hugetlb: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a container, or a pod with everything in it, asks for.

    A limit of None: unlimited. For a pod, the limit is None as soon as one container has none; pod-level
    resources and RuntimeClass overhead are already in. `hugepages` goes by page size in bytes.
    """

    qos: Qos
    cpu_request_milli: int = 0
    cpu_limit_milli: int | None = None
    memory_request: int = 0
    memory_limit: int | None = None
    hugepages: Mapping[int, int] = field(default_factory=dict)
    is_critical: bool = False


@dataclass(frozen=True, slots=True)
class MemoryQos:
    """The MemoryQoS gate, when it is on. `tiered`: memoryReservationPolicy TieredReservation."""

    throttling_factor: float = MEMORY_THROTTLING_FACTOR
    allocatable_bytes: int = 0
    page_bytes: int = PAGE_BYTES
    tiered: bool = False


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """The configuration and the facts of the machine that settings depend on.

    `pids_limit`: podPidsLimit, -1 = none. `swap_bytes` is the swap there is, 0 when the node has none;
    `limited_swap`: swapBehavior LimitedSwap, else NoSwap.
    """

    cpu_quota: bool = True
    cpu_period_us: int = QUOTA_PERIOD_US
    pids_limit: int = UNLIMITED
    hugepage_sizes: tuple[int, ...] = ()
    memory_bytes: int = 0
    swap_bytes: int = 0
    limited_swap: bool = False
    single_process_oom_kill: bool = False
    memory_qos: MemoryQos | None = None


def pod_settings(pod: Demand, node: NodePolicy) -> Settings:
    """The cgroup of a pod (ResourceConfigForPod). Page sizes that it did not ask for get 0."""
    return Settings(
        cpu_shares=MIN_SHARES if pod.qos is Qos.BEST_EFFORT else shares_from_milli_cpu(pod.cpu_request_milli),
        cpu_quota_us=_quota(pod, node),
        cpu_period_us=node.cpu_period_us,
        memory_min=_reserved(pod, node, tier=Qos.GUARANTEED),
        memory_low=_reserved(pod, node, tier=Qos.BURSTABLE),
        memory_max=UNLIMITED if pod.memory_limit is None else pod.memory_limit,
        pids_max=UNLIMITED if node.pids_limit <= 0 else node.pids_limit,
        hugetlb=_hugetlb(pod, node),
    )


def container_settings(box: Demand, node: NodePolicy) -> Settings:
    """The cgroup of a container; a runtime writes it, told the extras by `container_unified`."""
    return Settings(
        cpu_shares=shares_from_milli_cpu(box.cpu_request_milli),
        cpu_quota_us=_quota(box, node),
        cpu_period_us=node.cpu_period_us,
        memory_min=_reserved(box, node, tier=Qos.GUARANTEED),
        memory_low=_reserved(box, node, tier=Qos.BURSTABLE),
        memory_high=_high(box, node),
        memory_max=UNLIMITED if box.memory_limit is None else box.memory_limit,
        swap_max=swap_max(box, node),
        oom_group=not node.single_process_oom_kill,
        hugetlb=_hugetlb(box, node),
    )


def container_unified(box: Demand, node: NodePolicy) -> dict[str, str]:
    """What of `container_settings` CRI has no field of its own for: file -> value."""
    settings = container_settings(box, node)
    extras = Settings(
        memory_min=settings.memory_min or None,
        memory_low=settings.memory_low or None,
        memory_high=settings.memory_high if settings.memory_high != UNLIMITED else None,
        swap_max=settings.swap_max,
        oom_group=settings.oom_group or None,
    )
    return {write.file: write.value for write in writes(extras)}


def swap_max(box: Demand, node: NodePolicy) -> int | None:
    """Bytes of swap a container may use; None on a node without swap, where the file may not exist.

    Only a Burstable, not critical container whose memory request is neither zero nor its limit gets some.
    """
    if node.swap_bytes <= 0:
        return None
    may_swap = (
        node.limited_swap
        and box.qos is Qos.BURSTABLE
        and not box.is_critical
        and box.memory_request != 0
        and box.memory_request != box.memory_limit
    )
    return limited_swap(box.memory_request, node.memory_bytes, node.swap_bytes) if may_swap else 0


def tier_settings(qos: Qos, pods: Iterable[Demand], node: NodePolicy) -> Settings:
    """The cgroup of Burstable or BestEffort pods, given all pods of the node. Huge pages are unlimited here.

    For Guaranteed it is kubepods itself and only what MemoryQoS keeps for pods is set.
    """
    pods = list(pods)
    burstable = [pod for pod in pods if pod.qos is Qos.BURSTABLE]
    guaranteed = [pod for pod in pods if pod.qos is Qos.GUARANTEED]
    inside = {Qos.BURSTABLE: burstable, Qos.GUARANTEED: [*guaranteed, *burstable]}.get(qos, [])
    memory_min = memory_low = None
    if node.memory_qos is not None and qos is not Qos.BEST_EFFORT:
        memory_min = sum(_reserved(pod, node, tier=Qos.GUARANTEED) or 0 for pod in inside)
        memory_low = sum(_reserved(pod, node, tier=Qos.BURSTABLE) or 0 for pod in inside)
    if qos is Qos.GUARANTEED:
        return Settings(memory_min=memory_min, memory_low=memory_low)
    shares = MIN_SHARES
    if qos is Qos.BURSTABLE:
        shares = shares_from_milli_cpu(sum(pod.cpu_request_milli for pod in burstable))
    return Settings(
        cpu_shares=shares,
        memory_min=memory_min,
        memory_low=memory_low,
        hugetlb=dict.fromkeys(node.hugepage_sizes, UNLIMITED),
    )


def writes(settings: Settings, *, by_runtime: bool = False) -> tuple[Write, ...]:
    """As the kernel wants it. `by_runtime`: with the cpu.weight that runtimes compute for containers."""
    found: list[Write] = []
    if settings.cpu_shares is not None:
        curve = runtime_weight_from_shares if by_runtime else weight_from_shares
        weight = curve(settings.cpu_shares)
        if weight:
            found.append(Write("cpu.weight", str(weight)))
    if settings.cpu_quota_us is not None:
        quota = MAX if settings.cpu_quota_us == UNLIMITED else str(settings.cpu_quota_us)
        found.append(Write("cpu.max", f"{quota} {settings.cpu_period_us}"))
    limits = (
        ("memory.min", settings.memory_min),
        ("memory.low", settings.memory_low),
        ("memory.high", settings.memory_high),
        ("memory.max", settings.memory_max),
        ("memory.swap.max", settings.swap_max),
        ("pids.max", settings.pids_max),
        *((f"hugetlb.{hugetlb_name(size)}.max", settings.hugetlb[size]) for size in sorted(settings.hugetlb)),
    )
    found.extend(Write(name, _text(limit)) for name, limit in limits if limit is not None)
    if settings.oom_group is not None:
        found.append(Write("memory.oom.group", "1" if settings.oom_group else "0"))
    return tuple(found)


def missing(wanted: Iterable[Write], present: Mapping[str, str]) -> tuple[Write, ...]:
    """The writes that change something, given the files' present text.

    Compared with what the file holds, as the kernel shows it: limits come back rounded down to pages.
    """
    return tuple(
        write
        for write in wanted
        if write.file not in present or not _is_same(write, present[write.file].strip())
    )


@dataclass(frozen=True, slots=True)
class Change:
    """A write in a cgroup, with what the file holds now ("" = unknown)."""

    name: Name
    write: Write
    present: str = ""

    @property
    def grows(self) -> bool:
        return self.present == "" or amount_of(self.write.value) >= amount_of(self.present)


def in_order(changes: Iterable[Change], leaves: Iterable[Name] = ()) -> list[Change]:
    """Parents grow first, from the top; then leaves, those that shrink first; parents shrink last.

    `leaves` are the containers' cgroups (facts of in-place resize: pod up, containers, pod down).
    """
    bottom = set(leaves)

    def key(change: Change) -> tuple[int, int, Name, str]:
        depth = len(change.name)
        if change.name in bottom:
            phase = 2 if change.grows else 1
        else:
            phase, depth = (0, depth) if change.grows else (3, -depth)
        return phase, depth, change.name, change.write.file

    return sorted(changes, key=key)


def shrink_problem(what: str, limit_bytes: int, usage_bytes: int) -> str:
    """Why memory.max must not go down to `limit_bytes` now: the kernel would kill. "" when it may.

    `what`: "pod" or "container"; the text is upstream's (kuberuntime_manager.go validateMemoryResizeAction).
    """
    if limit_bytes == UNLIMITED or usage_bytes < limit_bytes:
        return ""
    return (
        f"cannot decrease memory limits: attempting to set {what} memory limit ({limit_bytes}) "
        f"below current usage ({usage_bytes})"
    )


def amount_of(text: str) -> float:
    """A file's text as a number to compare by: `max` is infinite, cpu.max is the share of a core."""
    parts = text.split()
    if not parts:
        return 0.0
    if parts[0] == MAX:
        return float("inf")
    return int(parts[0]) / int(parts[1]) if len(parts) > 1 else float(int(parts[0]))


def _is_same(write: Write, present: str) -> bool:
    if write.value == present:
        return True
    if write.file.startswith("memory.") and write.value.isdigit() and present.isdigit():
        return int(write.value) // PAGE_BYTES * PAGE_BYTES == int(present)
    return False


def _quota(demand: Demand, node: NodePolicy) -> int:
    if not node.cpu_quota or not demand.cpu_limit_milli:
        return UNLIMITED
    return quota_from_milli_cpu(demand.cpu_limit_milli, node.cpu_period_us)


def _hugetlb(demand: Demand, node: NodePolicy) -> dict[int, int]:
    return dict.fromkeys(node.hugepage_sizes, 0) | dict(demand.hugepages)


def _reserved(demand: Demand, node: NodePolicy, *, tier: Qos) -> int | None:
    """memory.min (`tier` Guaranteed) or memory.low (Burstable): the request, where MemoryQoS protects it so.

    Tiered: Guaranteed pods are protected hard and Burstable ones softly; else every request is hard.
    """
    if node.memory_qos is None:
        return None
    if not node.memory_qos.tiered:
        return demand.memory_request if tier is Qos.GUARANTEED else None
    return demand.memory_request if demand.qos is tier else 0


def _high(box: Demand, node: NodePolicy) -> int | None:
    if node.memory_qos is None:
        return None
    policy = node.memory_qos
    ceiling = policy.allocatable_bytes if box.memory_limit is None else box.memory_limit
    high = memory_high(box.memory_request, ceiling, policy.throttling_factor, policy.page_bytes)
    return high or UNLIMITED


def _text(limit: int) -> str:
    return MAX if limit == UNLIMITED else str(limit)
