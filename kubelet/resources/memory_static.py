"""The static memory manager: memory and huge pages of NUMA nodes for Guaranteed pods, state to state (pure).

A node serves either containers that live on it alone, or those spread over one group of nodes it belongs to,
never both. Reuse of finished init containers' memory is kept as upstream keeps it: the blocks of all of a
pod's containers add up to what the pod holds. Rules: kubernetes 1.36
pkg/kubelet/cm/memorymanager/policy_static.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kubelet.resources.cpuset import Ids
from kubelet.resources.hints import Hint, masks
from kubelet.resources.topology import Topology

MEMORY = "memory"
_EMPTY_STATE = "[memorymanager] machine state can not be empty when it has memory assignments"
_NO_AFFINITY = (
    "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
)


class MemoryRefused(Exception):
    """The request cannot be placed; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Table:
    """One resource of one NUMA node, in bytes. allocatable = total - reserved for the system."""

    total: int
    system_reserved: int
    allocatable: int
    reserved: int
    free: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """One NUMA node. `cells`: the group it serves, itself included; `assignments` counts blocks."""

    assignments: int
    tables: Mapping[str, Table]
    cells: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of one resource held on some NUMA nodes."""

    nodes: tuple[int, ...]
    resource: str
    size: int


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What is written to the state file: nodes, and blocks by pod uid and container name."""

    nodes: Mapping[int, NodeState] = field(default_factory=dict)
    blocks: Mapping[str, Mapping[str, tuple[Block, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryAsk:
    """One container's requests in bytes by resource ("memory", "hugepages-2Mi"). Empty: nothing is pinned."""

    uid: str
    container: str
    sizes: Mapping[str, int]
    reusable_from: tuple[str, ...] = ()


def initial(topology: Topology, reserved: Mapping[int, Mapping[str, int]]) -> MemoryState:
    """Nothing given away. `reserved`: reservedMemory by node and resource. MemoryRefused without any."""
    if sum(of.get(MEMORY, 0) for of in reserved.values()) <= 0:
        raise MemoryRefused("[memorymanager] you should specify the system reserved memory")
    nodes = {}
    for node, memory in topology.memory.items():
        kept = reserved.get(node, {})
        tables = {}
        for page, size in sorted(memory.hugepages.items()):
            name = hugepages_name(page)
            tables[name] = _table(size, kept.get(name, 0), 0)
        pages = sum(memory.hugepages.values())
        tables[MEMORY] = _table(memory.total, kept.get(MEMORY, 0), pages)
        nodes[node] = NodeState(0, tables, (node,))
    return MemoryState(nodes)


def check_reserved(reserved: Mapping[int, Mapping[str, int]], node_reserved: int) -> str:
    """What is wrong with reservedMemory: it must sum to kube + system reserved + hard eviction threshold."""
    total = sum(of.get(MEMORY, 0) for of in reserved.values())
    if total == node_reserved:
        return ""
    return (
        f'the total amount "{total}" of type "{MEMORY}" is not equal to the value "{node_reserved}" '
        "determined by Node Allocatable feature"
    )


def hugepages_name(page_bytes: int) -> str:
    """2097152 -> "hugepages-2Mi"."""
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if page_bytes % size == 0:
            return f"hugepages-{page_bytes // size}{unit}"
    return f"hugepages-{page_bytes}"


def allocate(state: MemoryState, ask: MemoryAsk, hint: Hint) -> MemoryState:
    """Pin a container's memory to the hint's nodes, or to the best there are. MemoryRefused.

    Asking again for what is there changes nothing.
    """
    if not ask.sizes or ask.container in state.blocks.get(ask.uid, {}):
        return state
    chosen = hint
    if chosen.nodes is None:
        chosen = _default_hint(state, ask)
        if hint.preferred and not chosen.preferred:
            raise MemoryRefused("[memorymanager] failed to find the default preferred hint")
    if not _satisfies(state, ask, chosen.nodes or frozenset()):
        wider = _extended(state, ask, chosen.nodes or frozenset())
        if chosen.preferred and not wider.preferred:
            raise MemoryRefused("[memorymanager] failed to find the extended preferred hint")
        chosen = wider
    nodes = tuple(sorted(chosen.nodes or ()))
    if _mixes(state, nodes):
        raise MemoryRefused("[memorymanager] preferred hint violates NUMA node allocation")
    blocks = tuple(Block(nodes, name, ask.sizes[name]) for name in sorted(ask.sizes))
    of_pod = dict(state.blocks.get(ask.uid, {}))
    table = dict(state.nodes)
    for block in blocks:
        reused = _reusable(state, ask, nodes, block.resource)
        _take(table, block, max(block.size - reused, 0))
    of_pod = _hand_over(of_pod, ask, blocks)
    of_pod[ask.container] = blocks
    return MemoryState(table, {**state.blocks, ask.uid: of_pod})


def release(state: MemoryState, uid: str, container: str) -> MemoryState:
    """Give a container's blocks back to their nodes."""
    of_pod = dict(state.blocks.get(uid, {}))
    if container not in of_pod:
        return state
    table = dict(state.nodes)
    for block in of_pod.pop(container):
        _give_back(table, block)
    rest = {other: of for other, of in state.blocks.items() if other != uid}
    if of_pod:
        rest[uid] = of_pod
    return MemoryState(table, rest)


def hints(state: MemoryState, ask: MemoryAsk) -> dict[str, list[Hint] | None]:
    """Per resource, the NUMA sets that could serve the request. {} = no preference."""
    if not ask.sizes:
        return {}
    present = state.blocks.get(ask.uid, {}).get(ask.container)
    if present is not None:
        held = {block.resource: block for block in present}
        if {name: block.size for name, block in held.items()} != dict(ask.sizes):
            return {}
        return {name: [Hint(frozenset(held[name].nodes), preferred=True)] for name in ask.sizes}
    possible = _possible(state, ask)
    return {name: list(possible) for name in ask.sizes}


def pod_hints(state: MemoryState, uid: str, sizes: Mapping[str, int]) -> dict[str, list[Hint] | None]:
    """As `hints`, for a pod that holds `sizes` at its peak. What it holds already keeps its nodes."""
    held = [block for blocks in state.blocks.get(uid, {}).values() for block in blocks]
    if not held or not sizes:
        return hints(state, MemoryAsk(uid, "", sizes))
    nodes = frozenset(node for block in held for node in block.nodes)
    return {name: [Hint(nodes, preferred=True)] for name in sizes}


def problem_of(state: MemoryState, fresh: MemoryState) -> str:
    """Why a state from disk does not fit this machine, "" when it does. `fresh`: from `initial`."""
    if not state.nodes:
        return _EMPTY_STATE if state.blocks else ""
    expected = dict(fresh.nodes)
    for uid, boxes in state.blocks.items():
        for name, blocks in boxes.items():
            for block in blocks:
                if not set(block.nodes) <= set(expected):
                    return (
                        f"[memorymanager] (pod: {uid}, container: {name}) the memory assignment uses "
                        "the NUMA that does not exist"
                    )
                if any(block.resource not in expected[node].tables for node in block.nodes):
                    return (
                        f"[memorymanager] (pod: {uid}, container: {name}) the memory assignment uses memory "
                        "resource that does not exist"
                    )
                _take(expected, block, block.size)
    if not _are_alike(state.nodes, expected):
        return "[memorymanager] the expected machine state is different from the real one"
    return ""


def _table(total: int, system_reserved: int, elsewhere: int) -> Table:
    usable = max(total - system_reserved - elsewhere, 0)
    return Table(total, system_reserved, usable, 0, usable)


def _possible(state: MemoryState, ask: MemoryAsk) -> list[Hint]:
    least = len(state.nodes)
    found: list[Ids] = []
    for mask in masks(state.nodes):
        totals = [state.nodes[node].tables for node in mask]
        if any(
            sum(tables[name].allocatable for tables in totals if name in tables) < size
            for name, size in ask.sizes.items()
        ):
            continue
        least = min(least, len(mask))
        if not _mixes(state, tuple(sorted(mask))) and _satisfies(state, ask, mask):
            found.append(mask)
    return [Hint(mask, preferred=len(mask) == least) for mask in found]


def _mixes(state: MemoryState, nodes: tuple[int, ...]) -> bool:
    """Whether single-node and grouped use would meet on a node."""
    if len(nodes) == 1:
        return len(state.nodes[nodes[0]].cells) > 1
    used = [state.nodes[node] for node in nodes if state.nodes[node].assignments > 0]
    return any(len(node.cells) == 1 or tuple(sorted(node.cells)) != nodes for node in used)


def _satisfies(state: MemoryState, ask: MemoryAsk, mask: Ids) -> bool:
    nodes = tuple(sorted(mask))
    return all(
        sum(state.nodes[node].tables[name].free for node in mask if name in state.nodes[node].tables)
        + _reusable(state, ask, nodes, name)
        >= size
        for name, size in ask.sizes.items()
    )


def _default_hint(state: MemoryState, ask: MemoryAsk) -> Hint:
    possible = _possible(state, ask)
    if not possible:
        raise MemoryRefused(_NO_AFFINITY)
    return min(possible, key=_narrow_first)


def _extended(state: MemoryState, ask: MemoryAsk, mask: Ids) -> Hint:
    wider = [hint for hint in _possible(state, ask) if mask <= (hint.nodes or frozenset())]
    if not wider:
        raise MemoryRefused("[memorymanager] failed to find NUMA nodes to extend the current topology hint")
    return min(wider, key=_narrow_first)


def _narrow_first(hint: Hint) -> tuple[bool, int, int]:
    nodes = hint.nodes or frozenset()
    return not hint.preferred, len(nodes), sum(1 << node for node in nodes)


def _reusable(state: MemoryState, ask: MemoryAsk, nodes: tuple[int, ...], resource: str) -> int:
    """Bytes that the pod's finished init containers hold on exactly these nodes."""
    return sum(
        block.size
        for name, blocks in state.blocks.get(ask.uid, {}).items()
        if name in ask.reusable_from and name != ask.container
        for block in blocks
        if block.nodes == nodes and block.resource == resource
    )


def _hand_over(
    of_pod: dict[str, tuple[Block, ...]], ask: MemoryAsk, blocks: tuple[Block, ...]
) -> dict[str, tuple[Block, ...]]:
    """Shrink the init containers' blocks by what this container took over of them."""
    left = {block.resource: block.size for block in blocks}
    nodes = blocks[0].nodes
    for name in ask.reusable_from:
        if name == ask.container or name not in of_pod:
            continue
        kept = []
        for block in of_pod[name]:
            moved = min(block.size, left.get(block.resource, 0)) if block.nodes == nodes else 0
            left[block.resource] = left.get(block.resource, 0) - moved
            kept.append(replace(block, size=block.size - moved))
        of_pod[name] = tuple(kept)
    return of_pod


def _take(table: dict[int, NodeState], block: Block, size: int) -> None:
    """Fill the block's nodes in order; every one counts it and joins the group."""
    for node in block.nodes:
        state = table[node]
        tables = dict(state.tables)
        have = tables[block.resource]
        part = min(have.free, size)
        tables[block.resource] = replace(have, free=have.free - part, reserved=have.reserved + part)
        size -= part
        table[node] = NodeState(state.assignments + 1, tables, block.nodes)


def _give_back(table: dict[int, NodeState], block: Block) -> None:
    size = block.size
    for node in block.nodes:
        state = table[node]
        tables = dict(state.tables)
        have = tables[block.resource]
        part = min(have.reserved, size)
        tables[block.resource] = replace(have, free=have.free + part, reserved=have.reserved - part)
        size -= part
        left = state.assignments - 1
        table[node] = NodeState(left, tables, state.cells if left else (node,))


def _are_alike(found: Mapping[int, NodeState], expected: Mapping[int, NodeState]) -> bool:
    """Same sizes everywhere; free and reserved need only agree over each group, since order spreads them."""
    if set(found) != set(expected):
        return False
    for number, node in found.items():
        other = expected[number]
        if (node.assignments, sorted(node.cells)) != (other.assignments, sorted(other.cells)):
            return False
        if set(node.tables) != set(other.tables):
            return False
        for name, table in node.tables.items():
            twin = other.tables[name]
            if (table.total, table.system_reserved, table.allocatable) != (
                twin.total,
                twin.system_reserved,
                twin.allocatable,
            ):
                return False
            if _over(found, node.cells, name) != _over(expected, node.cells, name):
                return False
    return True


def _over(nodes: Mapping[int, NodeState], cells: tuple[int, ...], name: str) -> tuple[int, int]:
    tables = [nodes[cell].tables[name] for cell in cells]
    return sum(table.free for table in tables), sum(table.reserved for table in tables)
