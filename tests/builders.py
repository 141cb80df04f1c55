"""Pods for tests, and a small world of values that the pod core can be run against.

`make_pod` and `make_container` build definitions. `PodSim` holds one pod's state and a scripted runtime: it
gives events to `lifecycle.step`, keeps the actions that come out, and carries each out at once or when the
test says so, under a clock that only the test moves. It also holds every step against the rules that are
always true: the state given in is not touched, no key is ordered twice, no stage goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from kube.objects.core_v1 import (
    Container,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    Pod,
    PodSpec,
    Probe,
)
from kube.objects.meta_v1 import ObjectMeta
from kubelet import actions as a
from kubelet import happened as h
from kubelet.draft import Emit, Policy
from kubelet.lifecycle import Step, step
from kubelet.model import (
    InFlight,
    Instant,
    Key,
    Observed,
    ObservedContainer,
    ObservedSandbox,
    Phase,
    PodState,
    Stage,
    Volumes,
    container_age,
    sandbox_age,
)
from kubelet.podspec.names import container_hash

WALL_START = 1_750_000_000.0
MONO_START = 500.0
POD_IP = "10.0.0.5"
HOOK = LifecycleHandler(exec=ExecAction(command=("true",)))
PROBE = Probe(exec=ExecAction(command=("true",)))


def make_container(
    name: str, image: str = "busybox:1", *, post_start: bool = False, pre_stop: bool = False, **fields: Any
) -> Container:
    """A container; `post_start` and `pre_stop` give it hooks."""
    if post_start or pre_stop:
        fields["lifecycle"] = Lifecycle(
            post_start=HOOK if post_start else None, pre_stop=HOOK if pre_stop else None
        )
    return Container(name=name, image=image, **fields)


def make_sidecar(name: str, **fields: Any) -> Container:
    return make_container(name, restart_policy="Always", **fields)


def make_pod(
    *containers: Container | str,
    init: Iterable[Container | str] = (),
    policy: str = "Always",
    grace: int = 30,
    uid: str = "uid-1",
    name: str = "web",
    metadata: dict[str, Any] | None = None,
    **spec: Any,
) -> Pod:
    """A pod of the default namespace; a text stands for a plain container of that name."""
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", uid=uid, **(metadata or {})),
        spec=PodSpec(
            containers=tuple(_container(one) for one in containers or ("app",)),
            init_containers=tuple(_container(one) for one in init),
            restart_policy=policy,
            termination_grace_period_seconds=grace,
            **spec,
        ),
    )


def _container(given: Container | str) -> Container:
    return make_container(given) if isinstance(given, str) else given


def with_spec(pod: Pod, **changes: Any) -> Pod:
    """The pod with other fields in its spec."""
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, **changes))


@dataclass(slots=True)
class Box:
    """A sandbox of the scripted runtime."""

    id: str
    attempt: int
    created_at: int
    ready: bool = True
    host_network: bool = False
    ips: tuple[str, ...] = (POD_IP,)

    def seen(self) -> ObservedSandbox:
        ips = () if self.host_network else self.ips
        return ObservedSandbox(self.id, self.attempt, self.ready, self.created_at, ips, self.host_network)


@dataclass(slots=True)
class Ran:
    """A container of the scripted runtime."""

    seen: ObservedContainer
    on_term: int = 0  # what it exits with when it is asked to end


@dataclass(slots=True)
class Ordered:
    """An action under way in the simulation."""

    action: a.Action
    at: Instant
    cancelled: bool = False


@dataclass(slots=True)
class PodSim:
    """One pod in a scripted world. `hold` names the kinds of action that wait for the test."""

    state: PodState
    hold: set[str] = field(default_factory=set)
    policy: Policy = field(default_factory=Policy)
    mono: float = MONO_START
    wall: float = WALL_START
    boxes: dict[str, Box] = field(default_factory=dict)
    ran: dict[str, Ran] = field(default_factory=dict)
    pending: list[Ordered] = field(default_factory=list)
    log: list[tuple[float, a.Action]] = field(default_factory=list)  # every action, with the wall time
    emits: list[Emit] = field(default_factory=list)
    failures: dict[str, list[h.Failure]] = field(default_factory=dict)  # by kind or "kind/target"
    on_term: dict[str, int] = field(default_factory=dict)  # exit code by container name
    sandbox_ips: tuple[str, ...] = (POD_IP,)
    wake_at: float | None = None
    _numbers: int = 0

    # Time and events

    @property
    def now(self) -> Instant:
        return Instant(self.mono, self.wall)

    def send(self, event: h.Happened) -> Step:
        """One event; its actions are ordered, none is carried out yet."""
        state = self.state
        maps: dict[str, Any] = {
            name: dict(getattr(state, name)) for name in ("in_flight", "retry", "containers")
        }
        before = replace(state, **maps)  # all else is frozen
        result = step(self.state, event, self.now, self.policy)
        assert self.state == before, f"{event} changed the state it was given"
        assert result.state.stage >= before.stage, "a stage went back"
        self._order(before, result.actions)
        self.state = result.state
        self.wake_at = result.wake_at
        self.emits += result.emits
        return result

    def _order(self, before: PodState, actions: tuple[a.Action, ...]) -> None:
        for action in actions:
            self.log.append((self.wall, action))
            if isinstance(action, a.Cancel):
                for one in self.pending:
                    one.cancelled |= one.action.key == action.cancels
                continue
            under_way = {one.action.key for one in self.pending}
            assert action.key not in under_way, f"{action} was ordered while it was under way"
            assert before.stage < Stage.FORGOTTEN
            self.pending.append(Ordered(action, self.now))

    def feed(self, *events: h.Happened) -> PodSim:
        """Events, each followed by whatever it leads to."""
        for event in events:
            self.send(event)
            self.settle()
        return self

    def settle(self) -> PodSim:
        """Carry out, oldest first, every action that is not held."""
        for _ in range(1000):
            ready = next((one for one in self.pending if one.cancelled or not self._is_held(one)), None)
            if ready is None:
                return self
            self.finish(ready)
        raise AssertionError("the pod never comes to rest: " + repr([one.action for one in self.pending]))

    def _is_held(self, one: Ordered) -> bool:
        return type(one.action).__name__ in self.hold

    def finish(self, one: Ordered) -> None:
        """End one action: cancelled, failed as planned, or done."""
        self.pending.remove(one)
        if one.cancelled:
            self.send(h.ActionCancelled(one.action))
            return
        failure = self._failure(one.action)
        if failure is not None:
            self.send(h.ActionFailed(one.action, failure))
            return
        self.send(h.ActionDone(one.action, self.carry_out(one)))

    def release(self, kind: str, target: str = "") -> PodSim:
        """End the held action of that kind, and carry out what follows."""
        self.finish(self.under_way(kind, target))
        return self.settle()

    def fail(self, kind: str, failure: h.Failure, target: str = "") -> PodSim:
        """End the held action of that kind with a failure, and carry out what follows."""
        one = self.under_way(kind, target)
        self.pending.remove(one)
        self.send(h.ActionFailed(one.action, failure))
        return self.settle()

    def advance(self, seconds: float) -> PodSim:
        """Let time pass, waking the pod whenever it asked to be woken."""
        end = self.mono + seconds
        for _ in range(10_000):
            if self.wake_at is None or self.wake_at > end:
                break
            self._move(max(0.0, self.wake_at - self.mono))
            self.feed(h.Woke())
        else:
            raise AssertionError("the pod asks to be woken without end")
        self._move(end - self.mono)
        return self

    def _move(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds

    # The world

    def look(self) -> Observed:
        """What the runtime would say now."""
        boxes = sorted((box.seen() for box in self.boxes.values()), key=sandbox_age, reverse=True)
        seen = sorted((one.seen for one in self.ran.values()), key=container_age, reverse=True)
        return Observed(self.mono, tuple(boxes), tuple(seen))

    def exit(self, name: str, code: int = 1, *, tell: bool = True) -> PodSim:
        """The running container of that name ends; `tell` sends the runtime's event."""
        container_id = self.running(name).id
        self._end(container_id, code)
        if tell:
            self.feed(h.RuntimeChanged(container_id, exited=True))
        return self

    def lose_sandbox(self, *, code: int = 137) -> PodSim:
        """The newest sandbox dies with all that runs in it."""
        box = max(self.boxes.values(), key=lambda box: box.attempt)
        box.ready = False
        for container_id, one in self.ran.items():
            if one.seen.sandbox_id == box.id and one.seen.phase is Phase.RUNNING:
                self._end(container_id, code)
        return self.feed(h.RuntimeChanged())

    def put_box(self, *, attempt: int = 0, ready: bool = True, host_network: bool = False) -> Box:
        """A sandbox that is there from before."""
        box = Box(self._id("box"), attempt, self._stamp(), ready, host_network)
        self.boxes[box.id] = box
        return box

    def put(
        self, container: Container, box: Box, phase: Phase, *, count: int = 0, code: int = 0, age: float = 0.0
    ) -> ObservedContainer:
        """A container that is there from before; an ended one ended `age` seconds ago."""
        then = int((self.wall - age) * 1e9)
        seen = ObservedContainer(
            id=self._id(container.name),
            name=container.name,
            sandbox_id=box.id,
            restart_count=count,
            phase=phase,
            created_at=self._stamp(),
            started_at=then if phase in (Phase.RUNNING, Phase.EXITED) else 0,
            finished_at=then if phase is Phase.EXITED else 0,
            exit_code=code,
            image=container.image or "",
            spec_hash=container_hash(container),
        )
        self.ran[seen.id] = Ran(seen, self.on_term.get(container.name, 0))
        return seen

    def carry_out(self, one: Ordered) -> h.Result:
        method = _METHODS.get(type(one.action))
        return method(self, one.action) if method is not None else h.Result()

    def _end(self, container_id: str, code: int) -> None:
        one = self.ran[container_id]
        reason = "Completed" if code == 0 else "Error"
        one.seen = replace(
            one.seen, phase=Phase.EXITED, exit_code=code, reason=reason, finished_at=int(self.wall * 1e9)
        )

    def _run_sandbox(self, action: a.RunSandbox) -> h.Result:
        pod = self.state.pod
        assert pod is not None
        box = self.put_box(attempt=action.attempt, host_network=bool(pod.spec.host_network))
        box.ips = self.sandbox_ips
        return h.Result(sandbox=box.seen())

    def _stop_sandbox(self, action: a.StopSandbox) -> h.Result:
        if action.sandbox_id in self.boxes:
            self.boxes[action.sandbox_id].ready = False
            for container_id, one in self.ran.items():
                if one.seen.sandbox_id == action.sandbox_id and one.seen.phase is Phase.RUNNING:
                    self._end(container_id, 137)
        return h.Result()

    def _remove_sandbox(self, action: a.RemoveSandbox) -> h.Result:
        self.boxes.pop(action.sandbox_id, None)
        self.ran = {key: one for key, one in self.ran.items() if one.seen.sandbox_id != action.sandbox_id}
        return h.Result()

    def _create(self, action: a.CreateContainer) -> h.Result:
        assert action.image_id, "a container was created without a resolved image"
        assert self.boxes[action.sandbox_id].ready, "a container was created in a dead sandbox"
        container = self.definition(action.container)
        box = self.boxes[action.sandbox_id]
        return h.Result(container=self.put(container, box, Phase.CREATED, count=action.restart_count))

    def _start(self, action: a.StartContainer) -> h.Result:
        one = self.ran[action.container_id]
        assert one.seen.phase is Phase.CREATED, "started a container that is not just created"
        one.seen = replace(one.seen, phase=Phase.RUNNING, started_at=int(self.wall * 1e9))
        return h.Result(container=one.seen)

    def _stop(self, action: a.StopContainer) -> h.Result:
        one = self.ran.get(action.container_id)
        if one is None:
            return h.Result()
        if one.seen.phase in (Phase.RUNNING, Phase.UNKNOWN):
            self._end(action.container_id, one.on_term)
        return h.Result(container=self.ran[action.container_id].seen)

    def _remove(self, action: a.RemoveContainer) -> h.Result:
        self.ran.pop(action.container_id, None)
        return h.Result()

    def _ensure_image(self, action: a.EnsureImage) -> h.Result:
        return h.Result(image_id=f"sha256:{self.definition(action.container).image}")

    def _failure(self, action: a.Action) -> h.Failure | None:
        kind = type(action).__name__
        target = action.container if isinstance(action, a.ForContainer) else action.key.target
        for key in (f"{kind}/{target}", kind):
            if self.failures.get(key):
                return self.failures[key].pop(0)
        return None

    def _id(self, stem: str) -> str:
        self._numbers += 1
        return f"{stem}#{self._numbers}"

    def _stamp(self) -> int:
        self._numbers += 1
        return int(self.wall * 1e9) + self._numbers

    # Questions

    def is_at(self, stage: Stage) -> bool:
        return self.state.stage is stage

    def has(self, volumes: Volumes) -> bool:
        return self.state.volumes is volumes

    def definition(self, name: str) -> Container:
        assert self.state.pod is not None
        spec = self.state.pod.spec
        return next(one for one in (*spec.init_containers, *spec.containers) if one.name == name)

    def latest(self, name: str) -> ObservedContainer:
        seen = [one.seen for one in self.ran.values() if one.seen.name == name]
        assert seen, f"the runtime has no container {name}"
        return max(seen, key=container_age)

    def running(self, name: str) -> ObservedContainer:
        seen = self.latest(name)
        assert seen.phase is Phase.RUNNING, f"{name} is {seen.phase.value}"
        return seen

    def names_running(self) -> set[str]:
        return {one.seen.name for one in self.ran.values() if one.seen.phase is Phase.RUNNING}

    def under_way(self, kind: str, target: str = "") -> Ordered:
        """The action of that kind that is under way; `target` is a container's name or an id."""
        for one in self.pending:
            name = one.action.container if isinstance(one.action, a.ForContainer) else one.action.key.target
            if type(one.action).__name__ == kind and target in ("", name, one.action.key.target):
                return one
        raise AssertionError(f"no {kind} {target} under way: {[one.action for one in self.pending]}")

    def is_under_way(self, kind: str, target: str = "") -> bool:
        return any(
            type(one.action).__name__ == kind
            and target in ("", getattr(one.action, "container", one.action.key.target))
            for one in self.pending
        )

    def orders(self, *kinds: str) -> list[str]:
        """Every action so far as "Kind" or "Kind name"; only those of `kinds` when given."""
        return [describe(action) for _, action in self.log if not kinds or type(action).__name__ in kinds]

    def times(self, kind: str, container: str = "") -> list[float]:
        """When, in seconds since the start, actions of that kind were ordered."""
        return [
            round(wall - WALL_START, 6)
            for wall, action in self.log
            if type(action).__name__ == kind and container in ("", getattr(action, "container", ""))
        ]

    def last(self, kind: str) -> Any:
        """The newest action of that kind."""
        return next(action for _, action in reversed(self.log) if type(action).__name__ == kind)

    def said(self, reason: str) -> list[str]:
        """Messages of the events of that reason."""
        return [emit.message for emit in self.emits if emit.reason == reason]

    def waiting(self, name: str) -> tuple[str, str] | None:
        found = self.state.memory(name).waiting
        return (found.reason, found.message) if found is not None else None


def describe(action: a.Action) -> str:
    kind = type(action).__name__
    return f"{kind} {action.container}" if isinstance(action, a.ForContainer) else kind


_METHODS: dict[type[a.Action], Callable[[PodSim, Any], h.Result]] = {
    a.Look: lambda sim, _: h.Result(observed=sim.look()),
    a.RunSandbox: PodSim._run_sandbox,
    a.StopSandbox: PodSim._stop_sandbox,
    a.RemoveSandbox: PodSim._remove_sandbox,
    a.EnsureImage: PodSim._ensure_image,
    a.CreateContainer: PodSim._create,
    a.StartContainer: PodSim._start,
    a.StopContainer: PodSim._stop,
    a.RemoveContainer: PodSim._remove,
}


def new_state(pod: Pod | None, **fields: Any) -> PodState:
    """A pod that the agent has just heard of; the runtime has nothing of it."""
    uid = pod.metadata.uid if pod is not None else "uid-1"
    first = {"observed": Observed(MONO_START), "start_time": WALL_START}
    return PodState(uid, pod, **{**first, **fields})


def new_sim(pod: Pod, *, hold: Iterable[str] = (), **fields: Any) -> PodSim:
    """A pod that is to start; nothing has happened yet."""
    return PodSim(new_state(pod, **fields), hold=set(hold))


def started(pod: Pod, *, hold: Iterable[str] = (), **fields: Any) -> PodSim:
    """A pod brought up as far as it goes by itself; `hold` applies from then on."""
    sim = new_sim(pod, **fields).feed(h.Woke())
    sim.hold = set(hold)
    return sim


__all__ = [
    "HOOK",
    "MONO_START",
    "PROBE",
    "WALL_START",
    "Box",
    "InFlight",
    "Key",
    "PodSim",
    "describe",
    "make_container",
    "make_pod",
    "make_sidecar",
    "new_sim",
    "new_state",
    "started",
    "with_spec",
]
