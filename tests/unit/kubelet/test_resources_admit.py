"""The managers together: both scopes, all or nothing, and what running containers are told."""

from __future__ import annotations

import pytest

from kube.objects.core_v1 import Container, Pod, ResourceRequirements
from kubelet.resources import cpu_static, memory_static
from kubelet.resources.admit import (
    Admitted,
    CpusetUpdate,
    Held,
    Managers,
    Refused,
    admit,
    cpuset_updates,
    memory_nodes,
    release_pod,
    release_strangers,
)
from kubelet.resources.cpu_choice import Options
from kubelet.resources.cpu_static import StaticCpus
from kubelet.resources.cpuset import parse
from kubelet.resources.hints import Hint, Policy, Scope, TopologyRules
from kubelet.resources.topology import Cpu, NumaMemory, Topology
from tests.builders import make_container, make_pod

pytestmark = pytest.mark.pure

GI = 1 << 30
# Two sockets, a NUMA node of four cores each: CPUs 0-3 | 4-7 and their second threads 8-11 | 12-15.
BOX = Topology(
    tuple(Cpu(thread * 8 + core, core, core // 4, core // 4) for thread in range(2) for core in range(8)),
    {node: NumaMemory(8 * GI) for node in (0, 1)},
)


def make(
    policy: Policy = Policy.NONE, scope: Scope = Scope.CONTAINER, options: Options | None = None
) -> Managers:
    cpus = StaticCpus(BOX, parse("0,8"), options or Options())
    return Managers(BOX, TopologyRules(policy, scope), cpus, pins_memory=True)


def nothing(managers: Managers) -> Held:
    assert managers.cpus is not None
    reserved = {node: {"memory": GI} for node in (0, 1)}
    return Held(cpu_static.initial(managers.cpus), memory_static.initial(BOX, reserved))


def box(name: str, cpu: str, memory: str = "1Gi") -> Container:
    amounts = {"cpu": cpu, "memory": memory}
    return make_container(name, resources=ResourceRequirements(requests=amounts, limits=amounts))


def admitted(managers: Managers, held: Held, pod: Pod) -> Admitted:
    found = admit(managers, held, pod)
    assert isinstance(found, Admitted), found
    return found


def nodes_of(held: Held, name: str, uid: str = "uid-1") -> frozenset[int]:
    return BOX.numa_of(cpu_static.cpus_of(held.cpus, uid, name))


def test_cpus_and_memory_come_from_the_same_node() -> None:
    managers = make(Policy.SINGLE_NUMA_NODE)
    found = admitted(managers, nothing(managers), make_pod(box("a", "8", "2Gi"), box("b", "6", "2Gi")))
    assert nodes_of(found.held, "a") == {1}
    assert nodes_of(found.held, "b") == {0}
    assert memory_nodes(found.held.memory, "uid-1", "a") == "1"
    assert memory_nodes(found.held.memory, "uid-1", "b") == "0"
    assert found.hints["a"] == Hint(frozenset({1}), True)


def test_a_pod_that_fits_no_single_node_is_refused_and_nothing_is_kept() -> None:
    managers = make(Policy.SINGLE_NUMA_NODE)
    before = nothing(managers)
    refusal = admit(managers, before, make_pod(box("a", "6"), box("b", "10")))
    assert refusal == Refused("TopologyAffinityError", "Resources cannot be allocated with Topology locality")
    assert before == nothing(managers)


def test_scope_pod_puts_all_containers_on_one_node() -> None:
    pod = make_pod(box("a", "4"), box("b", "4"))
    together = make(Policy.SINGLE_NUMA_NODE, Scope.POD)
    found = admitted(together, nothing(together), pod)
    assert nodes_of(found.held, "a") == nodes_of(found.held, "b") == {1}
    too_big = make_pod(box("a", "6"), box("b", "6"))
    assert isinstance(admit(together, nothing(together), too_big), Refused)
    apart = make(Policy.SINGLE_NUMA_NODE)
    assert isinstance(admit(apart, nothing(apart), too_big), Admitted)


def test_a_pod_admitted_again_keeps_what_it_has() -> None:
    pod = make_pod(box("a", "4"), box("b", "4"))
    for scope in Scope:
        managers = make(Policy.RESTRICTED, scope)
        first = admitted(managers, nothing(managers), pod)
        assert admitted(managers, first.held, pod) == first


def test_devices_have_their_say() -> None:
    managers = make(Policy.RESTRICTED)
    there = {"gpu": [Hint(frozenset({1}), True)]}
    found = admit(managers, nothing(managers), make_pod(box("a", "2")), lambda _: [there])
    assert isinstance(found, Admitted)
    assert nodes_of(found.held, "a") == {1}


def test_refusals_have_the_reason_users_look_for() -> None:
    managers = make(options=Options(full_pcpus_only=True))
    refusal = admit(managers, nothing(managers), make_pod(box("a", "3")))
    assert isinstance(refusal, Refused)
    assert refusal.reason == "SMTAlignmentError"
    managers = make()
    refusal = admit(managers, nothing(managers), make_pod(box("a", "15")))
    assert refusal == Refused(
        "UnexpectedAdmissionError",
        "Allocate failed due to not enough cpus available to satisfy request: requested=15, available=14, "
        "which is unexpected",
    )


def test_managers_that_are_off_hold_nothing() -> None:
    managers = Managers(BOX, TopologyRules())
    held = nothing(make())
    assert admitted(managers, held, make_pod(box("a", "2"))).held == held


def test_everything_comes_back_with_the_pod() -> None:
    managers = make(Policy.BEST_EFFORT)
    found = admitted(managers, nothing(managers), make_pod(box("a", "2"), box("b", "3")))
    assert release_pod(found.held, "uid-1") == nothing(managers)
    assert release_strangers(found.held, ["uid-1"]) == found.held
    assert release_strangers(found.held, []) == nothing(managers)


def test_containers_are_told_when_the_shared_cpus_change() -> None:
    managers = make()
    before = nothing(managers)
    after = admitted(managers, before, make_pod(box("a", "2"))).held
    running = [("uid-1", "a"), ("other", "x")]
    told = {("other", "x"): before.cpus.default}
    assert cpuset_updates(after.cpus, running, told) == [
        CpusetUpdate("other", "x", "0,2-8,10-15"),
        CpusetUpdate("uid-1", "a", "1,9"),
    ]
    told = {key: cpu_static.cpus_of(after.cpus, *key) for key in running}
    assert cpuset_updates(after.cpus, running, told) == []
