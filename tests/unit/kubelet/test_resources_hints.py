"""The topology manager's four policies over tables of hints (kubernetes 1.36 policy_test.go's semantics)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet.resources.hints import (
    BadTopologyOption,
    Hint,
    Hints,
    Policy,
    TopologyOptions,
    TopologyRules,
    Verdict,
    check_machine,
    decide,
    masks,
    parse_topology_options,
)
from kubelet.resources.topology import NumaMemory, Topology

pytestmark = pytest.mark.pure


def machine(nodes: int, distances: dict[int, dict[int, int]] | None = None) -> Topology:
    return Topology((), {node: NumaMemory(1) for node in range(nodes)}, distances or {})


def hint(nodes: str, *, preferred: bool = True) -> Hint:
    return Hint(frozenset(map(int, nodes)), preferred)


LOOSE = {"preferred": False}


@pytest.mark.parametrize(
    ("providers", "best"),
    [
        ([{}], hint("01")),
        ([{"cpu": None}], hint("01")),
        ([{"cpu": []}], hint("01", preferred=False)),
        ([{"cpu": [hint("0"), hint("1"), hint("01", preferred=False)]}], hint("0")),
        ([{"cpu": [hint("0"), hint("1")]}, {"gpu": [hint("1")]}], hint("1")),
        ([{"cpu": [hint("0")]}, {"gpu": [hint("1")]}], hint("01", preferred=False)),
        ([{"cpu": [hint("01")]}, {"gpu": [hint("1")]}], hint("1", preferred=False)),
        ([{"cpu": [hint("01")]}, {"gpu": [hint("01")]}], hint("01")),
        ([{"cpu": [hint("01"), hint("1")], "memory": [hint("01")]}], hint("01")),
    ],
)
@pytest.mark.parametrize("policy", [Policy.BEST_EFFORT, Policy.RESTRICTED])
def test_joint_hint_of_two_nodes(policy: Policy, providers: list[Hints], best: Hint) -> None:
    verdict = decide(TopologyRules(policy), machine(2), providers)
    assert verdict == Verdict(best, admitted=policy is Policy.BEST_EFFORT or best.preferred)


@pytest.mark.parametrize(
    ("providers", "verdict"),
    [
        ([{}], Verdict(Hint(None, True), True)),
        ([{"cpu": [hint("0"), hint("01", preferred=False)]}], Verdict(hint("0"), True)),
        ([{"cpu": [hint("01")]}], Verdict(Hint(None, False), False)),
        ([{"cpu": [hint("0", preferred=False)]}], Verdict(Hint(None, False), False)),
        ([{"cpu": []}], Verdict(Hint(None, False), False)),
        ([{"cpu": [hint("0")]}, {"gpu": [hint("1")]}], Verdict(Hint(None, False), False)),
        ([{"cpu": [hint("0"), hint("1")]}, {"gpu": None}], Verdict(hint("0"), True)),
    ],
)
def test_single_node_policy_wants_one_node_for_all(providers: list[Hints], verdict: Verdict) -> None:
    assert decide(TopologyRules(Policy.SINGLE_NUMA_NODE), machine(2), providers) == verdict


def test_policy_none_looks_at_nothing() -> None:
    assert decide(TopologyRules(), machine(2), [{"cpu": []}]) == Verdict(Hint(None, True), True)


def test_of_two_poor_joint_hints_the_one_with_as_many_nodes_as_needed_wins() -> None:
    # cpu needs two nodes at least: a joint hint of one node is worse than one of two.
    providers: list[Hints] = [
        {"cpu": [hint("01"), hint("23"), hint("0123", preferred=False)]},
        {"gpu": [hint("1"), hint("0123", preferred=False)]},
    ]
    assert decide(TopologyRules(Policy.BEST_EFFORT), machine(4), providers).hint == hint(
        "01", preferred=False
    )


SETS = st.frozensets(st.integers(0, 3), min_size=1)
HINTS = st.lists(st.builds(Hint, st.none() | SETS, st.booleans()), min_size=1, max_size=5)


def by_trying_everything(lists: list[list[Hint]]) -> Hint:
    """The rules of policy.go as they are told there, over all combinations."""
    aim = max((min((len(one.nodes) for one in hints if one.nodes), default=0) for hints in lists), default=0)
    best: Hint | None = None

    def narrower(one: Hint, other: Hint) -> Hint:
        assert one.nodes and other.nodes
        size = (len(one.nodes), sum(1 << node for node in one.nodes))
        return one if size <= (len(other.nodes), sum(1 << node for node in other.nodes)) else other

    for parts in itertools.product(*lists):
        named = [one.nodes for one in parts if one.nodes is not None]
        nodes = frozenset(range(4)).intersection(*named)
        new = Hint(nodes, all(one.preferred for one in parts) and len(set(named)) <= 1)
        if not nodes:
            continue
        if best is None or best.preferred < new.preferred:
            best = new
        elif best.preferred == new.preferred:
            assert best.nodes
            have, offers = len(best.nodes), len(nodes)
            if best.preferred or have > aim or (have == offers):
                best = narrower(best, new)
            elif have < aim and offers <= aim and offers > have:
                best = new
    return best or Hint(frozenset(range(4)), preferred=False)


@settings(max_examples=300, deadline=None)
@given(st.lists(HINTS, min_size=1, max_size=4))
def test_the_short_way_finds_what_trying_everything_finds(lists: list[list[Hint]]) -> None:
    providers: list[Hints] = [{"r": hints} for hints in lists]
    assert decide(TopologyRules(Policy.BEST_EFFORT), machine(4), providers).hint == by_trying_everything(
        lists
    )


def test_eight_nodes_and_four_resources_are_decided_without_trying_everything() -> None:
    every = [Hint(mask, preferred=len(mask) == 2) for mask in masks(range(8))]
    others = [Hint(mask, preferred=len(mask) == 3) for mask in masks(range(8))]
    providers: list[Hints] = [{"a": every, "b": others}, {"c": every, "d": others}]
    verdict = decide(TopologyRules(Policy.RESTRICTED), machine(8), providers)
    assert verdict == Verdict(hint("0", preferred=False), admitted=False)


def test_closest_nodes_are_preferred_when_asked_for() -> None:
    far = {0: {0: 10, 1: 40, 2: 12}, 1: {0: 40, 1: 10, 2: 12}, 2: {0: 12, 1: 12, 2: 10}}
    providers: list[Hints] = [{"cpu": [hint("01"), hint("02"), hint("12")]}]
    closest = TopologyRules(Policy.BEST_EFFORT, options=TopologyOptions(prefer_closest=True))
    assert decide(closest, machine(3, far), providers).hint == hint("02")
    assert decide(TopologyRules(Policy.BEST_EFFORT), machine(3, far), providers).hint == hint("01")


def test_average_distance_is_over_all_pairs() -> None:
    assert machine(2, {0: {0: 10, 1: 21}, 1: {0: 21, 1: 10}}).average_distance({0, 1}) == 15.5


def test_more_nodes_than_allowed_are_refused() -> None:
    check_machine(TopologyRules(Policy.NONE), machine(9))
    with pytest.raises(BadTopologyOption, match="unsupported on machines with more than 8 NUMA Nodes"):
        check_machine(TopologyRules(Policy.RESTRICTED), machine(9))
    options = parse_topology_options({"max-allowable-numa-nodes": "9", "prefer-closest-numa-nodes": "true"})
    assert options == TopologyOptions(prefer_closest=True, most_numa_nodes=9)
    check_machine(TopologyRules(Policy.RESTRICTED, options=options), machine(9))


@pytest.mark.parametrize(
    "texts",
    [{"nope": "1"}, {"max-allowable-numa-nodes": "7"}, {"max-allowable-numa-nodes": "x"},
     {"prefer-closest-numa-nodes": "maybe"}],
)  # fmt: skip
def test_options_that_do_not_exist_are_refused(texts: dict[str, str]) -> None:
    with pytest.raises(BadTopologyOption):
        parse_topology_options(texts)


def test_masks_are_all_sets_small_ones_first() -> None:
    assert list(masks([1, 0])) == [frozenset({0}), frozenset({1}), frozenset({0, 1})]
