"""Which CPUs an exclusive container gets: packed tightly, or spread evenly over NUMA nodes (pure).

The order of preference is upstream's (kubernetes 1.36 pkg/kubelet/cm/cpumanager/cpu_assignment.go): whole
NUMA nodes or sockets, whichever is larger, then the smaller of the two, then whole last-level caches
(an option), whole cores, single threads; of equals the one with the fewest free CPUs, then the lowest number.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kubelet.resources.cpuset import NONE, Ids
from kubelet.resources.topology import Cpu, Topology


class NotEnoughCpus(Exception):
    """The free CPUs do not satisfy the request; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Options:
    """cpuManagerPolicyOptions of the static policy, as in 1.36."""

    full_pcpus_only: bool = False
    distribute_across_numa: bool = False
    align_by_socket: bool = False
    distribute_across_cores: bool = False
    strict_reservation: bool = False
    prefer_align_by_uncore: bool = False


OPTION_NAMES = {
    "full-pcpus-only": "full_pcpus_only",
    "distribute-cpus-across-numa": "distribute_across_numa",
    "align-by-socket": "align_by_socket",
    "distribute-cpus-across-cores": "distribute_across_cores",
    "strict-cpu-reservation": "strict_reservation",
    "prefer-align-cpus-by-uncorecache": "prefer_align_by_uncore",
}
_TRUE = {"1", "t", "T", "true", "TRUE", "True"}  # strconv.ParseBool
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


class BadOption(ValueError):
    """An option that does not exist, has no boolean value, or contradicts another."""


def parse_options(texts: dict[str, str]) -> Options:
    """The configuration's map. BadOption. Contradictions as ValidateStaticPolicyOptions names them."""
    chosen: dict[str, bool] = {}
    for name, text in texts.items():
        if name not in OPTION_NAMES:
            raise BadOption(f'unsupported cpumanager option: "{name}" ({text})')
        if text not in _TRUE | _FALSE:
            raise BadOption(f'bad value for option "{name}": "{text}" is not a boolean')
        chosen[OPTION_NAMES[name]] = text in _TRUE
    options = Options(**chosen)
    if options.distribute_across_cores and options.full_pcpus_only:
        raise BadOption(
            "static policy options full-pcpus-only and distribute-cpus-across-cores can not be used together"
        )
    if options.distribute_across_cores and options.distribute_across_numa:
        raise BadOption(
            "static policy options distribute-cpus-across-numa and distribute-cpus-across-cores "
            "can not be used together"
        )
    if options.prefer_align_by_uncore and options.distribute_across_cores:
        raise BadOption(
            "static policy options prefer-align-cpus-by-uncorecache and distribute-cpus-across-cores "
            "can not be used together"
        )
    if options.prefer_align_by_uncore and options.distribute_across_numa:
        raise BadOption(
            "static policy options prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa "
            "can not be used together"
        )
    return options


def choose(topology: Topology, free: Ids, count: int, options: Options) -> Ids:
    """`count` CPUs out of `free`. NotEnoughCpus."""
    if options.distribute_across_numa:
        group = topology.cpus_per_core if options.full_pcpus_only else 1
        spread = _distributed(topology, free, count, group, options)
        if spread is not None:
            return spread
    return _packed(topology, free, count, options)


def _packed(topology: Topology, free: Ids, count: int, options: Options) -> Ids:
    work = _Taking(topology, free, count)
    if count > len(free):
        raise NotEnoughCpus(
            f"not enough cpus available to satisfy request: requested={count}, available={len(free)}"
        )
    steps: list[Callable[[], None]] = [work.take_whole_larger, work.take_whole_smaller]
    if options.prefer_align_by_uncore:
        steps.append(work.take_caches)
    if not options.distribute_across_cores:
        steps.append(work.take_whole_cores)
    steps.append(lambda: work.take_threads(spread=options.distribute_across_cores))
    for step in steps:
        if work.needed == 0:
            break
        step()
    return frozenset(work.taken)


@dataclass(slots=True)
class _Taking:
    """CPUs being collected: what is still free, what was taken, how many are missing."""

    topology: Topology
    free: Ids
    needed: int
    taken: set[int] = field(default_factory=set)

    @property
    def numa_is_larger(self) -> bool:
        """A NUMA node holds one socket or more; else a socket holds several nodes."""
        return len(self.topology.sockets) >= len(self.topology.numa_nodes)

    def take(self, cpus: Iterable[int]) -> None:
        chosen = set(cpus)
        self.taken |= chosen
        self.free -= chosen
        self.needed -= len(chosen)

    def take_whole_larger(self) -> None:
        self._take_whole(self.larger(), self._larger_of)

    def take_whole_smaller(self) -> None:
        units = [unit for outer in self.larger() for unit in self._within(outer, self._smaller_of)]
        self._take_whole(units, self._smaller_of)

    def take_whole_cores(self) -> None:
        self._take_whole(self.cores(), lambda cpu: cpu.core)

    def take_caches(self) -> None:
        """Whole caches while they fit, then one cache that has room for all the rest, in whole cores."""
        caches = self._sorted({cpu.uncore for cpu in self._free_cpus()}, lambda cpu: cpu.uncore)
        self._take_whole(caches, lambda cpu: cpu.uncore)
        for cache in self._sorted({cpu.uncore for cpu in self._free_cpus()}, lambda cpu: cpu.uncore):
            if self.needed == 0:
                return
            inside = [cpu for cpu in self._free_cpus() if cpu.uncore == cache]
            if len(inside) >= self.needed:
                by_core = sorted(
                    inside, key=lambda cpu: (not self._is_whole_core(cpu.core), cpu.core, cpu.id)
                )
                self.take(cpu.id for cpu in by_core[: self.needed])

    def take_threads(self, *, spread: bool) -> None:
        """Single CPUs: core by core, or one of each core of a socket in turn."""
        order = (
            self._one_per_core() if spread else [cpu for core in self.cores() for cpu in self._of_core(core)]
        )
        self.take(order[: self.needed])

    def larger(self) -> list[int]:
        return self._sorted({self._larger_of(cpu) for cpu in self._free_cpus()}, self._larger_of)

    def cores(self) -> list[int]:
        """Cores with something free: by larger unit, smaller unit, free threads, number."""
        found: list[int] = []
        for outer in self.larger():
            for inner in self._within(outer, self._smaller_of):
                here = {
                    cpu.core
                    for cpu in self._free_cpus()
                    if self._larger_of(cpu) == outer and self._smaller_of(cpu) == inner
                }
                found.extend(self._sorted(here, lambda cpu: cpu.core))
        return list(dict.fromkeys(found))

    def _one_per_core(self) -> list[int]:
        order: list[int] = []
        for unit in self.larger():
            threads = [
                self._of_core(core)
                for core in sorted({cpu.core for cpu in self._free_cpus() if self._larger_of(cpu) == unit})
            ]
            for turn in itertools.zip_longest(*threads):
                order.extend(number for number in turn if number is not None)
        return list(dict.fromkeys(order))

    def _within(self, outer: int, unit: Callable[[Cpu], int]) -> list[int]:
        return self._sorted({unit(cpu) for cpu in self._free_cpus() if self._larger_of(cpu) == outer}, unit)

    def _take_whole(self, numbers: Sequence[int], unit: Callable[[Cpu], int]) -> None:
        for number in numbers:
            whole = {cpu.id for cpu in self.topology.cpus if unit(cpu) == number}
            if whole <= self.free and len(whole) <= self.needed:
                self.take(whole)

    def _sorted(self, numbers: Iterable[int], unit: Callable[[Cpu], int]) -> list[int]:
        counts: dict[int, int] = {}
        for cpu in self._free_cpus():
            counts[unit(cpu)] = counts.get(unit(cpu), 0) + 1
        return sorted(numbers, key=lambda number: (counts.get(number, 0), number))

    def _larger_of(self, cpu: Cpu) -> int:
        return cpu.numa if self.numa_is_larger else cpu.socket

    def _smaller_of(self, cpu: Cpu) -> int:
        return cpu.socket if self.numa_is_larger else cpu.numa

    def _free_cpus(self) -> list[Cpu]:
        return [cpu for cpu in self.topology.cpus if cpu.id in self.free]

    def _of_core(self, core: int) -> list[int]:
        return sorted(cpu.id for cpu in self._free_cpus() if cpu.core == core)

    def _is_whole_core(self, core: int) -> bool:
        return all(cpu.id in self.free for cpu in self.topology.cpus if cpu.core == core)


def _distributed(topology: Topology, free: Ids, count: int, group: int, options: Options) -> Ids | None:
    """An even share of every node of the smallest set of NUMA nodes that can give it; None = pack instead.

    Of several sets, the one that leaves all nodes most evenly filled. What does not divide is handed out
    group by group, over as many of the nodes as can still give one.
    """
    if count > len(free) or count == 0 or count % group:
        return None
    nodes = sorted(topology.numa_of(free))
    left = {node: len(topology.in_numa([node]) & free) for node in nodes}
    for size in range(1, len(nodes) + 1):
        options_here = [
            shares
            for combo in itertools.combinations(nodes, size)
            if (shares := _even_shares(left, combo, count, group)) is not None
        ]
        if not options_here:
            continue
        best = min(options_here, key=lambda shares: _score(topology, left, shares, options))
        chosen: Ids = NONE
        for node, share in best.items():
            here = topology.in_numa([node]) & free
            chosen |= _packed(topology, here, share, options)
        return chosen
    return None


def _even_shares(left: dict[int, int], combo: Sequence[int], count: int, group: int) -> dict[int, int] | None:
    """How many CPUs each node of `combo` gives; None when they cannot give an even share."""
    base = count // len(combo) // group * group
    if base == 0 or any(left[node] < base for node in combo):
        return None
    shares = dict.fromkeys(combo, base)
    remainder = count - base * len(combo)
    while remainder:
        givers = [node for node in combo if left[node] - shares[node] >= group]
        if not givers:
            return None
        # The fullest nodes give first: that evens out what is left.
        for node in sorted(givers, key=lambda node: (shares[node] - left[node], node)):
            if remainder:
                shares[node] += group
                remainder -= group
    return shares


def _score(
    topology: Topology, left: dict[int, int], shares: dict[int, int], options: Options
) -> tuple[bool, float]:
    """Lower is better: within one socket when that is asked for, then how uneven the nodes are afterwards."""
    crosses = options.align_by_socket and len(topology.sockets_of_numa(shares)) > 1
    after = [have - shares.get(node, 0) for node, have in left.items()]
    return crosses, statistics.pstdev(after)
