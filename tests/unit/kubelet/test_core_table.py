"""The table of stages: complete, one-way, and pure."""

from __future__ import annotations

import copy

import pytest

from aio.errors import Bug
from kube.objects.core_v1 import HTTPGetAction, Probe
from kubelet import happened as h
from kubelet.actions import Look
from kubelet.draft import Policy
from kubelet.lifecycle import RULES, adopt, own_grace_seconds, step
from kubelet.model import Instant, Observed, PodState, Stage, StopRequest
from kubelet.probing import wanted_probes
from kubelet.story import STORY_LENGTH, Story
from probes.spec import BrokenCheck
from tests.builders import PROBE, make_container, make_pod, make_sidecar, new_sim, new_state, started

pytestmark = pytest.mark.pure

# What cannot happen: planning of one stage never finds out what belongs to another.
ILLEGAL = {
    (Stage.SYNCING, h.NothingRan),
    (Stage.SYNCING, h.EverythingReleased),
    (Stage.TERMINATING, h.ContainersFinished),
    (Stage.TERMINATING, h.DeadlinePassed),
    (Stage.TERMINATING, h.EverythingReleased),
    (Stage.TERMINATED, h.ContainersFinished),
    (Stage.TERMINATED, h.DeadlinePassed),
    (Stage.TERMINATED, h.NothingRan),
}
EVENTS = [
    kind
    for kind in vars(h).values()
    if isinstance(kind, type) and issubclass(kind, h.Happened) and kind is not h.Happened
]


def test_every_stage_knows_every_event_or_refuses_it_on_purpose() -> None:
    every = {(stage, event) for stage in Stage for event in EVENTS}
    assert every - RULES.keys() == ILLEGAL
    assert RULES.keys() <= every


@pytest.mark.parametrize(("stage", "event"), sorted(ILLEGAL, key=str), ids=str)
def test_event_of_another_stage_is_a_bug_that_names_the_pod(stage: Stage, event: type[h.Happened]) -> None:
    state = new_state(make_pod("a"), stage=stage, stop=StopRequest(1.0, 2.0))
    with pytest.raises(Bug, match=f"cannot take {event.__name__} of pod uid-1: because it is {stage.name}"):
        step(state, event(), Instant(1.0, 1.0), Policy())


@pytest.mark.parametrize("event", [h.Woke(), h.RuntimeReturned(), h.RuntimeChanged("x", exited=True)])
def test_forgotten_pod_ignores_whatever_comes_late(event: h.Happened) -> None:
    state = new_state(make_pod("a"), stage=Stage.FORGOTTEN)
    result = step(state, event, Instant(1.0, 1.0), Policy())
    assert result.state == state and result.actions == () and result.wake_at is None


def test_step_gives_the_same_answer_twice_and_leaves_its_input_alone() -> None:
    state = new_state(make_pod("a", "b", init=[make_sidecar("s")]))
    before = copy.deepcopy(state)
    now = Instant(600.0, 1_750_000_100.0)
    first, second = (step(state, h.Woke(), now, Policy()) for _ in range(2))
    assert first == second and state == before


def test_removal_of_a_pod_that_is_released_already_only_forgets_it() -> None:
    sim = started(make_pod("a", policy="Never")).exit("a", 0)
    before = len(sim.log)
    sim.feed(h.DesiredRemoved())
    assert sim.orders()[before:] == ["RemoveSandbox", "ForgetPod"]


@pytest.mark.parametrize("stage", [Stage.SYNCING, Stage.TERMINATING, Stage.TERMINATED])
def test_pod_that_nobody_looked_at_is_looked_at_first_in_every_stage(stage: Stage) -> None:
    state = new_state(make_pod("a"), stage=stage, observed=None, stop=StopRequest(1.0, 2.0))
    result = step(state, h.Woke(), Instant(1.0, 1.0), Policy())
    assert [type(action) for action in result.actions] == [Look]


def test_adopting_remembers_counts_exits_and_addresses_from_the_runtime() -> None:
    sim = started(make_pod("a")).exit("a", 3)
    state = adopt(new_state(sim.state.pod, observed=sim.look()), sim.now)
    memory = state.memory("a")
    assert memory.restart_count == 1
    assert memory.last_exit is not None and memory.last_exit.exit_code == 3
    assert state.ips == ("10.0.0.5",) and state.sandbox_attempts == 1


def test_grace_of_a_pod_without_a_definition_or_annotations_is_the_default() -> None:
    assert own_grace_seconds(new_state(None)) == 30
    assert own_grace_seconds(new_state(None, observed=Observed(0.0))) == 30
    assert own_grace_seconds(new_state(make_pod("a", grace=0))) == 0


# Which probes are wanted


def kinds(state: PodState, name: str) -> set[str]:
    return {key.kind for key in wanted_probes(state, "192.0.2.1") if key.container == name}


PROBED = make_container("a", liveness_probe=PROBE, readiness_probe=PROBE, startup_probe=PROBE)


def test_only_the_startup_probe_runs_until_it_has_passed() -> None:
    sim = started(make_pod(PROBED))
    assert kinds(sim.state, "a") == {"startup"}
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "startup", True))
    assert kinds(sim.state, "a") == {"liveness", "readiness"}


def test_probes_wait_for_the_post_start_hook() -> None:
    sim = new_sim(make_pod(make_container("a", post_start=True, liveness_probe=PROBE)), hold=["RunPostStart"])
    sim.feed(h.Woke())
    assert kinds(sim.state, "a") == set()
    sim.release("RunPostStart")
    assert kinds(sim.state, "a") == {"liveness"}


def test_restarted_container_is_probed_anew_from_its_startup_probe() -> None:
    sim = started(make_pod(PROBED))
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "startup", True))
    sim.exit("a", 1)
    (target,) = wanted_probes(sim.state, "").values()
    assert target.container_id == sim.running("a").id
    assert kinds(sim.state, "a") == {"startup"}


def test_only_readiness_is_probed_while_the_pod_stops_sidecars_included() -> None:
    sidecar = make_sidecar("s", liveness_probe=PROBE, readiness_probe=PROBE)
    pod = make_pod(make_container("a", liveness_probe=PROBE, readiness_probe=PROBE), init=[sidecar])
    sim = started(pod, hold=["StopContainer"])
    assert kinds(sim.state, "s") == kinds(sim.state, "a") == {"liveness", "readiness"}
    sim.feed(h.DesiredRemoved())
    assert kinds(sim.state, "s") == kinds(sim.state, "a") == {"readiness"}
    sim.hold = set()
    sim.settle()
    assert wanted_probes(sim.state, "") == {}


def test_container_that_failed_its_liveness_probe_is_not_asked_again() -> None:
    sim = started(make_pod(make_container("a", liveness_probe=PROBE)), hold=["StopContainer"])
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "liveness", False))
    assert kinds(sim.state, "a") == set()


def test_probes_reach_a_host_network_pod_at_the_nodes_address_and_others_at_their_own() -> None:
    for host, ip in ((True, "192.0.2.1"), (False, "10.0.0.5")):
        sim = started(make_pod(make_container("a", readiness_probe=PROBE), host_network=host))
        (target,) = wanted_probes(sim.state, "192.0.2.1").values()
        assert target.pod_ip == ip


def test_container_that_was_ready_before_keeps_so_until_its_first_result() -> None:
    sim = started(make_pod(make_container("a", readiness_probe=PROBE)))
    (target,) = wanted_probes(sim.state, "").values()
    assert target.seed is None
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "readiness", True))
    (target,) = wanted_probes(sim.state, "").values()
    assert target.seed is True


# The story


def test_story_tells_events_and_actions_with_their_reasons_and_forgets_the_oldest() -> None:
    sim = new_sim(make_pod("a"))
    story = Story()
    for event in (h.Woke(), h.RuntimeChanged()):
        result = sim.send(event)
        story.add(sim.now, event, sim.state.stage, result.actions)
    assert story.lines()[0].split(" ", 1)[1] == (
        "SYNCING Woke -> PrepareVolumes: containers need their volumes; "
        "EnsureImage(container=a): the container needs its image"
    )
    for _ in range(STORY_LENGTH + 5):
        story.add(sim.now, h.RuntimeReturned(), Stage.SYNCING, ())
    assert len(story.lines()) == len(story.documents()) == STORY_LENGTH


def test_probe_of_a_port_that_no_one_has_is_tried_and_says_so_instead_of_ending_the_agent() -> None:
    probe = Probe(http_get=HTTPGetAction(port="nowhere"), period_seconds=7)
    sim = started(make_pod(make_container("a", liveness_probe=probe)))
    (target,) = wanted_probes(sim.state, "").values()
    reason = 'livenessProbe.httpGet.port: no port of this container is named "nowhere"'
    assert target.spec.check == BrokenCheck(reason)
    assert target.spec.period == 7 and target.may_fire
