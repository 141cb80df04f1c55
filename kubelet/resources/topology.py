"""The layout of a machine, recorded once: the core, cache, socket and NUMA node of each CPU (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kubelet.resources.cpuset import Ids


@dataclass(frozen=True, slots=True)
class Cpu:
    """Where one logical CPU is. `core` is unique over the machine; `uncore` names its last-level cache."""

    id: int
    core: int
    socket: int
    numa: int
    uncore: int = 0


@dataclass(frozen=True, slots=True)
class NumaMemory:
    """Memory of a NUMA node in bytes, huge pages included; those by page size in bytes, as total bytes."""

    total: int
    hugepages: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Topology:
    """All CPUs and the memory of all NUMA nodes. `distances[a][b]` as the firmware says (10 = itself)."""

    cpus: tuple[Cpu, ...]
    memory: Mapping[int, NumaMemory] = field(default_factory=dict)
    distances: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[int, Cpu]:
        return {cpu.id: cpu for cpu in self.cpus}

    @cached_property
    def all_cpus(self) -> Ids:
        return frozenset(self.by_id)

    @cached_property
    def numa_nodes(self) -> tuple[int, ...]:
        return tuple(sorted({cpu.numa for cpu in self.cpus} | set(self.memory)))

    @cached_property
    def sockets(self) -> tuple[int, ...]:
        return tuple(sorted({cpu.socket for cpu in self.cpus}))

    @cached_property
    def cpus_per_core(self) -> int:
        """Threads of a core, as everywhere on the machine; 1 on an empty one."""
        cores = {cpu.core for cpu in self.cpus}
        return len(self.cpus) // len(cores) if cores else 1

    @cached_property
    def cpus_per_uncore(self) -> int:
        caches = {cpu.uncore for cpu in self.cpus}
        return len(self.cpus) // len(caches) if caches else 1

    def in_numa(self, nodes: Iterable[int]) -> Ids:
        wanted = set(nodes)
        return frozenset(cpu.id for cpu in self.cpus if cpu.numa in wanted)

    def numa_of(self, cpus: Iterable[int]) -> Ids:
        return frozenset(self.by_id[number].numa for number in cpus)

    def sockets_of_numa(self, nodes: Iterable[int]) -> Ids:
        wanted = set(nodes)
        return frozenset(cpu.socket for cpu in self.cpus if cpu.numa in wanted)

    def average_distance(self, nodes: Iterable[int]) -> float:
        """Mean over every pair within `nodes`, themselves included; unknown pairs count 10 or 20."""
        chosen = sorted(nodes)
        total = sum(
            self.distances.get(one, {}).get(other, 10 if one == other else 20)
            for one in chosen
            for other in chosen
        )
        return total / len(chosen) ** 2 if chosen else 0.0
