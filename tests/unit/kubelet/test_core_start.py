"""Bringing a pod up: what comes first, what waits for what, and what is taken over as it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from kubelet import happened as h
from kubelet.actions import Look, Why
from kubelet.lifecycle import adopt
from kubelet.model import Key, Observed, Phase, Stage, Volumes, Waiting
from tests.builders import (
    PROBE,
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

BRINGS_UP = ("CreateContainer", "StartContainer", "RunPostStart")


def test_volumes_come_before_the_sandbox_and_the_sandbox_before_containers() -> None:
    sim = started(make_pod("app"))
    assert sim.orders() == [
        "PrepareVolumes",
        "EnsureImage app",
        "RunSandbox",
        "CreateContainer app",
        "StartContainer app",
    ]
    assert sim.names_running() == {"app"}


def test_nothing_is_created_while_volumes_are_not_mounted() -> None:
    sim = new_sim(make_pod("app"), hold=["PrepareVolumes"]).feed(h.Woke())
    assert sim.orders() == ["PrepareVolumes", "EnsureImage app"]
    sim.release("PrepareVolumes")
    assert sim.names_running() == {"app"}


def test_images_are_fetched_while_the_sandbox_is_made() -> None:
    sim = new_sim(make_pod("a", "b"), hold=["RunSandbox", "EnsureImage"]).feed(h.Woke())
    assert sim.is_under_way("RunSandbox")
    assert sim.is_under_way("EnsureImage", "a") and sim.is_under_way("EnsureImage", "b")


def test_only_the_first_init_containers_image_is_fetched_ahead() -> None:
    sim = new_sim(make_pod("a", init=["i", "j"]), hold=["RunSandbox", "EnsureImage"]).feed(h.Woke())
    assert sim.orders("EnsureImage") == ["EnsureImage i"]


def test_init_containers_run_one_by_one_and_containers_wait_for_the_last() -> None:
    sim = started(make_pod("a", init=["i", "j"]))
    assert sim.names_running() == {"i"}
    sim.exit("i", 0)
    assert sim.names_running() == {"j"}
    assert "CreateContainer a" not in sim.orders()
    sim.exit("j", 0)
    assert sim.orders("StartContainer") == ["StartContainer i", "StartContainer j", "StartContainer a"]


def test_next_init_container_waits_until_a_sidecar_has_started() -> None:
    sidecar = make_sidecar("s", startup_probe=PROBE)
    sim = started(make_pod("a", init=[sidecar, "i"]))
    assert sim.names_running() == {"s"}
    sim.feed(h.ProbeSettled("s", sim.running("s").id, "startup", True))
    assert sim.names_running() == {"s", "i"}
    sim.exit("i", 0)
    assert sim.names_running() == {"s", "a"}


def test_sidecars_post_start_hook_holds_the_next_init_container() -> None:
    sim = new_sim(make_pod("a", init=[make_sidecar("s", post_start=True), "i"]), hold=["RunPostStart"])
    sim.feed(h.Woke())
    assert sim.names_running() == {"s"}
    sim.release("RunPostStart")
    assert sim.names_running() == {"s", "i"}


def test_containers_start_strictly_in_the_order_of_the_definition() -> None:
    sim = new_sim(make_pod("a", "b", "c"), hold=["CreateContainer", "StartContainer"]).feed(h.Woke())
    seen = []
    for name in ("a", "b", "c"):
        for kind in ("CreateContainer", "StartContainer"):
            seen.append([one.action.key.target for one in sim.pending])
            sim.release(kind, name)
    assert seen == [["a"], ["a"], ["b"], ["b"], ["c"], ["c"]]


def test_container_waits_for_the_image_of_the_one_before_it() -> None:
    sim = new_sim(make_pod("a", "b"), hold=["EnsureImage"]).feed(h.Woke())
    sim.release("EnsureImage", "b")
    assert sim.names_running() == set()
    sim.release("EnsureImage", "a")
    assert sim.orders("StartContainer") == ["StartContainer a", "StartContainer b"]


def test_container_whose_image_cannot_be_had_holds_nobody_back() -> None:
    sim = new_sim(make_pod("a", "b"))
    sim.failures["EnsureImage/a"] = [h.Failure("no such image", "ErrImagePull", 10.0)]
    sim.feed(h.Woke())
    assert sim.names_running() == {"b"}


def test_post_start_hook_blocks_the_next_container() -> None:
    sim = new_sim(make_pod(make_container("a", post_start=True), "b"), hold=["RunPostStart"])
    sim.feed(h.Woke())
    assert sim.names_running() == {"a"}
    sim.release("RunPostStart")
    assert sim.orders(*BRINGS_UP) == [
        "CreateContainer a",
        "StartContainer a",
        "RunPostStart a",
        "CreateContainer b",
        "StartContainer b",
    ]


def test_failed_post_start_hook_stops_its_container_and_lets_the_next_one_start() -> None:
    sim = new_sim(make_pod(make_container("a", post_start=True, pre_stop=True), "b"))
    sim.failures["RunPostStart"] = [h.Failure("exit 1")]
    sim.on_term["a"] = 143
    sim.hold = {"StopContainer"}
    sim.feed(h.Woke())
    assert sim.said("FailedPostStartHook") == ["PostStartHook failed: exit 1"]
    assert sim.said("Killing") == ["FailedPostStartHook"]
    assert sim.orders("RunPreStop", "StopContainer") == ["RunPreStop a", "StopContainer a"]
    assert "b" in sim.names_running()
    sim.release("StopContainer")
    assert sim.latest("a").restart_count == 1, "policy Always brings it back at once the first time"


def test_every_container_gets_its_created_and_started_event() -> None:
    sim = started(make_pod("a"))
    assert [(one.reason, one.message, one.container) for one in sim.emits] == [
        ("Created", "Container created", "a"),
        ("Started", "Container started", "a"),
    ]


def test_pod_known_only_by_name_is_looked_at_before_anything_else() -> None:
    sim = new_sim(make_pod("a"), observed=None)
    assert sim.send(h.Woke()).actions == (Look(Why.FIRST_LOOK),)
    sim.settle()
    assert sim.names_running() == {"a"}


def test_rejected_pod_never_starts_anything_and_ends() -> None:
    sim = new_sim(make_pod("a"), rejected=Waiting("OutOfcpu", "Pod was rejected: no room"))
    sim.feed(h.Woke(), h.RuntimeChanged(), h.NetworkChanged("down"), h.NetworkChanged(""))
    assert sim.is_at(Stage.TERMINATED)
    assert sim.orders() == ["ReleaseVolumes"]
    assert sim.said("OutOfcpu") == ["no room"]
    sim.feed(h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN)
    assert sim.orders() == ["ReleaseVolumes", "ForgetPod"]


def test_no_sandbox_is_made_while_the_network_is_not_ready() -> None:
    sim = new_sim(make_pod("a")).feed(h.NetworkChanged("cni is not initialized"), h.Woke())
    assert "RunSandbox" not in sim.orders()
    assert sim.said("NetworkNotReady") == ["network is not ready: cni is not initialized"]
    sim.feed(h.NetworkChanged(""))
    assert sim.names_running() == {"a"}


def test_host_network_pod_does_not_wait_for_the_network() -> None:
    sim = new_sim(make_pod("a", host_network=True)).feed(h.NetworkChanged("down"), h.Woke())
    assert sim.names_running() == {"a"}
    assert sim.said("NetworkNotReady") == []


def test_first_failure_to_mount_is_said_once_and_retried_with_growing_pauses() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["PrepareVolumes"] = [h.Failure("no such path")] * 4
    sim.feed(h.Woke()).advance(5)
    assert sim.said("FailedMount") == ["no such path"]
    assert sim.times("PrepareVolumes") == [0, 0.25, 0.75, 1.75, 3.75]
    assert sim.names_running() == {"a"}


def test_another_reason_for_a_failed_mount_is_said_too() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["PrepareVolumes"] = [h.Failure(text) for text in ("no answer", "no answer", "not found")]
    sim.feed(h.Woke()).advance(5)
    assert sim.said("FailedMount") == ["no answer", "not found"]


def test_mount_that_goes_on_failing_is_said_again_every_ten_minutes() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["PrepareVolumes"] = [h.Failure("no such path")] * 200
    sim.feed(h.Woke()).advance(1500)
    assert sim.said("FailedMount") == ["no such path"] * 3


def test_what_waits_for_an_object_is_tried_as_soon_as_the_object_comes() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["PrepareVolumes"] = [h.Failure('configmap "x" not found', retry_after=100.0)]
    sim.feed(h.Woke()).advance(5)
    assert sim.names_running() == set()
    sim.feed(h.InputsChanged())
    assert sim.names_running() == {"a"}
    assert sim.times("PrepareVolumes") == [0, 5]


def test_failing_sandbox_is_tried_again_with_pauses_up_to_ten_seconds() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["RunSandbox"] = [h.Failure("no address left")] * 9
    sim.feed(h.Woke()).advance(60)
    times = sim.times("RunSandbox")
    gaps = [round(later - earlier, 3) for earlier, later in pairwise(times)]
    assert gaps == [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10]
    assert set(sim.said("FailedCreatePodSandBox")) == {"Failed to create pod sandbox: no address left"}
    assert sim.names_running() == {"a"}


def test_reserved_sandbox_name_is_given_up_for_the_next_attempt() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["RunSandbox"] = [h.Failure("name is reserved", name_taken=True)]
    sim.feed(h.Woke()).advance(1)
    assert sim.last("RunSandbox").attempt == 1


def test_new_definition_ends_the_pauses_after_failures() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["PrepareVolumes"] = [h.Failure("no such path")] * 6
    sim.feed(h.Woke()).advance(8)
    before = len(sim.times("PrepareVolumes"))
    assert sim.wake_at is not None and sim.wake_at > sim.mono
    sim.feed(h.DesiredChanged(with_spec(make_pod("a"), priority=5)))
    assert len(sim.times("PrepareVolumes")) == before + 1


def test_returned_runtime_ends_the_pauses_after_failures() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["RunSandbox"] = [h.Failure("unavailable")] * 6
    sim.feed(h.Woke()).advance(14)
    assert sim.names_running() == set()
    sim.feed(h.RuntimeReturned())
    assert sim.names_running() == {"a"}


# Adopting what runs


def adopted(sim: PodSim) -> PodSim:
    """As after a restart of the agent: only the runtime knows what was done."""
    sim.state = adopt(new_state(sim.state.pod, observed=sim.look()), sim.now)
    return sim.feed(h.Woke())


def test_running_pod_is_adopted_without_touching_its_containers() -> None:
    pod = make_pod("a", make_container("b", post_start=False), init=["i"])
    sim = new_sim(pod)
    box = sim.put_box()
    sim.put(make_container("i"), box, Phase.EXITED)
    sim.put(make_container("a"), box, Phase.RUNNING, count=3)
    sim.put(make_container("b"), box, Phase.RUNNING)
    adopted(sim)
    assert sim.orders() == ["PrepareVolumes"]
    assert sim.state.memory("a").restart_count == 3


def test_container_created_and_never_started_is_made_anew_under_its_number() -> None:
    """A runtime may write a container down half made when whoever asked for it dies under the call."""
    sim = new_sim(make_pod("a"))
    sim.put(make_container("a"), sim.put_box(), Phase.CREATED)
    adopted(sim)
    assert sim.orders("RemoveContainer", *BRINGS_UP) == [
        "RemoveContainer a",
        "CreateContainer a",
        "StartContainer a",
    ]
    assert len(sim.ran) == 1
    assert sim.running("a").restart_count == 0


def put_failed_start(sim: PodSim, message: str) -> None:
    """A container that the runtime could not start."""
    seen = sim.put(make_container("a"), sim.put_box(), Phase.EXITED, code=128)
    sim.ran[seen.id].seen = replace(seen, started_at=0, reason="StartError", message=message)


@pytest.mark.parametrize("policy", ("Always", "Never"))
@pytest.mark.parametrize(
    "message",
    (
        'failed to start containerd task "a": context canceled: unknown',
        "failed to create containerd task: failed to start shim: start failed: : signal: killed: unknown",
    ),
)
def test_container_whose_start_was_cut_short_is_made_anew_under_its_number(policy: str, message: str) -> None:
    sim = new_sim(make_pod("a", policy=policy))
    put_failed_start(sim, message)
    adopted(sim)
    assert sim.orders("RemoveContainer", *BRINGS_UP) == [
        "RemoveContainer a",
        "CreateContainer a",
        "StartContainer a",
    ]
    assert sim.running("a").restart_count == 0
    assert sim.state.memory("a").last_exit is None


def test_container_that_failed_to_start_by_itself_counts_as_a_restart() -> None:
    sim = new_sim(make_pod("a"))
    why = 'exec: "nothing": executable file not found in $PATH'
    put_failed_start(sim, why)
    adopted(sim)
    assert sim.running("a").restart_count == 1


def test_container_created_for_an_older_image_is_removed_and_made_anew() -> None:
    sim = new_sim(make_pod("a"))
    sim.put(make_container("a", "old:1"), sim.put_box(), Phase.CREATED)
    adopted(sim)
    assert sim.orders("RemoveContainer", *BRINGS_UP) == [
        "RemoveContainer a",
        "CreateContainer a",
        "StartContainer a",
    ]
    assert sim.running("a").image == "busybox:1"


def test_completed_init_containers_do_not_run_again_when_their_records_are_gone() -> None:
    sim = new_sim(make_pod("a", init=["i", "j"]))
    sim.put(make_container("a"), sim.put_box(), Phase.RUNNING)
    adopted(sim)
    assert sim.orders() == ["PrepareVolumes"]


def test_first_init_container_counts_as_done_when_a_later_one_exists() -> None:
    sim = new_sim(make_pod("a", init=["i", "j"]))
    sim.put(make_container("j"), sim.put_box(), Phase.RUNNING)
    adopted(sim)
    assert sim.orders() == ["PrepareVolumes"]
    sim.exit("j", 0)
    assert sim.names_running() == {"a"}


def test_restart_count_goes_on_from_the_highest_the_runtime_still_has() -> None:
    sim = new_sim(make_pod("a"))
    box = sim.put_box()
    sim.put(make_container("a"), box, Phase.EXITED, count=6, code=1, age=700)
    adopted(sim)
    assert sim.running("a").restart_count == 7


# Looking


def test_look_that_began_before_the_last_finished_action_is_dropped_and_repeated() -> None:
    sim = new_sim(make_pod("a"), hold=["StartContainer", "Look"]).feed(h.Woke())
    sim.send(h.RuntimeChanged())
    old = sim.under_way("Look")
    stale = sim.look()
    sim._move(0.5)
    sim.release("StartContainer")
    sim.pending.remove(old)
    sim.send(h.ActionDone(old.action, h.Result(observed=stale)))
    seen = sim.state.observed
    assert seen is not None and seen.containers[0].phase is Phase.RUNNING, "the stale look was believed"
    assert sim.is_under_way("Look"), "nobody looks again"
    sim.release("Look")
    assert not sim.is_under_way("Look")


def test_stale_look_keeps_the_exits_it_was_to_see() -> None:
    sim = started(make_pod("a", make_container("b", post_start=True)), hold=["Look", "StopContainer"])
    container_id = sim.running("a").id
    sim.feed(h.ProbeSettled("b", sim.running("b").id, "liveness", False))
    sim.exit("a", 1, tell=False)
    sim.send(h.RuntimeChanged(container_id, exited=True))
    look = sim.under_way("Look")
    assert look.action == Look(Why.RUNTIME_CHANGED, frozenset({container_id}))
    stale = sim.look()
    sim._move(0.5)
    sim.release("StopContainer")
    sim.pending.remove(look)
    sim.send(h.ActionDone(look.action, h.Result(observed=stale)))
    assert sim.under_way("Look").action == Look(Why.RUNTIME_CHANGED, frozenset({container_id}))


def test_event_for_an_exit_that_is_known_is_ignored() -> None:
    sim = started(make_pod("a", policy="Never", init=[make_sidecar("s")]), hold=["StopContainer"])
    container_id = sim.running("a").id
    sim.exit("a", 0)
    looks = len(sim.times("Look"))
    sim.feed(h.RuntimeChanged(container_id, exited=True))
    assert len(sim.times("Look")) == looks


def test_event_for_a_container_that_is_being_stopped_is_left_to_the_stop() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"]).feed(h.DesiredRemoved())
    looks = len(sim.times("Look"))
    sim.feed(h.RuntimeChanged(sim.latest("a").id, exited=True))
    assert len(sim.times("Look")) == looks


def test_exit_of_an_unknown_container_is_a_reason_to_look() -> None:
    sim = started(make_pod("a"))
    sim.send(h.RuntimeChanged("stranger", exited=True))
    assert sim.under_way("Look").action == Look(Why.RUNTIME_CHANGED, frozenset({"stranger"}))
    sim.settle()
    assert sim.state.expected_exits == frozenset()
    assert sim.names_running() == {"a"}


def test_changes_during_a_look_lead_to_exactly_one_more() -> None:
    sim = started(make_pod("a"), hold=["Look"])
    for _ in range(5):
        sim.send(h.RuntimeChanged())
    assert len(sim.times("Look")) == 1
    sim.release("Look")
    assert len(sim.times("Look")) == 2
    sim.release("Look")
    assert len(sim.times("Look")) == 2


def test_failed_look_is_tried_again() -> None:
    sim = started(make_pod("a"))
    sim.failures["Look"] = [h.Failure("unavailable")] * 2
    sim.exit("a", 1).advance(1)
    assert sim.times("Look") == [0, 0.25, 0.75]
    assert sim.running("a").restart_count == 1


def test_container_removed_by_hand_is_made_again_with_the_next_count() -> None:
    sim = started(make_pod("a"))
    del sim.ran[sim.running("a").id]
    sim.feed(h.RuntimeChanged())
    assert sim.running("a").restart_count == 1


def test_failed_create_shows_its_reason_and_asks_for_the_image_again() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["CreateContainer"] = [h.Failure("bad command", "CreateContainerConfigError")]
    sim.feed(h.Woke())
    assert sim.waiting("a") == ("CreateContainerConfigError", "bad command")
    assert sim.said("Failed") == ["Error: bad command"]
    sim.advance(1)
    assert sim.orders("EnsureImage") == ["EnsureImage a", "EnsureImage a"]
    assert sim.names_running() == {"a"} and sim.waiting("a") is None


def test_image_that_vanished_before_create_is_had_again_without_an_error_for_users() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["CreateContainer"] = [h.Failure("image not found", image_gone=True)]
    sim.feed(h.Woke()).advance(1)
    assert sim.said("Failed") == [] and sim.names_running() == {"a"}


def test_failed_start_shows_run_container_error_until_it_runs() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["StartContainer"] = [h.Failure("exec format error")]
    sim.feed(h.Woke())
    assert sim.waiting("a") == ("RunContainerError", "exec format error")
    sim.advance(1)
    assert sim.waiting("a") is None and sim.state.memory("a").failure == ""
    assert sim.orders("CreateContainer") == ["CreateContainer a"], "it was created once"


def test_image_refusal_waits_as_long_as_the_image_side_says() -> None:
    sim = new_sim(make_pod("a"))
    sim.failures["EnsureImage"] = [
        h.Failure("pull failed", "ErrImagePull", 10.0),
        h.Failure('Back-off pulling image "x"', "ImagePullBackOff", 20.0),
    ]
    sim.feed(h.Woke())
    assert sim.waiting("a") == ("ErrImagePull", "pull failed")
    sim.advance(9.9)
    assert sim.times("EnsureImage") == [0]
    sim.advance(0.2)
    assert sim.waiting("a") == ("ImagePullBackOff", 'Back-off pulling image "x"')
    sim.advance(20)
    assert sim.times("EnsureImage") == [0, 10, 30]
    assert sim.waiting("a") is None and sim.names_running() == {"a"}


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_image_that_can_never_be_had_is_not_asked_for_until_the_definition_changes(reason: str) -> None:
    sim = new_sim(make_pod(make_container("a", "Bad::name")))
    sim.failures["EnsureImage"] = [h.Failure("cannot", reason, float("inf"))]
    sim.feed(h.Woke()).advance(3600)
    assert sim.wake_at is None
    assert sim.times("EnsureImage") == [0]
    assert sim.waiting("a") == (reason, "cannot")
    sim.feed(h.DesiredChanged(make_pod("a")))
    assert sim.names_running() == {"a"}


def test_refused_image_does_not_take_a_wanted_look_away() -> None:
    sim = new_sim(make_pod("a", "b"), hold=["EnsureImage", "Look"]).feed(h.Woke())
    sim.send(h.RuntimeChanged())
    sim.send(h.RuntimeChanged())
    sim.fail("EnsureImage", h.Failure("no", "ErrImagePull", 10.0), "a")
    sim.release("Look")
    assert sim.is_under_way("Look")


def test_image_of_an_older_definition_is_not_used_for_the_new_one() -> None:
    sim = new_sim(make_pod(make_container("a", "old:1")), hold=["EnsureImage"]).feed(h.Woke())
    order = sim.under_way("EnsureImage")
    sim.send(h.DesiredChanged(make_pod(make_container("a", "new:1"))))
    assert order.cancelled
    sim.pending.remove(order)
    sim.send(h.ActionDone(order.action, h.Result(image_id="sha256:old:1")))  # it was done just before
    sim.release("EnsureImage")
    assert sim.last("CreateContainer").image_id == "sha256:new:1"


def test_finished_sidecar_start_is_not_repeated_by_every_event() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")]))
    before = len(sim.log)
    sim.feed(h.Woke(), h.RuntimeReturned(), h.NetworkChanged(""), h.Woke())
    assert sim.log[before:] == []


def test_pod_without_a_definition_is_left_alone_until_it_is_let_go() -> None:
    sim = PodSim(new_state(None))
    box = sim.put_box()
    sim.put(make_container("a"), box, Phase.EXITED, code=1)
    sim.state = new_state(None, observed=sim.look())
    sim.feed(h.Woke())
    assert sim.orders() == []
    sim.feed(h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN)


def test_in_flight_actions_are_keyed_by_kind_and_container() -> None:
    sim = new_sim(make_pod("a", "b"), hold=["EnsureImage", "RunSandbox"]).feed(h.Woke())
    assert set(sim.state.in_flight) == {
        Key("EnsureImage", "a"),
        Key("EnsureImage", "b"),
        Key("RunSandbox"),
    }
    assert sim.has(Volumes.MOUNTED)


def test_last_known_address_is_kept_when_the_sandbox_is_gone() -> None:
    sim = started(make_pod("a", policy="Never"))
    assert sim.state.ips == ("10.0.0.5",)
    sim.feed(h.DesiredRemoved())
    assert sim.state.ips == ("10.0.0.5",)
    assert sim.state.observed is not None and sim.state.observed == Observed(sim.state.observed.as_of)
