"""The formulas from Kubernetes resources to cgroup numbers. Whole numbers in, whole numbers out.

CPU comes in thousandths of a core, memory in bytes, periods and quotas in microseconds.
"""

from __future__ import annotations

from cgroups.constants import (
    MAX_BURSTABLE_OOM_SCORE_ADJ,
    MAX_SHARES,
    MAX_WEIGHT,
    MILLI_CPU_PER_CPU,
    MIN_BURSTABLE_OOM_SCORE_ADJ,
    MIN_QUOTA_US,
    MIN_SHARES,
    MIN_WEIGHT,
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
