"""The static CPU manager on hand-drawn machines: upstream's semantics as tables, invariants as properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet.resources import cpu_static as c
from kubelet.resources.cpu_choice import BadOption, NotEnoughCpus, Options, choose, parse_options
from kubelet.resources.cpuset import BadCpuSet, parse, text_of
from kubelet.resources.hints import Hint
from kubelet.resources.topology import Cpu, Topology

pytestmark = pytest.mark.pure


def machine(sockets: int, numa_per_socket: int, cores: int, threads: int = 2, caches: int = 1) -> Topology:
    """CPUs numbered as Linux does, first threads first. `cores` and `caches` are per NUMA node."""
    nodes = sockets * numa_per_socket
    total = nodes * cores
    return Topology(
        tuple(
            Cpu(
                id=thread * total + core,
                core=core,
                socket=core // cores // numa_per_socket,
                numa=core // cores,
                uncore=core * caches // cores,
            )
            for thread in range(threads)
            for core in range(total)
        )
    )


# cores 0-3 with threads 4-7; and two sockets with cores 0-5 | 6-11 and threads 12-17 | 18-23
LAPTOP = machine(1, 1, 4)
SERVER = machine(2, 1, 6)
QUAD = machine(2, 2, 4, threads=1)  # four NUMA nodes 0-3 4-7 | 8-11 12-15
CACHES = machine(1, 1, 8, caches=2)  # caches: cores 0-3 and 4-7, threads 8-15


@pytest.mark.parametrize(
    ("topology", "free", "count", "options", "expected"),
    [
        (LAPTOP, "0-7", 1, Options(), "0"),
        (LAPTOP, "0-7", 2, Options(), "0,4"),
        (LAPTOP, "1-7", 1, Options(), "4"),  # a half used core is filled first
        (LAPTOP, "1-3,5-7", 4, Options(), "1-2,5-6"),
        (LAPTOP, "0-7", 8, Options(), "0-7"),
        (SERVER, "0-23", 12, Options(), "0-5,12-17"),  # a whole socket
        (SERVER, "1-23", 12, Options(), "6-11,18-23"),  # the other, since the first is not whole
        (SERVER, "0-5,12-17,6,18", 2, Options(), "6,18"),  # the fuller socket
        (QUAD, "0-15", 8, Options(), "0-7"),
        (QUAD, "1-15", 4, Options(), "4-7"),
        (LAPTOP, "0-7", 4, Options(distribute_across_cores=True), "0-3"),
        (SERVER, "0-23", 4, Options(distribute_across_numa=True), "0-1,12-13"),  # one node will do
        (SERVER, "0-23", 16, Options(distribute_across_numa=True), "0-3,6-9,12-15,18-21"),
        (CACHES, "1-15", 8, Options(prefer_align_by_uncore=True), "4-7,12-15"),
        (CACHES, "1-15", 10, Options(prefer_align_by_uncore=True), "1,4-7,9,12-15"),
    ],
)
def test_choice_of_cpus(topology: Topology, free: str, count: int, options: Options, expected: str) -> None:
    assert text_of(choose(topology, parse(free), count, options)) == expected


def test_too_few_cpus_are_refused_with_upstreams_words() -> None:
    with pytest.raises(NotEnoughCpus, match="satisfy request: requested=5, available=4"):
        choose(LAPTOP, parse("0-3"), 5, Options())


def test_align_by_socket_spreads_within_one_socket_where_it_can() -> None:
    free = parse("0-15") - parse("0,8")  # nodes with 3, 4 | 3, 4 CPUs
    options = Options(distribute_across_numa=True, align_by_socket=True)
    assert choose(QUAD, free, 6, options) == parse("1-3,4-6")
    # Without it, the two full nodes of different sockets leave the rest more even.
    assert choose(QUAD, free, 6, Options(distribute_across_numa=True)) == parse("4-6,12-14")


def test_remainders_are_handed_out_in_whole_cores() -> None:
    options = Options(distribute_across_numa=True, full_pcpus_only=True)
    chosen = choose(SERVER, SERVER.all_cpus, 14, options)
    per_node = [len(chosen & SERVER.in_numa([node])) for node in (0, 1)]
    assert sorted(per_node) == [6, 8]
    for core in range(12):
        assert len({cpu.id for cpu in SERVER.cpus if cpu.core == core} & chosen) in (0, 2)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"full-pcpus": "true"}, "unsupported cpumanager option"),
        ({"full-pcpus-only": "yes"}, "bad value for option"),
        (
            {"full-pcpus-only": "true", "distribute-cpus-across-cores": "true"},
            "full-pcpus-only and distribute-cpus-across-cores can not be used together",
        ),
        (
            {"prefer-align-cpus-by-uncorecache": "true", "distribute-cpus-across-numa": "1"},
            "can not be used together",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(texts: dict[str, str], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        parse_options(texts)


def test_options_are_read() -> None:
    texts = {"align-by-socket": "true", "strict-cpu-reservation": "t", "full-pcpus-only": "false"}
    assert parse_options(texts) == Options(align_by_socket=True, strict_reservation=True)


@pytest.mark.parametrize("text", ["a", "1-", "3-1", "1,,2", "-1", "0-99999", "٣"])
def test_bad_cpu_lists_are_refused(text: str) -> None:
    with pytest.raises(BadCpuSet):
        parse(text)


@given(st.frozensets(st.integers(0, 200)))
def test_cpu_lists_survive_being_written(cpus: frozenset[int]) -> None:
    assert parse(text_of(cpus)) == cpus


def static(
    topology: Topology = LAPTOP, reserved: str = "0,4", options: Options | None = None
) -> c.StaticCpus:
    return c.StaticCpus(topology, parse(reserved), options or Options())


def ask(container: str = "app", count: int = 2, uid: str = "u", ending: str = "") -> c.CpuAsk:
    return c.CpuAsk(uid, container, count, frozenset(ending.split()))


def test_reserved_cpus_are_the_lowest_cores() -> None:
    assert c.reserve(LAPTOP, 2, parse(""), Options()) == parse("0,4")
    assert c.reserve(LAPTOP, 0, parse("3,7"), Options()) == parse("3,7")
    for count, explicit in ((0, ""), (9, ""), (0, "8")):
        with pytest.raises(c.BadReservation):
            c.reserve(LAPTOP, count, parse(explicit), Options())


def test_exclusive_cpus_leave_the_shared_set_and_come_back() -> None:
    policy = static()
    state = c.allocate(policy, c.initial(policy), ask())
    assert c.cpus_of(state, "u", "app") == parse("1,5")
    assert c.cpus_of(state, "u", "other") == state.default == parse("0,2-4,6-7")
    assert c.allocate(policy, state, ask()) is state
    assert c.release(state, "u", "app") == c.initial(policy)


def test_strictly_reserved_cpus_are_not_even_shared() -> None:
    policy = static(options=Options(strict_reservation=True))
    assert c.initial(policy).default == parse("1-3,5-7")
    assert "strictly reserved" in c.problem_of(policy, c.CpuState(parse("0-7")))


def test_reserved_cpus_are_never_given_away() -> None:
    policy = static()
    with pytest.raises(NotEnoughCpus):
        c.allocate(policy, c.initial(policy), ask(count=7))


def test_affinity_is_served_first_and_the_rest_from_elsewhere() -> None:
    policy = static(SERVER, "0,12")
    state = c.allocate(policy, c.initial(policy), ask(count=14), frozenset({1}))
    chosen = c.cpus_of(state, "u", "app")
    assert parse("6-11,18-23") <= chosen
    assert chosen - parse("6-11,18-23") == parse("1,13")


def test_containers_reuse_cpus_of_finished_init_containers_and_sidecars_keep_theirs() -> None:
    policy = static()
    state = c.initial(policy)
    for name, count in (("init", 2), ("side", 2), ("app", 4)):
        state = c.allocate(policy, state, ask(name, count, ending="init"))
    init, side, app = (c.cpus_of(state, "u", name) for name in ("init", "side", "app"))
    assert side == init  # started after it had ended
    assert not app & side
    state = c.release(state, "u", "init")
    assert not state.default & (side | app)


def test_full_cores_only_refuses_what_it_cannot_align() -> None:
    policy = static(reserved="0", options=Options(full_pcpus_only=True))
    state = c.initial(policy)
    with pytest.raises(c.SmtAlignment, match="requested 3 cpus not multiple cpus per core = 2"):
        c.allocate(policy, state, ask(count=3))
    with pytest.raises(c.SmtAlignment, match="physical CPUs = 6, requested CPUs = 8, CPUs per core = 2"):
        c.allocate(policy, state, ask(count=8))
    assert c.cpus_of(c.allocate(policy, state, ask(count=6)), "u", "app") == parse("1-3,5-7")


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (c.CpuState(parse("0-7")), ""),
        (c.CpuState(parse("0,2-4,6-7"), {"u": {"app": parse("1,5")}}), ""),
        (c.CpuState(parse("1-7"), {"u": {"app": parse("0")}}), "not all reserved cpus"),
        (c.CpuState(parse("0-7"), {"u": {"app": parse("1")}}), "overlaps with default cpuset"),
        (c.CpuState(parse("0-6")), "doesn't match with CPUs in state"),
        (c.CpuState(parse("0-8")), "doesn't match with CPUs in state"),
    ],
)
def test_a_state_that_does_not_fit_the_machine_is_named(state: c.CpuState, problem: str) -> None:
    found = c.problem_of(static(), state)
    assert problem in found
    assert bool(problem) == bool(found)


def test_hints_prefer_the_fewest_nodes_the_request_could_ever_need() -> None:
    policy = static(SERVER, "0,12")
    empty = c.initial(policy)
    assert c.hints(policy, empty, ask(count=0)) is None
    one, two, both = frozenset({0}), frozenset({1}), frozenset({0, 1})
    assert c.hints(policy, empty, ask(count=10)) == [Hint(one, True), Hint(two, True), Hint(both, False)]
    assert c.hints(policy, empty, ask(count=12)) == [Hint(two, True), Hint(both, False)]
    assert c.hints(policy, empty, ask(count=14)) == [Hint(both, True)]
    held = c.allocate(policy, empty, ask(count=4), two)
    assert c.hints(policy, held, ask(count=4)) == [Hint(two, True), Hint(both, False)]
    assert c.hints(policy, held, ask(count=6)) == []


def test_align_by_socket_prefers_every_set_within_the_fewest_sockets() -> None:
    policy = static(QUAD, "0", Options(align_by_socket=True))
    found = c.hints(policy, c.initial(policy), ask(count=3))
    assert found is not None
    preferred = {tuple(sorted(hint.nodes or ())) for hint in found if hint.preferred}
    assert preferred == {(0,), (1,), (2,), (3,), (0, 1), (2, 3)}


TOPOLOGIES = st.sampled_from([LAPTOP, SERVER, QUAD, CACHES, machine(2, 2, 4)])
CHOICES = st.sampled_from(
    [
        Options(),
        Options(full_pcpus_only=True),
        Options(distribute_across_numa=True),
        Options(distribute_across_numa=True, full_pcpus_only=True, align_by_socket=True),
        Options(distribute_across_cores=True),
        Options(prefer_align_by_uncore=True),
        Options(strict_reservation=True),
        Options(align_by_socket=True),
    ]
)
WISHES = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 2), st.integers(0, 9), st.booleans(), st.sets(st.integers(0, 3))
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(topology=TOPOLOGIES, options=CHOICES, wishes=WISHES)
def test_no_cpu_is_given_twice_and_all_come_back(
    topology: Topology, options: Options, wishes: list[tuple[int, int, int, bool, set[int]]]
) -> None:
    policy = c.StaticCpus(topology, c.reserve(topology, 1, frozenset(), options), options)
    state = fresh = c.initial(policy)
    for uid, box, count, add, nodes in wishes:
        if add:
            affinity = frozenset(nodes) & frozenset(topology.numa_nodes) or None
            try:
                state = c.allocate(policy, state, ask(f"c{box}", count, f"u{uid}"), affinity)
            except (NotEnoughCpus, c.SmtAlignment):
                continue
        else:
            state = c.release(state, f"u{uid}", f"c{box}")
        given_away = [cpus for boxes in state.assignments.values() for cpus in boxes.values()]
        assert sum(map(len, given_away)) == len(frozenset().union(*given_away))
        assert c.problem_of(policy, state) == ""
        for boxes in state.assignments.values():
            assert all(boxes.values())
    assert c.release_strangers(state, []) == replace(fresh)
