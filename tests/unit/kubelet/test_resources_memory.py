"""The static memory manager: tables of upstream's rules, and that nothing is lost or given twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet.resources import memory_static as m
from kubelet.resources.hints import Hint
from kubelet.resources.topology import NumaMemory, Topology

pytestmark = pytest.mark.pure

GI = 1 << 30
PAGES = "hugepages-1Gi"
ANY = Hint(None, preferred=True)


def fresh(nodes: int = 2) -> m.MemoryState:
    """Each node: 10 Gi, of which 1 Gi is reserved and 2 Gi are huge pages: 7 Gi of memory to give."""
    topology = Topology((), {node: NumaMemory(10 * GI, {GI: 2 * GI}) for node in range(nodes)})
    return m.initial(topology, {node: {"memory": 1 * GI} for node in range(nodes)})


def ask(gigs: float, container: str = "app", uid: str = "u", pages: int = 0, ending: str = "") -> m.MemoryAsk:
    sizes = {"memory": int(gigs * GI)} | ({PAGES: pages * GI} if pages else {})
    return m.MemoryAsk(uid, container, sizes, tuple(ending.split()))


def free(state: m.MemoryState, resource: str = "memory") -> list[float]:
    return [state.nodes[node].tables[resource].free / GI for node in sorted(state.nodes)]


def nodes_of(state: m.MemoryState, container: str = "app", uid: str = "u") -> tuple[int, ...]:
    return state.blocks[uid][container][0].nodes


def test_what_is_reserved_and_in_huge_pages_is_not_given() -> None:
    state = fresh()
    assert (free(state), free(state, PAGES)) == ([7, 7], [2, 2])
    table = state.nodes[0].tables["memory"]
    assert (table.total, table.system_reserved, table.allocatable) == (10 * GI, GI, 7 * GI)
    with pytest.raises(m.MemoryRefused, match="you should specify the system reserved memory"):
        m.initial(Topology((), {0: NumaMemory(GI)}), {})


def test_a_small_request_stays_on_one_node_and_comes_back() -> None:
    state = m.allocate(fresh(), ask(3, pages=1), ANY)
    assert nodes_of(state) == (0,)
    assert (free(state), free(state, PAGES)) == ([4, 7], [1, 2])
    assert state.nodes[0].assignments == 2  # one for each kind
    assert m.allocate(state, ask(3, pages=1), ANY) is state
    assert m.release(state, "u", "app") == fresh()


def test_a_request_larger_than_a_node_takes_a_group() -> None:
    state = m.allocate(fresh(), ask(9), ANY)
    assert (nodes_of(state), free(state)) == ((0, 1), [0, 5])
    assert [state.nodes[node].cells for node in (0, 1)] == [(0, 1), (0, 1)]
    # No node of the group serves a container that lives on one node alone.
    with pytest.raises(m.MemoryRefused, match="default preferred hint"):
        m.allocate(state, ask(1, uid="v"), ANY)
    assert m.hints(state, ask(1, uid="v"))["memory"] == [Hint(frozenset({0, 1}), False)]
    shared = m.allocate(state, ask(1, uid="v"), Hint(frozenset({0, 1}), False))
    assert m.release(m.release(shared, "u", "app"), "v", "app") == fresh()


def test_nodes_in_single_use_join_no_group() -> None:
    state = m.allocate(fresh(), ask(3), ANY)
    assert m.hints(state, ask(9, uid="v")) == {"memory": []}
    with pytest.raises(m.MemoryRefused, match="no NUMA nodes with enough memory is available"):
        m.allocate(state, ask(9, uid="v"), ANY)


def test_a_hint_that_is_too_small_is_widened() -> None:
    state = m.allocate(fresh(), ask(9), Hint(frozenset({1}), preferred=False))
    assert nodes_of(state) == (0, 1)
    with pytest.raises(m.MemoryRefused, match="extend the current topology hint"):
        m.allocate(m.allocate(fresh(), ask(5), ANY), ask(3, uid="v"), Hint(frozenset({0}), True))


def test_a_full_node_moves_the_next_container_to_the_other() -> None:
    state = m.allocate(m.allocate(fresh(), ask(5), ANY), ask(4, uid="v"), ANY)
    assert nodes_of(state, uid="v") == (1,)


def test_memory_of_finished_init_containers_is_used_again() -> None:
    state = fresh()
    for name, gigs in (("init", 4), ("second", 2), ("app", 6)):
        state = m.allocate(state, ask(gigs, name, ending="init second"), ANY)
    assert free(state) == [1, 7]  # the peak, not the sum
    held = sum(block.size for blocks in state.blocks["u"].values() for block in blocks)
    assert held == 6 * GI
    for name in ("app", "second", "init"):
        state = m.release(state, "u", name)
    assert state == fresh()


def test_sidecars_keep_their_memory() -> None:
    state = fresh()
    for name, gigs in (("side", 2), ("app", 3)):
        state = m.allocate(state, ask(gigs, name), ANY)
    assert free(state) == [2, 7]


def test_hints_of_what_is_held_name_its_nodes() -> None:
    state = m.allocate(fresh(), ask(3, pages=1), ANY)
    here = [Hint(frozenset({0}), True)]
    assert m.hints(state, ask(3, pages=1)) == {"memory": here, PAGES: here}
    assert m.hints(state, ask(4, pages=1)) == {}
    assert m.hints(state, m.MemoryAsk("u", "x", {})) == {}


def test_a_state_of_another_machine_is_named() -> None:
    state = m.allocate(fresh(), ask(9), ANY)
    assert m.problem_of(state, fresh()) == ""
    assert "different from the real one" in m.problem_of(state, fresh(3))
    assert "NUMA that does not exist" in m.problem_of(state, fresh(1))
    assert m.problem_of(m.MemoryState(), fresh()) == ""
    assert "can not be empty" in m.problem_of(m.MemoryState({}, state.blocks), fresh())


def test_reservation_must_be_what_the_node_keeps() -> None:
    assert m.check_reserved({0: {"memory": GI}, 1: {"memory": GI}}, 2 * GI) == ""
    assert "is not equal to the value" in m.check_reserved({0: {"memory": GI}}, 2 * GI)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(1, 12), st.booleans()), max_size=20),
)
def test_memory_is_neither_lost_nor_given_twice(count: int, wishes: list[tuple[int, int, int, bool]]) -> None:
    state = start = fresh(count)
    for uid, box, gigs, add in wishes:
        if add:
            try:
                state = m.allocate(state, ask(gigs, f"c{box}", f"u{uid}", ending="c0"), ANY)
            except m.MemoryRefused:
                continue
        else:
            state = m.release(state, f"u{uid}", f"c{box}")
        held = sum(one.size for boxes in state.blocks.values() for of in boxes.values() for one in of)
        assert held / GI + sum(free(state)) == 7 * count
        assert all(node.tables["memory"].free >= 0 for node in state.nodes.values())
        assert m.problem_of(state, start) == ""
    for pod, boxes in list(state.blocks.items()):
        for name in list(boxes):
            state = m.release(state, pod, name)
    assert state == start
