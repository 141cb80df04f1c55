"""Limits that keep the machine's own share from pods: kubepods, and the reserved cgroups.

Rules: kubernetes 1.36 pkg/kubelet/cm/node_container_manager_linux.go. The limit of kubepods leaves out the
hard eviction thresholds, which node allocatable subtracts besides: eviction must act before the kernel does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cgroups.convert import shares_from_milli_cpu
from cgroups.settings import Settings

PODS = "pods"
SYSTEM_RESERVED = "system-reserved"
KUBE_RESERVED = "kube-reserved"
COMPRESSIBLE = "-compressible"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Thousandths of a core, bytes, processes. None: not stated."""

    cpu_milli: int | None = None
    memory: int | None = None
    pids: int | None = None
    hugepages: Mapping[int, int] = field(default_factory=dict)


def kubepods_settings(capacity: Amounts, reserved: tuple[Amounts, ...], *, enforced: bool) -> Settings:
    """The cgroup of all pods. `reserved`: kube and system; not `enforced` ("pods" left out): capacity."""
    return _settings(_less(capacity, reserved) if enforced else capacity)


def reserved_settings(reserved: Amounts, enforcement: str) -> Settings:
    """systemReservedCgroup or kubeReservedCgroup under one entry of enforceNodeAllocatable.

    A "-compressible" entry limits CPU alone: running out of it slows down, running out of memory kills.
    """
    if enforcement.endswith(COMPRESSIBLE):
        return _settings(Amounts(cpu_milli=reserved.cpu_milli))
    return _settings(reserved)


def _settings(amounts: Amounts) -> Settings:
    return Settings(
        cpu_shares=None if amounts.cpu_milli is None else shares_from_milli_cpu(amounts.cpu_milli),
        memory_max=amounts.memory,
        pids_max=amounts.pids,
        hugetlb=dict(amounts.hugepages),
    )


def _less(capacity: Amounts, taken: tuple[Amounts, ...]) -> Amounts:
    def rest(have: int | None, takes: list[int | None]) -> int | None:
        return None if have is None else max(have - sum(take or 0 for take in takes), 0)

    return Amounts(
        cpu_milli=rest(capacity.cpu_milli, [one.cpu_milli for one in taken]),
        memory=rest(capacity.memory, [one.memory for one in taken]),
        pids=rest(capacity.pids, [one.pids for one in taken]),
        hugepages={
            size: max(have - sum(one.hugepages.get(size, 0) for one in taken), 0)
            for size, have in capacity.hugepages.items()
        },
    )
