"""The checksums that upstream puts in its manager state files, so that it and we read each other's (pure).

A checkpoint's sum is FNV-1a (32 bit) over the text that Go's spew prints of the structure in its compact form
with types. Only what those structures need is spelled here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubelet.resources.memory_static import Block, NodeState, Table

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193

Entries = Mapping[str, Mapping[str, str]]


def fnv32a(text: str) -> int:
    value = _FNV_OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def of_text(data: str) -> int:
    """dataChecksum of the "data" member that later versions add."""
    return fnv32a(f"(string){data}")


def of_cpus(policy: str, default: str, entries: Entries) -> int:
    """checksum of cpu_manager_state."""
    pods = _map({uid: _map(dict(boxes)) for uid, boxes in entries.items()})
    return fnv32a(
        f"(*state.CPUManagerCheckpoint){{PolicyName:(string){policy} DefaultCPUSet:(string){default} "
        f"Entries:(map[string]map[string]string){pods} Checksum:(checksum.Checksum)0}}"
    )


def of_memory(
    policy: str, nodes: Mapping[int, NodeState], blocks: Mapping[str, Mapping[str, tuple[Block, ...]]]
) -> int:
    """checksum of memory_manager_state."""
    machine = _map({str(number): _node(nodes[number]) for number in sorted(nodes)}, is_sorted=True)
    entries = _map(
        {
            uid: _map({name: _list(map(_block, of)) for name, of in boxes.items()})
            for uid, boxes in blocks.items()
        }
    )
    return fnv32a(
        f"(*state.MemoryManagerCheckpoint){{PolicyName:(string){policy} "
        f"MachineState:(state.NUMANodeMap){machine} "
        f"Entries:(state.ContainerMemoryAssignments){entries} Checksum:(checksum.Checksum)0}}"
    )


def _node(node: NodeState) -> str:
    tables = _map({name: _table(table) for name, table in node.tables.items()})
    cells = _list(map(str, node.cells))
    return (
        f"<*>{{NumberOfAssignments:(int){node.assignments} "
        f"MemoryMap:(map[v1.ResourceName]*state.MemoryTable){tables} Cells:([]int){cells}}}"
    )


def _table(table: Table) -> str:
    return (
        f"<*>{{TotalMemSize:(uint64){table.total} SystemReserved:(uint64){table.system_reserved} "
        f"Allocatable:(uint64){table.allocatable} Reserved:(uint64){table.reserved} "
        f"Free:(uint64){table.free}}}"
    )


def _blocks(boxes: Mapping[str, tuple[Block, ...]]) -> str:
    return _map({name: _list(map(_block, blocks)) for name, blocks in boxes.items()})


def _block(block: Block) -> str:
    nodes = _list(map(str, block.nodes))
    return f"{{NUMAAffinity:([]int){nodes} Type:(v1.ResourceName){block.resource} Size:(uint64){block.size}}}"


def _map(items: Mapping[str, str], *, is_sorted: bool = False) -> str:
    keys = items if is_sorted else sorted(items)
    return "map[" + " ".join(f"{key}:{items[key]}" for key in keys) + "]"


def _list(items: Iterable[str]) -> str:
    return f"[{' '.join(items)}]"
