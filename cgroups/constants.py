"""Bounds and fixed values of cgroup settings, each with its unit and its source.

Sources are paths in kubernetes/kubernetes 1.36.
"""

from __future__ import annotations

MIN_SHARES = 2  # pkg/kubelet/cm/helpers_linux.go MinShares, the kernel's floor of cpu.shares
MAX_SHARES = 262_144  # MaxShares, the kernel's ceiling
SHARES_PER_CPU = 1024  # SharesPerCPU
MILLI_CPU_PER_CPU = 1000  # MilliCPUToCPU
QUOTA_PERIOD_US = 100_000  # QuotaPeriod: microseconds
MIN_QUOTA_US = 1000  # MinQuotaPeriod: the kernel refuses less than 1 ms
MIN_WEIGHT = 1  # cpu.weight, Documentation/admin-guide/cgroup-v2.rst
MAX_WEIGHT = 10_000

# pkg/kubelet/qos/policy.go
KUBELET_OOM_SCORE_ADJ = -999
GUARANTEED_OOM_SCORE_ADJ = -997
BEST_EFFORT_OOM_SCORE_ADJ = 1000
# The lowest value of a Burstable container: a Guaranteed one that uses all memory scores 1000 - 997.
MIN_BURSTABLE_OOM_SCORE_ADJ = 1000 + GUARANTEED_OOM_SCORE_ADJ
MAX_BURSTABLE_OOM_SCORE_ADJ = BEST_EFFORT_OOM_SCORE_ADJ - 1

# The page that memory.high is rounded down to; amd64 and most arm64 kernels.
PAGE_BYTES = 4096
# KubeletConfiguration memoryThrottlingFactor, pkg/kubelet/apis/config/v1beta1/defaults.go
MEMORY_THROTTLING_FACTOR = 0.9
# pkg/kubelet/cm/pod_container_manager_linux.go: how often leftovers are killed before removal gives up
KILL_ATTEMPTS = 5
# What `max` in a cgroup file is as a number here.
UNLIMITED = -1
