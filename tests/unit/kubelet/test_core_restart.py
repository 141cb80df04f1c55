"""What ends and comes back: policies, exit codes, back-off, failed probes, changed definitions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.objects.core_v1 import (
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    PodSpec,
    ResourceRequirements,
)
from kubelet import happened as h
from kubelet.draft import Policy
from kubelet.model import CrashBackoff, ObservedContainer, Phase, Stage
from kubelet.restart import Wait, is_sidecar, next_restart, should_restart
from tests.builders import PROBE, PodSim, make_container, make_pod, make_sidecar, new_sim, started, with_spec

pytestmark = pytest.mark.pure


def rule(operator: str, *codes: int, action: str = "Restart") -> ContainerRestartRule:
    return ContainerRestartRule(
        action=action, exit_codes=ContainerRestartRuleOnExitCodes(operator=operator, values=codes)
    )


@pytest.mark.parametrize(
    ("pod_policy", "own", "code", "back"),
    [
        ("Always", None, 0, True),
        ("Always", None, 1, True),
        ("OnFailure", None, 0, False),
        ("OnFailure", None, 1, True),
        ("OnFailure", None, 137, True),
        ("Never", None, 0, False),
        ("Never", None, 1, False),
        ("", None, 0, True),
        ("Never", "Always", 0, True),
        ("Never", "OnFailure", 1, True),
        ("Never", "OnFailure", 0, False),
        ("Always", "Never", 1, False),
        ("Always", "OnFailure", 0, False),
    ],
)
def test_policy_of_the_container_comes_before_the_pods(
    pod_policy: str, own: str | None, code: int, back: bool
) -> None:
    container = make_container("a", restart_policy=own)
    spec = PodSpec(containers=(container,), restart_policy=pod_policy)
    assert should_restart(spec, container, code) is back


@pytest.mark.parametrize(
    ("rules", "code", "back"),
    [
        ((rule("In", 42),), 42, True),
        ((rule("In", 42),), 1, False),
        ((rule("NotIn", 0, 1),), 42, True),
        ((rule("NotIn", 0, 1),), 1, False),
        ((rule("In", 7), rule("In", 8)), 8, True),
        ((ContainerRestartRule(action="Restart"),), 0, False),
    ],
)
def test_restart_rules_decide_first_and_the_policy_for_the_rest(
    rules: tuple[ContainerRestartRule, ...], code: int, back: bool
) -> None:
    container = make_container("a", restart_policy="Never", restart_policy_rules=rules)
    spec = PodSpec(containers=(container,), restart_policy="Always")
    assert should_restart(spec, container, code) is back


@pytest.mark.parametrize(("policy", "sidecar"), [("Always", True), ("OnFailure", False), (None, False)])
def test_sidecar_is_an_init_container_that_always_restarts(policy: str | None, sidecar: bool) -> None:
    assert is_sidecar(make_container("a", restart_policy=policy)) is sidecar


# Back-off as numbers


def test_first_restart_is_immediate_and_remembers_ten_seconds() -> None:
    assert next_restart(None, 100.0, 100.5, 300.0) == CrashBackoff(10.0, 100.5)


def test_restart_waits_from_the_end_of_the_container() -> None:
    assert next_restart(CrashBackoff(10.0, 95.0), 100.0, 109.9, 300.0) == Wait(110.0, 10.0)
    assert next_restart(CrashBackoff(10.0, 95.0), 100.0, 110.0, 300.0) == CrashBackoff(20.0, 110.0)


@pytest.mark.parametrize(("delay", "after"), [(160.0, 300.0), (300.0, 300.0), (1.0, 2.0)])
def test_delay_doubles_up_to_the_maximum(delay: float, after: float) -> None:
    assert next_restart(CrashBackoff(delay, 0.0), 1.0, 1000.0, 300.0) == CrashBackoff(after, 1000.0)


def test_configured_maximum_below_ten_seconds_is_the_first_delay_too() -> None:
    assert next_restart(None, 0.0, 0.0, 3.0) == CrashBackoff(3.0, 0.0)


def test_back_off_is_forgotten_only_after_more_than_ten_quiet_minutes() -> None:
    assert next_restart(CrashBackoff(80.0, 0.0), 600.0, 600.0, 300.0) == Wait(680.0, 80.0)
    assert next_restart(CrashBackoff(80.0, 0.0), 600.1, 600.1, 300.0) == CrashBackoff(10.0, 600.1)


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(1, 300), st.floats(1, 300))
def test_back_off_never_exceeds_its_maximum_nor_waits_twice(
    finished: float, later: float, delay: float, maximum: float
) -> None:
    known = CrashBackoff(min(delay, maximum), finished)
    answer = next_restart(known, finished, finished + later, maximum)
    if isinstance(answer, Wait):
        assert answer.until > finished + later
        again = next_restart(known, finished, answer.until, maximum)
        assert isinstance(again, CrashBackoff) and again.delay_seconds <= maximum
    else:
        assert answer.delay_seconds <= maximum


# Back-off in a pod


def crash_forever(sim: PodSim, name: str, times: int) -> list[float]:
    """Crash as soon as it runs; the seconds it was held back each time."""
    held = []
    for _ in range(times):
        ended = sim.wall
        sim.exit(name, 1)
        for _ in range(3):
            if sim.latest(name).phase is Phase.RUNNING:
                break
            assert sim.wake_at is not None
            sim.advance(sim.wake_at - sim.mono)
        held.append(round(sim.running(name).started_at / 1e9 - ended, 2))
    return held


def test_crashing_container_comes_back_at_once_and_then_after_ten_to_three_hundred_seconds() -> None:
    sim = started(make_pod("a"))
    assert crash_forever(sim, "a", 8) == [0, 10, 20, 40, 80, 160, 300, 300]
    assert sim.running("a").restart_count == 8


def test_maximum_of_the_back_off_is_configurable() -> None:
    sim = new_sim(make_pod("a"))
    sim.policy = Policy(crash_backoff_max_seconds=15.0)
    sim.feed(h.Woke())
    assert crash_forever(sim, "a", 4) == [0, 10, 15, 15]


def test_pod_wakes_exactly_when_the_back_off_is_over() -> None:
    sim = started(make_pod("a")).exit("a", 1).advance(3)
    sim.exit("a", 1)
    assert sim.wake_at == pytest.approx(sim.mono + 10, abs=1e-6)
    sim.advance(9.99)
    assert sim.latest("a").phase is Phase.EXITED
    sim.advance(0.02)
    assert sim.running("a").restart_count == 2


def test_back_off_starts_anew_after_ten_quiet_minutes() -> None:
    sim = started(make_pod("a"))
    crash_forever(sim, "a", 4)
    sim.advance(601)
    assert crash_forever(sim, "a", 2) == [0, 10]


def test_short_success_does_not_reset_the_back_off() -> None:
    sim = started(make_pod("a"))
    crash_forever(sim, "a", 3)
    sim.advance(300)
    sim.exit("a", 0)
    assert sim.waiting("a") is not None
    sim.advance(39.9)
    assert sim.latest("a").phase is Phase.EXITED
    sim.advance(0.2)
    assert sim.names_running() == {"a"}


def test_held_back_container_says_so_in_kubernetes_words_once() -> None:
    sim = started(make_pod("a")).exit("a", 1).exit("a", 1)
    sim.feed(h.Woke(), h.Woke())
    assert sim.waiting("a") == (
        "CrashLoopBackOff",
        "back-off 10s restarting failed container=a pod=web_default(uid-1)",
    )
    assert sim.said("BackOff") == ["Back-off restarting failed container a in pod web_default(uid-1)"]
    sim.advance(10)
    assert sim.waiting("a") is None
    sim.exit("a", 1)
    assert sim.waiting("a") == (
        "CrashLoopBackOff",
        "back-off 20s restarting failed container=a pod=web_default(uid-1)",
    )


def test_long_back_off_is_written_as_go_writes_durations() -> None:
    sim = started(make_pod("a"))
    crash_forever(sim, "a", 6)
    sim.exit("a", 1)
    assert sim.waiting("a") == (
        "CrashLoopBackOff",
        "back-off 5m0s restarting failed container=a pod=web_default(uid-1)",
    )


def test_one_containers_back_off_does_not_hold_another() -> None:
    sim = started(make_pod("a", "b")).exit("a", 1).exit("a", 1)
    sim.exit("b", 1)
    assert sim.running("b").restart_count == 1
    assert sim.latest("a").phase is Phase.EXITED


def test_changed_image_or_resources_end_the_back_off_at_once() -> None:
    for changed in (
        make_container("a", "other:1"),
        make_container("a", resources=ResourceRequirements(limits={"cpu": "1"})),
    ):
        sim = started(make_pod("a")).exit("a", 1).exit("a", 1)
        assert sim.latest("a").phase is Phase.EXITED
        sim.feed(h.DesiredChanged(make_pod(changed)))
        assert sim.names_running() == {"a"}


def test_change_of_something_else_keeps_the_back_off() -> None:
    sim = started(make_pod("a")).exit("a", 1).exit("a", 1)
    sim.feed(h.DesiredChanged(make_pod(make_container("a", tty=True))))
    assert sim.latest("a").phase is Phase.EXITED


# Pods that end


@pytest.mark.parametrize(("policy", "code"), [("Never", 0), ("Never", 3), ("OnFailure", 0)])
def test_pod_whose_containers_ended_for_good_stops_and_keeps_its_remains(policy: str, code: int) -> None:
    sim = started(make_pod("a", "b", policy=policy)).exit("a", code)
    assert sim.is_at(Stage.SYNCING)
    sim.exit("b", code).advance(7200)
    assert sim.is_at(Stage.TERMINATED)
    assert sim.latest("a").exit_code == code and len(sim.ran) == 2
    assert sim.orders()[-2:] == ["StopSandbox", "ReleaseVolumes"]
    sim.feed(h.DesiredRemoved())
    assert sim.is_at(Stage.FORGOTTEN) and not sim.ran and not sim.boxes


def test_failed_init_container_of_a_never_pod_ends_the_pod() -> None:
    sim = started(make_pod("a", init=["i"], policy="Never")).exit("i", 2)
    assert sim.is_at(Stage.TERMINATED)
    assert "CreateContainer a" not in sim.orders()


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_failed_init_container_is_tried_again_under_the_back_off(policy: str) -> None:
    sim = started(make_pod("a", init=["i"], policy=policy))
    assert crash_forever(sim, "i", 3) == [0, 10, 20]
    sim.exit("i", 0)
    assert sim.names_running() == {"a"}


def test_init_containers_own_rules_bring_it_back_in_a_never_pod() -> None:
    init = make_container("i", restart_policy="Never", restart_policy_rules=(rule("In", 42),))
    sim = started(make_pod("a", init=[init], policy="Never")).exit("i", 42)
    assert sim.running("i").restart_count == 1
    sim.exit("i", 1)
    assert sim.is_at(Stage.TERMINATED)


def test_init_container_with_its_own_never_ends_an_always_pod() -> None:
    sim = started(make_pod("a", init=[make_container("i", restart_policy="Never")])).exit("i", 1)
    assert sim.is_at(Stage.TERMINATED)


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_sidecar_comes_back_under_every_policy_while_the_pod_works(policy: str) -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")], policy=policy)).exit("s", 0)
    assert sim.running("s").restart_count == 1


def test_sidecars_are_stopped_once_every_container_is_done_and_not_restarted() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")], policy="Never"), hold=["StopContainer"])
    sim.exit("a", 0)
    assert sim.is_at(Stage.TERMINATING)
    assert sim.orders("StopContainer") == ["StopContainer s"]
    sim.release("StopContainer")
    assert sim.is_at(Stage.TERMINATED)
    assert sim.orders("CreateContainer") == ["CreateContainer s", "CreateContainer a"]


def test_sidecars_exit_code_does_not_end_the_pod() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")], policy="Never")).exit("s", 1)
    assert sim.is_at(Stage.SYNCING) and sim.names_running() == {"s", "a"}


# Failed probes


def settled(name: str, container_id: str, kind: str, *, grace: int | None = None) -> h.ProbeSettled:
    return h.ProbeSettled(name, container_id, kind, False, grace)


@pytest.mark.parametrize("kind", ["liveness", "startup"])
def test_failed_probe_stops_the_container_and_brings_it_back(kind: str) -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), "b"), hold=["RunPreStop", "StopContainer"])
    sim.feed(settled("a", sim.running("a").id, kind))
    assert sim.said("Killing") == [f"Container a failed {kind} probe, will be restarted"]
    assert sim.orders("RunPreStop", "StopContainer") == ["RunPreStop a"]
    sim.release("RunPreStop")
    assert sim.last("StopContainer").grace_seconds == 30
    sim.release("StopContainer")
    assert sim.running("a").restart_count == 1
    assert sim.running("b").restart_count == 0


def test_failed_probes_own_grace_replaces_the_pods() -> None:
    sim = started(make_pod("a", grace=60)).feed()
    sim.feed(settled("a", sim.running("a").id, "liveness", grace=5))
    assert sim.last("StopContainer").grace_seconds == 5


def test_hook_of_an_unhealthy_container_is_paid_from_its_grace() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), grace=20), hold=["RunPreStop"])
    sim.feed(settled("a", sim.running("a").id, "liveness"))
    assert sim.last("RunPreStop").budget_seconds == 20
    sim.advance(15)
    sim.release("RunPreStop")
    assert sim.last("StopContainer").grace_seconds == pytest.approx(5)


def test_hook_that_outlives_the_grace_of_its_container_is_given_up() -> None:
    sim = started(make_pod(make_container("a", pre_stop=True), grace=20), hold=["RunPreStop"])
    sim.feed(settled("a", sim.running("a").id, "liveness")).advance(20.1)
    assert sim.last("StopContainer").grace_seconds == 2
    assert sim.running("a").restart_count == 1


def test_unhealthy_container_that_exits_zero_comes_back_under_on_failure() -> None:
    sim = started(make_pod("a", "b", policy="OnFailure"))
    sim.feed(settled("a", sim.running("a").id, "liveness"))
    assert sim.running("a").restart_count == 1


def test_unhealthy_container_of_a_never_pod_is_stopped_for_good() -> None:
    sim = started(make_pod("a", policy="Never"))
    sim.on_term = {"a": 143}
    sim.feed(settled("a", sim.running("a").id, "liveness"))
    assert sim.said("Killing") == ["Container a failed liveness probe"]
    assert sim.is_at(Stage.TERMINATED)


def test_unhealthy_sidecar_is_called_an_init_container() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")], policy="Never"))
    sim.feed(settled("s", sim.running("s").id, "liveness"))
    assert sim.said("Killing") == ["Init container s failed liveness probe"]
    assert sim.running("s").restart_count == 1


def test_restart_after_a_failed_probe_is_under_the_back_off() -> None:
    sim = started(make_pod("a"))
    sim.feed(settled("a", sim.running("a").id, "liveness"))
    sim.feed(settled("a", sim.running("a").id, "liveness"))
    assert sim.latest("a").phase is Phase.EXITED
    assert sim.waiting("a") == (
        "CrashLoopBackOff",
        "back-off 10s restarting failed container=a pod=web_default(uid-1)",
    )
    sim.advance(10)
    assert sim.running("a").restart_count == 2


def test_same_failed_probe_said_twice_stops_once() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"])
    container_id = sim.running("a").id
    sim.feed(settled("a", container_id, "liveness"), settled("a", container_id, "liveness"))
    assert sim.orders("StopContainer") == ["StopContainer a"] and len(sim.said("Killing")) == 1


def test_late_word_about_a_replaced_container_changes_nothing() -> None:
    sim = started(make_pod("a"))
    old = sim.running("a").id
    sim.exit("a", 1)
    new = sim.running("a").id
    sim.feed(h.ProbeSettled("a", new, "readiness", True))
    for kind in ("liveness", "startup", "readiness"):
        sim.feed(settled("a", old, kind))
    assert sim.running("a").id == new
    assert sim.state.memory("a").ready_id == new


def test_readiness_is_remembered_by_container_and_stops_nothing() -> None:
    sim = started(make_pod("a"))
    container_id = sim.running("a").id
    sim.feed(h.ProbeSettled("a", container_id, "readiness", True))
    assert sim.state.memory("a").ready_id == container_id
    sim.feed(settled("a", container_id, "readiness"))
    assert sim.state.memory("a").ready_id == ""
    assert sim.names_running() == {"a"}


def test_passed_startup_probe_is_remembered_by_container() -> None:
    sim = started(make_pod(make_container("a", startup_probe=PROBE)))
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "startup", True))
    assert sim.state.memory("a").started_id == sim.running("a").id


# Changed definitions


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_changed_image_restarts_the_container_in_place_under_every_policy(policy: str) -> None:
    sim = started(make_pod("a", "b", policy=policy), hold=["StopContainer"])
    sim.feed(h.DesiredChanged(make_pod(make_container("a", "new:2"), "b", policy=policy)))
    assert sim.said("Killing") == ["Container a definition changed, will be restarted"]
    assert sim.names_running() == {"a", "b"}
    sim.release("StopContainer")
    assert sim.running("a").image == "new:2" and sim.running("a").restart_count == 1
    assert sim.running("b").restart_count == 0
    assert len(sim.boxes) == 1


def test_changed_image_of_a_sidecar_restarts_it() -> None:
    sim = started(make_pod("a", init=[make_sidecar("s")]))
    sim.feed(h.DesiredChanged(make_pod("a", init=[make_sidecar("s", image="new:2")])))
    assert sim.running("s").image == "new:2"
    assert sim.said("Killing") == ["Init container s definition changed"]


def test_changed_image_of_a_finished_init_container_does_not_run_it_again() -> None:
    sim = started(make_pod("a", init=["i"])).exit("i", 0)
    sim.feed(h.DesiredChanged(make_pod("a", init=[make_container("i", "new:2")])))
    assert sim.orders("CreateContainer") == ["CreateContainer i", "CreateContainer a"]


def test_change_of_anything_but_name_and_image_restarts_nothing() -> None:
    sim = started(make_pod("a"))
    changed: Container = make_container(
        "a", command=("other",), resources=ResourceRequirements(limits={"cpu": "1"})
    )
    sim.feed(h.DesiredChanged(with_spec(make_pod(changed), priority=3)))
    assert sim.orders("StopContainer", "CreateContainer") == ["CreateContainer a"]


def test_container_that_had_ended_for_good_is_not_run_for_a_new_image() -> None:
    sim = started(make_pod("a", "b", policy="Never")).exit("a", 0)
    sim.feed(h.DesiredChanged(make_pod(make_container("a", "new:2"), "b", policy="Never")))
    assert sim.orders("CreateContainer") == ["CreateContainer a", "CreateContainer b"]


# Tidying


def test_of_dead_containers_only_the_newest_of_each_name_is_kept() -> None:
    sim = started(make_pod("a", "b"))
    crash_forever(sim, "a", 4)
    assert [one.seen.restart_count for one in sim.ran.values() if one.seen.name == "a"] == [3, 4]
    assert sim.orders("RemoveContainer") == ["RemoveContainer a"] * 3


def test_container_in_an_unknown_state_is_stopped_with_pauses_until_it_is_dead() -> None:
    sim = started(make_pod("a"), hold=["StopContainer"])
    one = sim.ran[sim.running("a").id]
    unknown = h.Result(container=_with_phase(sim, Phase.UNKNOWN))
    for _ in range(3):
        sim.feed(h.RuntimeChanged())
        order = sim.under_way("StopContainer")
        assert order.action.key.target == one.seen.id
        sim.pending.remove(order)
        sim.send(h.ActionDone(order.action, unknown))
        sim.settle()
        assert not sim.is_under_way("StopContainer"), "stopped again without a pause"
        assert sim.wake_at is not None
        sim.advance(sim.wake_at - sim.mono)
    sim.release("StopContainer")
    assert sim.running("a").restart_count == 1


def _with_phase(sim: PodSim, phase: Phase) -> ObservedContainer:
    one = sim.ran[sim.running("a").id]
    one.seen = replace(one.seen, phase=phase)
    return one.seen
