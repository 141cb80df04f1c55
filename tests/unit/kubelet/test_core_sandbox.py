"""Sandboxes that die, double or differ: what is stopped, what is made anew, what runs again."""

from __future__ import annotations

import pytest

from kubelet import happened as h
from kubelet.model import Phase, Stage
from kubelet.plan import why_new_sandbox
from tests.builders import PodSim, make_container, make_pod, make_sidecar, new_sim, new_state, started

pytestmark = pytest.mark.pure

CHANGED = "Pod sandbox changed, it will be killed and re-created."


def recovered(sim: PodSim) -> PodSim:
    """Past the pause between two sandboxes."""
    return sim.advance(1.1)


def test_dead_sandbox_is_replaced_with_the_next_attempt_and_one_event() -> None:
    sim = recovered(started(make_pod("a")).advance(60).lose_sandbox())
    assert sim.said("SandboxChanged") == [CHANGED]
    assert [box.attempt for box in sim.boxes.values() if box.ready] == [1]
    assert sim.running("a").restart_count == 1
    assert sim.orders("StopSandbox", "RunSandbox") == ["RunSandbox", "StopSandbox", "RunSandbox"]


def test_first_sandbox_is_no_change_for_users() -> None:
    assert started(make_pod("a")).said("SandboxChanged") == []


def test_new_sandbox_runs_every_init_container_again() -> None:
    sim = started(make_pod("a", init=["i", make_sidecar("s"), "j"])).exit("i", 0).exit("j", 0).advance(60)
    assert sim.names_running() == {"s", "a"}
    recovered(sim.lose_sandbox())
    assert sim.names_running() == {"i"}
    sim.exit("i", 0)
    assert sim.names_running() == {"s", "j"}
    sim.exit("j", 0)
    assert sim.names_running() == {"s", "a"}
    assert {name: sim.latest(name).restart_count for name in "isja"} == {"i": 1, "s": 1, "j": 1, "a": 1}


def test_containers_that_survive_their_sandbox_are_stopped_with_one_grace_before_it() -> None:
    pod = make_pod(make_container("a", pre_stop=True), "b", grace=20)
    sim = started(pod, hold=["RunPreStop", "StopContainer"]).advance(60)
    next(iter(sim.boxes.values())).ready = False
    sim.feed(h.RuntimeChanged())
    assert set(sim.orders("RunPreStop", "StopContainer", "StopSandbox")) == {
        "RunPreStop a",
        "StopContainer b",
    }
    sim.advance(15).release("RunPreStop")
    assert sim.last("StopContainer").grace_seconds == pytest.approx(5)
    sim.release("StopContainer", "a")
    assert not sim.is_under_way("StopSandbox")
    sim.release("StopContainer", "b")
    assert sim.names_running() == {"a", "b"} and len(sim.times("RunSandbox")) == 2


def test_hook_is_given_up_when_the_grace_of_a_replaced_sandbox_is_over() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), grace=20), hold=["RunPreStop"]).advance(60)
    next(iter(sim.boxes.values())).ready = False
    sim.feed(h.RuntimeChanged()).advance(20.1)
    assert sim.last("StopContainer").grace_seconds == 2
    assert sim.running("a").restart_count == 1


def test_second_replacement_has_a_grace_period_of_its_own() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), grace=20))
    for _ in range(2):
        sim.advance(60)
        max(sim.boxes.values(), key=lambda box: box.attempt).ready = False
        recovered(sim.feed(h.RuntimeChanged()))
        assert sim.last("RunPreStop").budget_seconds == pytest.approx(20)


def test_two_ready_sandboxes_are_both_stopped_and_one_is_made() -> None:
    sim = started(make_pod("a")).advance(60)
    sim.put_box(attempt=1)
    recovered(sim.feed(h.RuntimeChanged()))
    ready = [box for box in sim.boxes.values() if box.ready]
    assert [box.attempt for box in ready] == [2]
    assert sim.running("a").sandbox_id == ready[0].id


@pytest.mark.parametrize("wants_host", [True, False])
def test_sandbox_with_the_other_network_mode_is_replaced(wants_host: bool) -> None:
    sim = new_sim(make_pod("a", host_network=wants_host))
    box = sim.put_box(host_network=not wants_host)
    sim.state = new_state(sim.state.pod, observed=sim.look())
    recovered(sim.feed(h.Woke()))
    assert not sim.boxes or not sim.boxes.get(box.id, box).ready
    assert [box.host_network for box in sim.boxes.values() if box.ready] == [wants_host]


def test_sandbox_without_an_address_is_replaced_once_a_second_and_no_faster() -> None:
    sim = new_sim(make_pod("a"))
    sim.sandbox_ips = ()
    sim.feed(h.Woke()).advance(5.5)
    assert sim.times("RunSandbox") == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.01)
    sim.sandbox_ips = ("10.0.0.9",)
    sim.advance(1)
    assert sim.names_running() == {"a"}


def test_host_network_sandbox_needs_no_address() -> None:
    sim = started(make_pod("a", host_network=True))
    assert why_new_sandbox(sim.state) == "" and sim.names_running() == {"a"}


def test_sandbox_from_a_clock_that_was_ahead_is_replaced_without_waiting_for_it() -> None:
    sim = started(make_pod("a"))
    sim.wall -= 3600
    sim.lose_sandbox()
    assert len(sim.times("RunSandbox")) == 2


def test_never_pod_whose_containers_died_with_the_sandbox_ends_without_a_new_one() -> None:
    sim = started(make_pod("a", policy="Never")).advance(60).lose_sandbox()
    assert sim.is_at(Stage.TERMINATED)
    assert sim.orders("RunSandbox") == ["RunSandbox"]
    assert sim.said("SandboxChanged") == []


def test_never_pod_whose_init_container_died_with_the_sandbox_ends() -> None:
    sim = started(make_pod("a", policy="Never", init=["i"])).advance(60).lose_sandbox()
    assert sim.is_at(Stage.TERMINATED)


def test_on_failure_pod_with_everything_succeeded_is_not_given_a_new_sandbox() -> None:
    pod = make_pod("a", "b", policy="OnFailure", init=[make_sidecar("s")])
    sim = started(pod).advance(60).exit("a", 0)
    sim.exit("b", 0, tell=False)
    sim.lose_sandbox()
    assert sim.is_at(Stage.TERMINATED)
    assert sim.orders("RunSandbox") == ["RunSandbox"]


def test_on_failure_pod_runs_again_what_failed_and_only_that() -> None:
    sim = started(make_pod("a", "b", policy="OnFailure")).advance(60).exit("a", 0)
    recovered(sim.lose_sandbox())
    assert sim.names_running() == {"b"}
    assert sim.orders("CreateContainer").count("CreateContainer a") == 1
    sim.exit("b", 0)
    assert sim.is_at(Stage.TERMINATED), "one that ended in the older sandbox keeps the pod alive"


def test_container_that_ended_for_good_stays_so_when_its_record_goes_with_the_sandbox() -> None:
    sim = started(make_pod("a", "b", policy="OnFailure")).advance(60).exit("a", 0)
    sim.boxes.clear()
    sim.ran.clear()
    recovered(sim.feed(h.RuntimeChanged()))
    assert sim.names_running() == {"b"}


def test_restart_count_survives_the_loss_of_every_record() -> None:
    sim = started(make_pod("a")).exit("a", 1).advance(60)
    sim.boxes.clear()
    sim.ran.clear()
    recovered(sim.feed(h.RuntimeChanged()))
    assert sim.running("a").restart_count == 2
    assert sim.last("RunSandbox").attempt == 1


def test_replaced_sandbox_is_removed_when_its_last_container_is() -> None:
    sim = recovered(started(make_pod("a")).advance(60).lose_sandbox())
    assert len(sim.boxes) == 2
    sim.exit("a", 1).advance(30)
    assert sim.running("a").restart_count == 2
    assert len(sim.boxes) == 1


def test_stopping_the_pod_while_its_sandbox_is_replaced_makes_no_new_one() -> None:
    sim = started(make_pod("a"), hold=["StopSandbox"]).advance(60).lose_sandbox()
    sim.feed(h.DesiredRemoved())
    sim.hold = set()
    sim.settle().advance(60)
    assert sim.is_at(Stage.FORGOTTEN)
    assert sim.orders("RunSandbox") == ["RunSandbox"]


def test_sandbox_made_while_the_pod_is_removed_is_waited_for_and_stopped() -> None:
    sim = new_sim(make_pod("a"), hold=["RunSandbox"]).feed(h.Woke(), h.DesiredRemoved())
    assert sim.is_at(Stage.TERMINATING)
    sim.release("RunSandbox")
    assert sim.is_at(Stage.FORGOTTEN) and not sim.boxes
    assert "CreateContainer a" not in sim.orders()


def test_address_of_the_newest_sandbox_is_the_pods() -> None:
    sim = started(make_pod("a")).advance(60)
    sim.sandbox_ips = ("10.0.0.77", "fd00::77")
    recovered(sim.lose_sandbox())
    assert sim.state.ips == ("10.0.0.77", "fd00::77")


def test_reboot_runs_everything_again_in_a_new_sandbox_with_higher_counts() -> None:
    sim = started(make_pod("a", init=["i"])).exit("i", 0).advance(60)
    for box in sim.boxes.values():
        box.ready = False
    sim.exit("a", 255, tell=False)
    sim.state = new_state(sim.state.pod, observed=sim.look())  # the agent starts anew too
    recovered(sim.feed(h.Woke()))
    assert sim.running("i").restart_count == 1
    sim.exit("i", 0)
    assert sim.running("a").restart_count == 1
    assert sim.latest("a").phase is Phase.RUNNING
