"""Record a machine's layout from sysfs, once at start; a machine without NUMA is one node 0.

Cores and caches are named by their lowest CPU, which is unique over the machine as core_id is not (upstream
does the same, pkg/kubelet/cm/cpumanager/topology getUniqueCoreID). Blocks on the disk for some milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kubelet.resources.cpuset import parse
from kubelet.resources.topology import Cpu, NumaMemory, Topology

SYSTEM = Path("/sys/devices/system")
_LAST_LEVEL = "3"
_PAGES_PREFIX = "hugepages-"


def record(system: Path = SYSTEM, memory_bytes: int = 0) -> Topology:
    """What is online below /sys/devices/system. `memory_bytes`: of the whole machine, for one without NUMA.

    Raises OSError or ValueError when a file is missing or reads strangely: nothing may be pinned then.
    """
    nodes = sorted(parse(_text(system / "node/online"))) if (system / "node/online").exists() else []
    numa_of = {cpu: node for node in nodes for cpu in parse(_text(system / f"node/node{node}/cpulist"))}
    online = sorted(parse(_text(system / "cpu/online")))
    cpus = tuple(_cpu(system, number, numa_of.get(number, 0)) for number in online)
    memory = {node: _memory(system / f"node/node{node}") for node in nodes}
    distances = {
        node: dict(zip(nodes, map(int, _text(system / f"node/node{node}/distance").split()), strict=True))
        for node in nodes
    }
    return Topology(cpus, memory or {0: NumaMemory(memory_bytes)}, distances)


def _cpu(system: Path, number: int, numa: int) -> Cpu:
    here = system / f"cpu/cpu{number}"
    return Cpu(
        id=number,
        core=min(parse(_text(here / "topology/thread_siblings_list"))),
        socket=int(_text(here / "topology/physical_package_id")),
        numa=numa,
        uncore=_last_cache(here),
    )


def _last_cache(cpu: Path) -> int:
    """The lowest CPU that shares the third-level cache; 0, one for all, where there is none."""
    for level in sorted(cpu.glob("cache/index*/level")):
        if _text(level) == _LAST_LEVEL:
            return min(parse(_text(level.parent / "shared_cpu_list")))
    return 0


def _memory(node: Path) -> NumaMemory:
    total = next(
        int(line.split()[3]) * 1024 for line in _text(node / "meminfo").splitlines() if "MemTotal:" in line
    )
    return NumaMemory(total, dict(_hugepages(node)))


def _hugepages(node: Path) -> Iterator[tuple[int, int]]:
    """(page size, bytes in such pages) for every size the kernel knows."""
    for directory in sorted(node.glob(f"hugepages/{_PAGES_PREFIX}*")):
        size = int(directory.name.removeprefix(_PAGES_PREFIX).removesuffix("kB")) * 1024
        yield size, size * int(_text(directory / "nr_hugepages"))


def _text(path: Path) -> str:
    return path.read_text().strip()
