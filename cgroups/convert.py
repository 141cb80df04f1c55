"""The formulas from Kubernetes resources to cgroup numbers. Whole numbers in, whole numbers out.

CPU comes in thousandths of a core, memory in bytes, periods and quotas in microseconds.
"""

from __future__ import annotations

import math

from cgroups.constants import (
    MAX_BURSTABLE_OOM_SCORE_ADJ,
    MAX_SHARES,
    MAX_WEIGHT,
    MILLI_CPU_PER_CPU,
    MIN_BURSTABLE_OOM_SCORE_ADJ,
    MIN_QUOTA_US,
    MIN_SHARES,
    MIN_WEIGHT,
    PAGE_BYTES,
    QUOTA_PERIOD_US,
    SHARES_PER_CPU,
)


def shares_from_milli_cpu(milli_cpu: int) -> int:
    """cpu.shares of a request; nothing asked for is the least (cm/helpers_linux.go MilliCPUToShares)."""
    return min(max(milli_cpu * SHARES_PER_CPU // MILLI_CPU_PER_CPU, MIN_SHARES), MAX_SHARES)


def quota_from_milli_cpu(milli_cpu: int, period_us: int = QUOTA_PERIOD_US) -> int:
    """CFS quota of a limit in microseconds per period; 0 = no limit (MilliCPUToQuota)."""
    if milli_cpu == 0:
        return 0
    return max(milli_cpu * period_us // MILLI_CPU_PER_CPU, MIN_QUOTA_US)


def weight_from_shares(shares: int) -> int:
    """cpu.weight that the agent writes for pods and QoS tiers; 0 = leave it (cm getCPUWeight).

    Linear from [2, 262144] to [1, 10000]. Runtimes use another curve for containers.
    """
    if shares == 0:
        return 0
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    span = MAX_WEIGHT - MIN_WEIGHT
    return MIN_WEIGHT + (shares - MIN_SHARES) * span // (MAX_SHARES - MIN_SHARES)


def burstable_oom_score_adj(memory_request_bytes: int, memory_capacity_bytes: int) -> int:
    """oom_score_adj of a Burstable container: the more it asked for, the safer (qos/policy.go)."""
    if memory_capacity_bytes <= 0:
        return MAX_BURSTABLE_OOM_SCORE_ADJ
    score = 1000 - 1000 * memory_request_bytes // memory_capacity_bytes
    return min(max(score, MIN_BURSTABLE_OOM_SCORE_ADJ), MAX_BURSTABLE_OOM_SCORE_ADJ)


def runtime_weight_from_shares(shares: int) -> int:
    """cpu.weight that runc >= 1.3.2 and crun >= 1.23 write for containers; 0 = leave it.

    A curve through 2 -> 1, 1024 -> 100 (the kernel's default at Kubernetes' one core) and 262144 -> 10000:
    ceil(10 ** ((l*l + 125*l) / 612 - 7/34)) with l = log2(shares) (opencontainers/cgroups utils.go).
    """
    if shares == 0:
        return 0
    if shares <= MIN_SHARES:
        return MIN_WEIGHT
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612.0 - 7.0 / 34.0))


def memory_high(request_bytes: int, ceiling_bytes: int, factor: float, page_bytes: int = PAGE_BYTES) -> int:
    """Where a container is slowed down, in whole pages; 0 = nowhere (MemoryQoS, KEP-2570).

    `ceiling_bytes` is the limit, or the node's allocatable memory where there is none. Nothing when the
    request is the limit, or when rounding leaves no more than the request.
    """
    if ceiling_bytes <= 0 or ceiling_bytes == request_bytes:
        return 0
    high = int((request_bytes + (ceiling_bytes - request_bytes) * factor) // page_bytes) * page_bytes
    return high if high > request_bytes else 0


def limited_swap(request_bytes: int, node_memory_bytes: int, node_swap_bytes: int) -> int:
    """memory.swap.max under LimitedSwap: the request's share of memory, of the swap (KEP-2400)."""
    if node_memory_bytes <= 0:
        return 0
    return int(request_bytes / node_memory_bytes * node_swap_bytes)


def hugetlb_name(page_bytes: int) -> str:
    """A page size as hugetlb files spell it: 2097152 -> "2MB"."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if page_bytes % size == 0:
            return f"{page_bytes // size}{unit}"
    return f"{page_bytes}B"
