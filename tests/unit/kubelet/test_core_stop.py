"""How a pod ends: hooks, order, one shrinking grace period, and the order in which all is given back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubelet import happened as h
from kubelet import reasons
from kubelet.actions import RunPreStop, Why
from kubelet.model import Observed, Phase, Stage, StopRequest, Volumes
from tests.builders import (
    WALL_START,
    PodSim,
    make_container,
    make_pod,
    make_sidecar,
    new_sim,
    new_state,
    started,
    with_spec,
)

pytestmark = pytest.mark.pure

STOPS = ("RunPreStop", "StopContainer", "StopSandbox")


def test_removed_pod_stops_then_releases_network_volumes_and_data_in_this_order() -> None:
    sim = started(make_pod("a", "b"))
    before = len(sim.log)
    sim.feed(h.DesiredRemoved())
    done = sim.orders()[before:]
    assert set(done[:2]) == {"StopContainer a", "StopContainer b"}
    assert done[2:] == [
        "StopSandbox",
        "ReleaseVolumes",
        "RemoveSandbox",
        "ForgetPod",
    ]
    assert sim.is_at(Stage.FORGOTTEN)
    assert not sim.ran and not sim.boxes and not sim.pending


def test_deleted_pod_keeps_volumes_until_containers_stop() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"]).feed(h.DesiredRemoved())
    assert sim.has(Volumes.MOUNTED) and "ReleaseVolumes" not in sim.orders()
    sim.release("StopContainer")
    assert sim.has(Volumes.RELEASED)


def test_volumes_wait_until_the_network_is_released() -> None:
    sim = started(make_pod("a"), hold=["StopSandbox"]).feed(h.DesiredRemoved())
    assert sim.is_at(Stage.TERMINATING) and "ReleaseVolumes" not in sim.orders()
    sim.release("StopSandbox")
    assert sim.is_at(Stage.FORGOTTEN)


def test_pod_is_not_forgotten_before_its_volumes_are_released() -> None:
    sim = started(make_pod("a"), hold=["ReleaseVolumes"]).feed(h.DesiredRemoved())
    assert sim.is_at(Stage.TERMINATED)
    assert sim.orders()[-1] == "ReleaseVolumes"
    sim.failures["ReleaseVolumes"] = [h.Failure("target is busy")]
    sim.hold = set()
    sim.settle()
    assert sim.is_at(Stage.TERMINATED)
    sim.advance(1)
    assert sim.is_at(Stage.FORGOTTEN)


def test_wanted_pod_that_ended_keeps_its_containers_until_it_is_removed() -> None:
    sim = started(make_pod("a", policy="Never")).exit("a", 0).advance(100_000)
    assert sim.is_at(Stage.TERMINATED) and sim.has(Volumes.RELEASED)
    assert sim.latest("a").exit_code == 0
    sim.feed(h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN)


def test_containers_of_another_sandbox_are_removed_one_by_one() -> None:
    sim = started(make_pod("a", policy="Never"))
    lost = sim.put(make_container("old"), sim.put_box(), Phase.EXITED)
    del sim.boxes[lost.sandbox_id]
    sim.feed(h.RuntimeChanged(), h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN)
    assert "RemoveContainer old" in sim.orders() and not sim.ran


# Hooks and grace


def test_hooks_of_all_containers_start_at_the_same_time_sidecars_included() -> None:
    pod = make_pod(
        make_container("a", pre_stop=True),
        make_container("b", pre_stop=True),
        init=[make_sidecar("s", pre_stop=True)],
    )
    sim = started(pod, hold=["RunPreStop"]).feed(h.DesiredRemoved())
    assert sorted(sim.orders(*STOPS)) == ["RunPreStop a", "RunPreStop b", "RunPreStop s"]
    assert all(one.at.wall == sim.wall for one in sim.pending)


def test_hook_is_paid_from_the_grace_period() -> None:
    sim = started(
        make_pod(make_container("a", pre_stop=True), grace=30), hold=["RunPreStop", "StopContainer"]
    )
    sim.feed(h.DesiredRemoved())
    assert sim.last("RunPreStop") == RunPreStop(Why.POD_STOPS, "a", sim.latest("a").id, 30.0)
    sim.advance(12)
    sim.release("RunPreStop")
    assert sim.last("StopContainer").grace_seconds == pytest.approx(18)


def test_container_gets_two_seconds_even_when_its_hook_ate_the_grace() -> None:
    sim = started(
        make_pod(make_container("a", pre_stop=True), grace=30), hold=["RunPreStop", "StopContainer"]
    )
    sim.feed(h.DesiredRemoved()).advance(29.5)
    sim.release("RunPreStop")
    assert sim.last("StopContainer").grace_seconds == 2


def test_hook_that_does_not_end_is_given_up_with_the_grace() -> None:
    sim = started(
        make_pod(make_container("a", pre_stop=True), grace=30), hold=["RunPreStop", "StopContainer"]
    )
    sim.feed(h.DesiredRemoved()).advance(29.9)
    assert sim.orders("StopContainer") == []
    sim.advance(0.2)
    assert sim.last("StopContainer").grace_seconds == 2
    assert sim.times("Cancel") == [30]


def test_failed_hook_is_said_and_the_stop_goes_on() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True)))
    sim.failures["RunPreStop"] = [h.Failure("exit 1")]
    sim.feed(h.DesiredRemoved())
    assert sim.said("FailedPreStopHook") == ["PreStopHook failed: exit 1"]
    assert sim.is_at(Stage.FORGOTTEN)
    assert sim.orders("RunPreStop") == ["RunPreStop a"]


def test_every_container_is_announced_to_be_killed_once() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), "b")).feed(h.DesiredRemoved())
    assert sorted(sim.said("Killing")) == ["Stopping container a", "Stopping container b"]


def test_grace_of_zero_counts_as_one_second() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"]).feed(h.DesiredRemoved(0))
    assert sim.state.stop is not None and sim.state.stop.deadline == WALL_START + 1
    assert sim.last("StopContainer").grace_seconds == 2


def test_given_grace_comes_before_the_pods_own() -> None:
    sim = started(make_pod("a", grace=30), hold=["StopContainer"]).feed(h.DesiredRemoved(7))
    assert sim.last("StopContainer").grace_seconds == 7


def test_shorter_grace_replaces_the_stop_under_way() -> None:
    sim = started(make_pod("a", grace=60), hold=["StopContainer"]).feed(h.DesiredRemoved())
    sim.advance(10).feed(h.DesiredRemoved(5))
    assert sim.orders("StopContainer", "Cancel") == [
        "StopContainer a",
        "Cancel",
        "StopContainer a",
    ]
    assert sim.last("StopContainer").grace_seconds == pytest.approx(5)


def test_longer_grace_changes_nothing() -> None:
    sim = started(make_pod("a", grace=10), hold=["StopContainer"]).feed(h.DesiredRemoved())
    stop = sim.state.stop
    sim.feed(h.DesiredRemoved(100), h.DesiredRemoved())
    assert sim.state.stop == stop
    assert sim.orders("StopContainer", "Cancel") == ["StopContainer a"]


def test_shorter_grace_cuts_a_hook_short() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), grace=600), hold=["RunPreStop"])
    sim.feed(h.DesiredRemoved()).advance(5).feed(h.DesiredRemoved(2)).advance(2.1)
    assert sim.is_at(Stage.FORGOTTEN)
    assert sim.times("Cancel") == [7] and sim.times("StopContainer") == [7]


def test_removal_of_a_pod_that_ended_by_itself_does_not_lengthen_its_stop() -> None:
    pod = make_pod("a", init=[make_sidecar("s")], policy="Never", grace=10)
    sim = started(pod, hold=["StopContainer"]).exit("a", 0).advance(4)
    sim.feed(h.DesiredRemoved())
    assert sim.state.stop is not None and sim.state.stop.deadline == WALL_START + 10
    assert not sim.state.wanted


def test_stop_that_fails_is_tried_again_and_said_once() -> None:
    sim = started(make_pod("a"))
    sim.failures["StopContainer"] = [h.Failure("unavailable")] * 3
    sim.feed(h.DesiredRemoved()).advance(5)
    assert sim.said("FailedKillPod") == ["error killing pod: unavailable"]
    assert sim.is_at(Stage.FORGOTTEN)


# Order


def test_sidecars_stop_after_the_containers_and_in_reverse_order() -> None:
    pod = make_pod("a", "b", init=[make_sidecar("s1"), make_sidecar("s2")])
    sim = started(pod, hold=["StopContainer"]).feed(h.DesiredRemoved())
    waves = []
    while sim.is_under_way("StopContainer"):
        waves.append(sorted(one.action.container for one in sim.pending))  # type: ignore[attr-defined]
        for name in waves[-1]:
            sim.release("StopContainer", name)
    assert waves == [["a", "b"], ["s2"], ["s1"]]


def test_sidecar_gets_what_the_containers_left_of_the_grace() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")], grace=30), hold=["StopContainer"])
    sim.feed(h.DesiredRemoved()).advance(20)
    sim.release("StopContainer", "a")
    assert sim.last("StopContainer").container == "s"
    assert sim.last("StopContainer").grace_seconds == pytest.approx(10)


def test_sidecars_wait_no_longer_than_the_grace() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")], grace=30), hold=["StopContainer"])
    sim.feed(h.DesiredRemoved()).advance(30.1)
    assert sorted(one.action.container for one in sim.pending) == ["a", "s"]  # type: ignore[attr-defined]


def test_running_init_container_is_stopped_before_the_sidecars() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s"), "i"]), hold=["StopContainer"])
    sim.feed(h.DesiredRemoved())
    assert sim.orders("StopContainer") == ["StopContainer i"]


def test_sandbox_is_stopped_only_when_no_container_runs() -> None:
    sim = started(make_pod("a", "b"), hold=["StopContainer"]).feed(h.DesiredRemoved())
    sim.release("StopContainer", "a")
    assert "StopSandbox" not in sim.orders()
    sim.release("StopContainer", "b")
    assert "StopSandbox" in sim.orders()


def test_container_that_exits_by_itself_while_another_stops_is_not_restarted() -> None:
    sim = started(make_pod("a", "b"), hold=["StopContainer"]).feed(h.DesiredRemoved())
    sim.exit("a", 0)
    sim.hold = set()
    sim.settle()
    assert sim.orders("CreateContainer") == ["CreateContainer a", "CreateContainer b"]


# What is under way when the stop comes


@pytest.mark.parametrize("kind", ["CreateContainer", "StartContainer"])
def test_container_that_comes_up_during_the_stop_is_stopped_too(kind: str) -> None:
    sim = new_sim(make_pod("a"), hold=[kind]).feed(h.Woke(), h.DesiredRemoved()).advance(1)
    assert sim.is_at(Stage.TERMINATING) and "StopSandbox" not in sim.orders()
    sim.release(kind)
    assert sim.is_at(Stage.FORGOTTEN)
    expected = ["StopContainer a"] if kind == "StartContainer" else []
    assert sim.orders("StopContainer") == expected
    assert sim.orders("StartContainer") == (["StartContainer a"] if kind == "StartContainer" else [])


def test_hanging_create_does_not_hold_up_the_stop_of_its_siblings() -> None:
    pod = make_pod("a", "b", init=[make_sidecar("s")])
    sim = new_sim(pod)
    sim.failures["CreateContainer/b"] = [h.Failure("later", retry_after=5.0)]
    sim.feed(h.Woke())
    sim.hold = {"CreateContainer"}
    sim.advance(6).feed(h.DesiredRemoved())
    assert sim.orders("StopContainer") == ["StopContainer a"], "the sidecar waits for what may come up"
    assert "StopSandbox" not in sim.orders()
    sim.release("CreateContainer")
    assert sim.is_at(Stage.FORGOTTEN)


@pytest.mark.parametrize("kind", ["EnsureImage", "RunPostStart"])
def test_pull_and_post_start_hook_are_given_up_when_the_pod_stops(kind: str) -> None:
    sim = new_sim(make_pod(make_container("a", post_start=True)), hold=[kind]).feed(h.Woke())
    sim.feed(h.DesiredRemoved())
    assert sim.orders("Cancel") == ["Cancel"]
    assert sim.is_at(Stage.FORGOTTEN)


def test_volumes_being_mounted_are_waited_for_and_released() -> None:
    sim = new_sim(make_pod("a"), hold=["PrepareVolumes"]).feed(h.Woke(), h.DesiredRemoved())
    assert "ReleaseVolumes" not in sim.orders()
    sim.release("PrepareVolumes")
    assert sim.is_at(Stage.FORGOTTEN) and sim.orders()[-2:] == ["ReleaseVolumes", "ForgetPod"]


def test_hook_of_an_unhealthy_container_is_not_run_again_by_the_pods_stop() -> None:
    sim = started(
        make_pod(make_container("a", pre_stop=True), grace=30), hold=["RunPreStop", "StopContainer"]
    )
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "liveness", False)).advance(3)
    sim.feed(h.DesiredRemoved(10)).release("RunPreStop")
    assert sim.orders("RunPreStop") == ["RunPreStop a"]
    assert sim.last("StopContainer").grace_seconds == pytest.approx(10)


def test_stop_of_an_unhealthy_container_is_shortened_by_the_pods_stop() -> None:
    sim = started(make_pod("a", grace=60), hold=["StopContainer"])
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "liveness", False), h.DesiredRemoved(3))
    assert sim.last("StopContainer").grace_seconds == 3
    assert sim.orders("StopContainer", "Cancel") == ["StopContainer a", "Cancel", "StopContainer a"]


def test_liveness_no_longer_counts_while_the_pod_stops_and_readiness_does() -> None:
    sim = started(make_pod("a", grace=60), hold=["StopContainer"])
    container_id = sim.running("a").id
    sim.feed(h.ProbeSettled("a", container_id, "readiness", True), h.DesiredRemoved())
    sim.feed(h.ProbeSettled("a", container_id, "liveness", False))
    assert sim.state.memory("a").must_stop is None
    sim.feed(h.ProbeSettled("a", container_id, "readiness", False))
    assert sim.state.memory("a").ready_id == ""


# Other ways to end


def test_active_deadline_counts_from_the_start_time_and_fails_the_pod() -> None:
    sim = started(make_pod("a", active_deadline_seconds=90), hold=["StopContainer"])
    assert sim.wake_at == pytest.approx(sim.mono + 90)
    sim.advance(89.9)
    assert sim.is_at(Stage.SYNCING)
    sim.advance(0.2)
    assert sim.is_at(Stage.TERMINATING)
    stop = sim.state.stop
    assert stop is not None
    assert (stop.phase, stop.reason, stop.message) == (
        "Failed",
        "DeadlineExceeded",
        reasons.DEADLINE_EXCEEDED_MESSAGE,
    )
    assert sim.said("DeadlineExceeded") == [reasons.DEADLINE_EXCEEDED_MESSAGE]
    sim.release("StopContainer")
    assert sim.is_at(Stage.TERMINATED) and sim.state.wanted


def test_deadline_shortened_while_running_is_taken_at_once() -> None:
    sim = started(make_pod("a", active_deadline_seconds=900)).advance(50)
    sim.feed(h.DesiredChanged(make_pod("a", active_deadline_seconds=40)))
    assert sim.state.stop is not None and sim.state.stop.reason == "DeadlineExceeded"


def test_deadline_holds_also_for_a_pod_that_waits_for_its_volumes() -> None:
    sim = new_sim(make_pod("a", active_deadline_seconds=5), hold=["PrepareVolumes"]).feed(h.Woke()).advance(6)
    assert sim.is_at(Stage.TERMINATING)


def test_pod_stopped_by_the_node_stays_known_until_its_source_lets_go() -> None:
    sim = started(make_pod("a"))
    sim.feed(h.StopRequested(StopRequest(sim.wall, sim.wall + 5, "Evicted", "memory is low", "Failed")))
    sim.advance(1000)
    assert sim.is_at(Stage.TERMINATED) and sim.state.wanted
    assert sim.state.stop is not None and sim.state.stop.reason == "Evicted"
    sim.feed(h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN)


def test_first_reason_for_a_stop_is_kept_when_it_is_hurried() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"])
    sim.feed(h.StopRequested(StopRequest(sim.wall, sim.wall + 30, "Evicted", "memory is low", "Failed")))
    sim.feed(h.DesiredRemoved(5))
    stop = sim.state.stop
    assert stop is not None and (stop.reason, stop.phase, stop.since) == ("Evicted", "Failed", WALL_START)
    assert stop.deadline == WALL_START + 5


def test_stopping_pod_learns_its_newest_definition_and_is_not_revived() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"]).feed(h.DesiredRemoved())
    newer = with_spec(make_pod("a"), priority=9)
    sim.feed(h.DesiredChanged(newer))
    assert sim.state.pod == newer and not sim.state.wanted and sim.is_at(Stage.TERMINATING)


# After a restart of the agent


def stopping_since(sim: PodSim, seconds: float, *, grace: float = 30, pod_known: bool = True) -> PodSim:
    """As a restarted agent meets a pod whose stop began `seconds` ago."""
    began = sim.wall - seconds
    sim.state = new_state(
        sim.state.pod if pod_known else None,
        observed=sim.look(),
        stage=Stage.TERMINATING,
        wanted=False,
        stop=StopRequest(began, began + grace),
    )
    return sim.feed(h.Woke())


def test_stop_goes_on_with_the_rest_of_the_grace_after_a_restart_of_the_agent() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"])
    stopping_since(sim, 12)
    assert sim.last("StopContainer").grace_seconds == pytest.approx(18)


def test_hook_interrupted_by_a_restart_gets_only_the_rest_of_the_grace() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True)), hold=["RunPreStop", "StopContainer"])
    stopping_since(sim, 25)
    assert sim.last("RunPreStop").budget_seconds == pytest.approx(5)
    sim.advance(5.1)
    assert sim.last("StopContainer").grace_seconds == 2


def test_no_hook_runs_when_the_grace_was_over_before_the_restart() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True)), hold=["RunPreStop", "StopContainer"])
    stopping_since(sim, 100)
    assert sim.orders("RunPreStop", "StopContainer") == ["StopContainer a"]


def test_hook_and_grace_come_from_the_containers_when_the_definition_is_gone() -> None:
    sim = started(make_pod("a"), hold=["RunPreStop", "StopContainer"])
    one = next(iter(sim.ran.values()))
    one.seen = replace(one.seen, grace_period_seconds=44, pre_stop='{"exec":{"command":["true"]}}')
    sim.state = new_state(None, observed=sim.look())
    sim.feed(h.DesiredRemoved())
    assert sim.last("RunPreStop").budget_seconds == 44
    sim.release("RunPreStop").release("StopContainer")
    assert sim.is_at(Stage.FORGOTTEN)


def test_pod_that_had_ended_stays_ended_after_a_restart_of_the_agent() -> None:
    sim = started(make_pod("a", policy="Never")).exit("a", 0)
    sim.state = new_state(
        sim.state.pod,
        observed=sim.look(),
        stage=Stage.TERMINATED,
        volumes=Volumes.RELEASED,
        stop=sim.state.stop,
    )
    before = len(sim.log)
    sim.feed(h.Woke()).advance(1000)
    assert sim.log[before:] == [] and sim.wake_at is None


def test_removed_pod_of_which_nothing_is_left_is_forgotten_at_once() -> None:
    sim = PodSim(new_state(None, observed=Observed(500.0), wanted=False)).feed(h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN)
    assert sim.orders() == ["ReleaseVolumes", "ForgetPod"]
