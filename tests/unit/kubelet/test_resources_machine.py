"""The layout of a machine, read from a tree that looks like sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubelet.resources.machine import record
from kubelet.resources.topology import Cpu, NumaMemory

pytestmark = pytest.mark.pure


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def put_cpu(root: Path, number: int, siblings: str, package: int, cache: str = "") -> None:
    put(
        root,
        **{
            f"cpu/cpu{number}/topology/thread_siblings_list": siblings,
            f"cpu/cpu{number}/topology/physical_package_id": str(package),
        },
    )
    if cache:
        put(
            root,
            **{
                f"cpu/cpu{number}/cache/index0/level": "1",
                f"cpu/cpu{number}/cache/index0/shared_cpu_list": siblings,
                f"cpu/cpu{number}/cache/index3/level": "3",
                f"cpu/cpu{number}/cache/index3/shared_cpu_list": cache,
            },
        )


def test_two_nodes_with_huge_pages_and_distances(tmp_path: Path) -> None:
    put(tmp_path, **{"cpu/online": "0-3", "node/online": "0-1"})
    for number, siblings, package, cache in ((0, "0,2", 0, "0,2"), (1, "1,3", 1, "1,3")):
        put_cpu(tmp_path, number, siblings, package, cache)
        put_cpu(tmp_path, number + 2, siblings, package, cache)
        put(
            tmp_path,
            **{
                f"node/node{number}/cpulist": siblings,
                f"node/node{number}/distance": "10 21" if number == 0 else "21 10",
                f"node/node{number}/meminfo": f"Node {number} MemTotal: 4096 kB\nNode {number} MemFree: 1 kB",
                f"node/node{number}/hugepages/hugepages-2048kB/nr_hugepages": str(number),
            },
        )
    found = record(tmp_path)
    assert found.cpus == (Cpu(0, 0, 0, 0, 0), Cpu(1, 1, 1, 1, 1), Cpu(2, 0, 0, 0, 0), Cpu(3, 1, 1, 1, 1))
    assert dict(found.memory) == {
        0: NumaMemory(4_194_304, {2_097_152: 0}),
        1: NumaMemory(4_194_304, {2_097_152: 2_097_152}),
    }
    assert (found.distances[0][1], found.cpus_per_core) == (21, 2)


def test_a_machine_without_numa_is_one_node_and_offline_cpus_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, **{"cpu/online": "0,2"})
    for number in (0, 1, 2):
        put_cpu(tmp_path, number, str(number), 0)
    found = record(tmp_path, memory_bytes=1024)
    assert [cpu.id for cpu in found.cpus] == [0, 2]
    assert (found.numa_nodes, found.memory[0].total, found.cpus_per_core) == ((0,), 1024, 1)


def test_a_layout_that_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    put(tmp_path, **{"cpu/online": "0"})
    with pytest.raises(FileNotFoundError):
        record(tmp_path)
