"""The prober: schedules, checks and counts; what to probe and what a result means is the agent's decision.

`reconcile(uid, wanted)` is declarative: called whenever a pod's wanted set may have changed, it starts,
updates and stops probes to match. A new container id starts over; a removed key stops, its check cancelled.
All probes share one heap of deadlines; a check under way is the only task there is. Results go to
`on_result`, which is called on the loop and must not block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aio.log
from aio.clock import Clock
from aio.errors import Bug
from probes.checks import Checker, Checks
from probes.deadlines import DeadlineHeap
from probes.exec import ExecSync
from probes.lateness import Lateness
from probes.outcome import Outcome, Verdict
from probes.schedule import Schedule, make_schedule
from probes.target import ProbeKey, ProbeResult, ProbeTarget, ProbeView
from probes.threshold import Counter, new_counter

log = aio.log.get(__name__)


@dataclass(eq=False, slots=True)
class _Probe:
    """One container's probe; replaced, not reset, when the container or the spec changes."""

    key: ProbeKey
    target: ProbeTarget
    counter: Counter
    schedule: Schedule
    task: asyncio.Task[None] | None = None
    is_triggered: bool = False
    is_retry: bool = False  # due off the grid, because the container is not ready yet
    last: Outcome | None = None

    @property
    def may_fire(self) -> bool:
        return self.target.may_fire and not self.counter.is_held


class Prober:
    """`checker` is for tests; without it the real checks run commands through `exec_sync`."""

    def __init__(
        self,
        clock: Clock,
        exec_sync: ExecSync,
        on_result: Callable[[ProbeResult], None],
        *,
        checker: Checker | None = None,
    ) -> None:
        self._clock = clock
        self._on_result = on_result
        self._checker = checker or Checks(exec_sync)
        self._probes: dict[ProbeKey, _Probe] = {}
        self._by_uid: dict[str, set[ProbeKey]] = {}
        self._deadlines: DeadlineHeap[ProbeKey] = DeadlineHeap(clock, self._fire)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self.lateness = Lateness()

    async def run(self) -> None:
        """The prober's named loop: ends only by cancellation, or by raising what `on_result` raised."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            if self._failure is None:
                await self._failed
        finally:
            await self.aclose()
        raise Bug(f"a probe's result could not be delivered: {self._failure}") from self._failure

    async def aclose(self) -> None:
        """Stop everything, and wait for the cancelled checks."""
        for uid in list(self._by_uid):
            self.reconcile(uid, {})
        self._deadlines.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._checker.close()

    def reconcile(self, uid: str, wanted: Mapping[ProbeKey, ProbeTarget]) -> None:
        """Make the probes of pod `uid` exactly `wanted`. Cheap when nothing changed. Never blocks."""
        known = self._by_uid.get(uid, set())
        for key in known.difference(wanted):
            self._remove(self._probes[key])
        for key, target in wanted.items():
            probe = self._probes.get(key)
            if probe is None:
                self._start(key, target, seed=target.seed)
            elif probe.target.container_id != target.container_id:
                self._remove(probe)
                self._start(key, target, seed=target.seed)
            elif probe.target.spec != target.spec:
                self._remove(probe)
                self._start(key, target, seed=probe.counter.result)
            elif probe.target != target:
                self._update(probe, target)

    def trigger(self, key: ProbeKey) -> None:
        """Probe now instead of at the next due time, but not before the initial delay. No-op if unknown."""
        probe = self._probes.get(key)
        if probe is None or not probe.may_fire:
            return
        if probe.task is not None:
            probe.is_triggered = True
        else:
            self._deadlines.set(key, probe.schedule.first_due(self._clock.monotonic()))

    def result(self, key: ProbeKey) -> bool | None:
        """The present result after thresholds; None when unknown or not probed."""
        probe = self._probes.get(key)
        return probe.counter.result if probe is not None else None

    def view(self, uid: str | None = None) -> tuple[ProbeView, ...]:
        """The probes of one pod, or all, as /debug shows them."""
        keys = self._by_uid.get(uid, set()) if uid is not None else self._probes.keys()
        return tuple(self._view_of(self._probes[key]) for key in sorted(keys))

    def _view_of(self, probe: _Probe) -> ProbeView:
        due = self._deadlines.due_of(probe.key)
        return ProbeView(
            key=probe.key,
            container_id=probe.target.container_id,
            healthy=probe.counter.result,
            run=probe.counter.run,
            is_held=probe.counter.is_held,
            is_running=probe.task is not None,
            due_in=None if due is None else due - self._clock.monotonic(),
            last=probe.last,
        )

    def _start(self, key: ProbeKey, target: ProbeTarget, *, seed: bool | None) -> None:
        spec = target.spec
        counter = new_counter(key.kind, spec.success_threshold, spec.failure_threshold, seed=seed)
        # A container cannot have started in the future: a calendar set back must not silence its probes.
        age = max(0.0, self._clock.wall() - target.started_at_wall)
        now = self._clock.monotonic()
        schedule = make_schedule(now - age, spec.initial_delay, spec.period)
        probe = _Probe(key, target, counter, schedule)
        self._probes[key] = probe
        self._by_uid.setdefault(key.uid, set()).add(key)
        if probe.may_fire:
            self._deadlines.set(key, schedule.first_due(now))

    def _update(self, probe: _Probe, target: ProbeTarget) -> None:
        """The same container and spec: only where it is or whether it may fire."""
        could_fire = probe.may_fire
        probe.target = target
        if probe.may_fire and not could_fire:
            self._deadlines.set(probe.key, probe.schedule.first_due(self._clock.monotonic()))
        elif could_fire and not probe.may_fire:
            self._deadlines.discard(probe.key)
            self._abandon_check(probe)

    def _remove(self, probe: _Probe) -> None:
        self._deadlines.discard(probe.key)
        self._abandon_check(probe)
        del self._probes[probe.key]
        keys = self._by_uid[probe.key.uid]
        keys.discard(probe.key)
        if not keys:
            del self._by_uid[probe.key.uid]

    def _abandon_check(self, probe: _Probe) -> None:
        if probe.task is not None:
            probe.task.cancel()
            probe.task = None

    def _fire(self, key: ProbeKey, due: float) -> None:
        probe = self._probes[key]
        name = f"probe {key.kind} {key.uid}/{key.container}"
        task = asyncio.create_task(self._check(probe, probe.target, due), name=name)
        probe.task = task
        self._tasks.add(task)
        task.add_done_callback(self._check_ended)

    async def _check(self, probe: _Probe, target: ProbeTarget, due: float) -> None:
        """One firing, from its due time to its result. Cancelled when nobody wants the result any more."""
        fired = due

        def started() -> None:
            nonlocal fired
            fired = self._clock.monotonic()
            self.lateness.note(max(0.0, fired - due))

        outcome = await self._checker.run(target, started)
        probe.task = None
        self._count(probe, outcome)
        if self._probes.get(probe.key) is probe and probe.may_fire and probe.task is None:
            now = self._clock.monotonic()
            self._deadlines.set(probe.key, now if probe.is_triggered else _next_due(probe, fired, now))
        probe.is_triggered = False

    def _count(self, probe: _Probe, outcome: Outcome) -> None:
        before, after = probe.counter, probe.counter.observe(outcome)
        probe.counter = after
        probe.last = outcome
        changed = after.result != before.result
        is_first = after.is_settled and not before.is_settled
        uid, container, kind = probe.key
        log.v(4).info("Probed", podUID=uid, container=container, probe=kind, verdict=outcome.verdict)
        # One word about a container that is not ready yet is enough until the next regular probe.
        is_news = outcome.verdict is not Verdict.SUCCESS and not probe.is_retry
        if not (changed or is_first or is_news):
            return
        result = ProbeResult(
            key=probe.key,
            container_id=probe.target.container_id,
            outcome=outcome,
            healthy=after.result,
            changed=changed,
            is_first=is_first,
            at_wall=self._clock.wall(),
        )
        self._on_result(result)

    def _check_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("Cannot deliver the result of a probe", err=error, task=task.get_name())
        self._failure = error
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(None)


def _next_due(probe: _Probe, fired: float, now: float) -> float:
    # A success threshold asks for successes over time: those are not hurried.
    is_hurried = probe.key.kind == "readiness" and probe.target.spec.success_threshold == 1
    if is_hurried and not probe.counter.result:
        due, probe.is_retry = probe.schedule.due_soon(now)
        return due
    probe.is_retry = False
    return probe.schedule.due_after(fired, now)
