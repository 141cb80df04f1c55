"""Any order of events and results: the rules that hold whatever happens, searched by hypothesis.

The machine drives one pod in the scripted world of `tests.builders`. `PodSim` itself checks that no key is
ordered twice and that no stage goes back; here are the rest, and that every removed pod comes to its end.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kube.objects.core_v1 import Container, Pod
from kubelet import actions as a
from kubelet import happened as h
from kubelet.model import Key, Phase, Stage, StopRequest
from tests.builders import (
    PROBE,
    PodSim,
    make_container,
    make_pod,
    make_sidecar,
    new_sim,
)

pytestmark = pytest.mark.pure

STARTS = (a.RunSandbox, a.CreateContainer, a.StartContainer, a.PrepareVolumes, a.EnsureImage, a.RunPostStart)
BRIEF = st.sampled_from([0.0, 0.01, 0.3, 2.0, 11.0, 31.0, 400.0])


@st.composite
def definitions(draw: st.DrawFn) -> Pod:
    names = iter("abcdef")
    init: list[Container] = []
    for _ in range(draw(st.integers(0, 2))):
        name = next(names)
        sidecar = draw(st.booleans())
        hooks: dict[str, Any] = (
            {"pre_stop": draw(st.booleans()), "post_start": draw(st.booleans())} if sidecar else {}
        )
        init.append(make_sidecar(name, **hooks) if sidecar else make_container(name))
    regular = [
        make_container(
            next(names),
            draw(st.sampled_from(["one:1", "two:2"])),
            post_start=draw(st.booleans()),
            pre_stop=draw(st.booleans()),
            startup_probe=PROBE if draw(st.booleans()) else None,
            restart_policy=draw(st.sampled_from([None, None, "Never", "OnFailure", "Always"])),
        )
        for _ in range(draw(st.integers(1, 2)))
    ]
    return make_pod(
        *regular,
        init=init,
        policy=draw(st.sampled_from(["Always", "OnFailure", "Never"])),
        grace=draw(st.sampled_from([0, 2, 30])),
        host_network=draw(st.booleans()),
        active_deadline_seconds=draw(st.sampled_from([None, None, 100])),
    )


class AnyOrder(RuleBasedStateMachine):
    """One pod to which everything happens."""

    sim: PodSim

    @initialize(pod=definitions())
    def begin(self, pod: Pod) -> None:
        self.sim = new_sim(pod)
        self.counts: dict[str, int] = {}
        self.runs: set[str] = set()
        self.sent = 0
        self.stop_at: int | None = None
        self.send(h.Woke())

    def send(self, event: h.Happened) -> None:
        self.sim.send(event)
        if self.stop_at is None and self.sim.state.stage > Stage.SYNCING:
            self.stop_at = len(self.sim.log)

    # The world

    @precondition(lambda self: self.sim.pending)
    @rule(data=st.data())
    def action_ends_well(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(range(len(self.sim.pending)))))

    def finish(self, index: int) -> None:
        one = self.sim.pending.pop(index)
        if one.cancelled:
            self.send(h.ActionCancelled(one.action))
        elif self.is_impossible(one.action):
            self.send(h.ActionFailed(one.action, h.Failure("it is gone")))
        else:
            self.send(h.ActionDone(one.action, self.sim.carry_out(one)))

    def is_impossible(self, action: a.Action) -> bool:
        """What no runtime would do: the thing the action is about has gone meanwhile."""
        match action:
            case a.CreateContainer(sandbox_id=box, container=name):
                known = any(
                    one.name == name for one in (*self.pod.spec.init_containers, *self.pod.spec.containers)
                )
                return not known or box not in self.sim.boxes or not self.sim.boxes[box].ready
            case a.StartContainer(container_id=container):
                one = self.sim.ran.get(container)
                return one is None or one.seen.phase is not Phase.CREATED
        return False

    @property
    def pod(self) -> Pod:
        assert self.sim.state.pod is not None
        return self.sim.state.pod

    @precondition(lambda self: self.sim.pending)
    @rule(data=st.data(), retry=st.sampled_from([None, 2.0, float("inf")]), odd=st.booleans())
    def action_fails(self, data: st.DataObject, retry: float | None, odd: bool) -> None:
        one = self.sim.pending.pop(data.draw(st.sampled_from(range(len(self.sim.pending)))))
        if one.cancelled:
            self.send(h.ActionCancelled(one.action))
            return
        if retry == float("inf") and not isinstance(one.action, a.EnsureImage):
            retry = None  # only an image may be refused for good
        failure = h.Failure("no", "ErrImagePull", retry, image_gone=odd, name_taken=odd)
        self.send(h.ActionFailed(one.action, failure))

    @precondition(lambda self: self.sim.pending)
    @rule(data=st.data())
    def effect_happens_and_the_answer_is_lost(self, data: st.DataObject) -> None:
        one = self.sim.pending.pop(data.draw(st.sampled_from(range(len(self.sim.pending)))))
        if not one.cancelled and not self.is_impossible(one.action):
            self.sim.carry_out(one)
        self.send(h.ActionFailed(one.action, h.Failure("deadline exceeded")))

    @rule(data=st.data(), code=st.sampled_from([0, 1, 137]), tell=st.booleans())
    def container_ends(self, data: st.DataObject, code: int, tell: bool) -> None:
        running = sorted(key for key, one in self.sim.ran.items() if one.seen.phase is Phase.RUNNING)
        if running:
            container_id = data.draw(st.sampled_from(running))
            self.sim._end(container_id, code)
            if tell:
                self.send(h.RuntimeChanged(container_id, exited=True))

    @rule(data=st.data(), gone=st.booleans())
    def sandbox_is_lost(self, data: st.DataObject, gone: bool) -> None:
        if self.sim.boxes:
            box = data.draw(st.sampled_from(sorted(self.sim.boxes)))
            if gone:
                self.sim._remove_sandbox(a.RemoveSandbox("", box))
            else:
                self.sim.boxes[box].ready = False
            self.send(h.RuntimeChanged())

    @rule(data=st.data())
    def container_is_removed_by_hand(self, data: st.DataObject) -> None:
        if self.sim.ran:
            del self.sim.ran[data.draw(st.sampled_from(sorted(self.sim.ran)))]
            self.send(h.RuntimeChanged())

    # Word from elsewhere

    @rule(seconds=BRIEF)
    def time_passes(self, seconds: float) -> None:
        self.sim._move(seconds)
        if self.sim.wake_at is not None and self.sim.wake_at <= self.sim.mono:
            self.send(h.Woke())

    @rule(
        data=st.data(),
        kind=st.sampled_from(["liveness", "readiness", "startup"]),
        healthy=st.booleans(),
        grace=st.sampled_from([None, 1]),
    )
    def probe_settles(self, data: st.DataObject, kind: str, healthy: bool, grace: int | None) -> None:
        if self.sim.ran:
            one = self.sim.ran[data.draw(st.sampled_from(sorted(self.sim.ran)))].seen
            self.send(h.ProbeSettled(one.name, one.id, kind, healthy, grace))

    @rule(
        event=st.sampled_from(
            [
                h.RuntimeChanged(),
                h.RuntimeChanged("stranger", exited=True),
                h.RuntimeReturned(),
                h.NetworkChanged("not ready"),
                h.NetworkChanged(""),
                h.Woke(),
            ]
        )
    )
    def something_is_heard(self, event: h.Happened) -> None:
        self.send(event)

    @rule(image=st.sampled_from(["one:1", "two:2"]))
    def definition_changes(self, image: str) -> None:
        spec = self.pod.spec
        first = spec.containers[0]
        hooks: dict[str, Any] = {"lifecycle": first.lifecycle, "startup_probe": first.startup_probe}
        changed = make_container(first.name, image, restart_policy=first.restart_policy, **hooks)
        fields = {name: getattr(spec, name) for name in ("host_network", "active_deadline_seconds")}
        self.send(
            h.DesiredChanged(
                make_pod(
                    changed,
                    *spec.containers[1:],
                    init=spec.init_containers,
                    policy=spec.restart_policy or "Always",
                    grace=spec.termination_grace_period_seconds or 0,
                    **fields,
                )
            )
        )

    @rule(grace=st.sampled_from([None, 0, 5, 60]))
    def pod_is_removed(self, grace: int | None) -> None:
        self.send(h.DesiredRemoved(grace))

    @rule(seconds=st.sampled_from([1.0, 30.0]))
    def node_wants_it_stopped(self, seconds: float) -> None:
        now = self.sim.wall
        self.send(h.StopRequested(StopRequest(now, now + seconds, "Evicted", "", "Failed")))

    # What always holds

    @invariant()
    def rules_hold(self) -> None:
        self.in_flight_is_what_is_under_way()
        self.nothing_is_started_after_the_stop()
        self.every_run_has_a_higher_number()
        self.sandboxes_are_numbered_without_a_double()
        self.only_one_container_is_brought_up_at_a_time()
        self.grace_only_shrinks()
        self.stopping_pod_at_rest_has_a_time_to_wake_at()

    def in_flight_is_what_is_under_way(self) -> None:
        if self.sim.state.stage is Stage.FORGOTTEN:
            return  # results that come late are not taken any more
        under_way = {one.action.key for one in self.sim.pending}
        assert set(self.sim.state.in_flight) == under_way

    def nothing_is_started_after_the_stop(self) -> None:
        if self.stop_at is not None:
            late = [action for _, action in self.sim.log[self.stop_at :] if isinstance(action, STARTS)]
            assert not late, late

    def every_run_has_a_higher_number(self) -> None:
        """One that never ran may give its number back; two runs never share one."""
        for one in self.sim.ran.values():
            seen = one.seen
            if seen.started_at and seen.id not in self.runs:
                assert seen.restart_count > self.counts.get(seen.name, -1), "a restart count went back"
                self.runs.add(seen.id)
                self.counts[seen.name] = seen.restart_count

    def sandboxes_are_numbered_without_a_double(self) -> None:
        made = [box.attempt for box in self.sim.boxes.values()]
        assert len(made) == len(set(made)), "two sandboxes have one name"

    def only_one_container_is_brought_up_at_a_time(self) -> None:
        busy = [key for key in self.sim.state.in_flight if key.kind in ("CreateContainer", "StartContainer")]
        assert len(busy) <= 1

    def grace_only_shrinks(self) -> None:
        stop = self.sim.state.stop
        if stop is not None:
            assert stop.deadline <= getattr(self, "deadline", stop.deadline)
            self.deadline = stop.deadline

    def stopping_pod_at_rest_has_a_time_to_wake_at(self) -> None:
        state = self.sim.state
        held = any(entry.not_before > self.sim.mono for entry in state.retry.values())
        if not self.sim.pending and state.stage is Stage.TERMINATING:
            assert self.sim.wake_at is not None or held, "a stopping pod waits for nothing"

    def teardown(self) -> None:
        """Removed, with every action going well from now on, the pod must come to its end."""
        if not hasattr(self, "sim"):
            return
        self.send(h.DesiredRemoved())
        for _ in range(400):
            if self.sim.state.stage is Stage.FORGOTTEN and not self.sim.pending:
                break
            if self.sim.pending:
                self.finish(0)
            else:
                assert self.sim.wake_at is not None, "a removed pod waits for ever"
                self.sim._move(max(0.0, self.sim.wake_at - self.sim.mono))
                self.send(h.Woke())
        else:
            raise AssertionError(f"a removed pod never ends: {self.sim.state}")
        self.nothing_is_started_after_the_stop()
        left = [one.seen for one in self.sim.ran.values() if one.seen.phase is Phase.RUNNING]
        assert not left, "the pod was forgotten while a container ran"
        assert Key("ForgetPod") not in self.sim.state.in_flight


AnyOrder.TestCase.settings = settings(
    phases=[Phases.reuse, Phases.generate, Phases.shrink],
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestAnyOrder = AnyOrder.TestCase
