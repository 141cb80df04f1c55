"""One pod's worker: takes what happened, lets `lifecycle.step` decide, has it carried out.

The worker is a loop around one mailbox. The newest definition waits in its slot (a removal is
never replaced, its grace only shrinks), everything else in a queue that drops nothing. Actions run
as tasks of their own and come back as events, so that the worker is never busy: it can always take
a stop. A stop is on disk before its first action begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aio import log as aio_log
from aio.clock import Clock
from aio.errors import Bug
from aio.mailbox import Mailbox
from kube.objects.core_v1 import Pod
from kubelet import happened as h
from kubelet.actions import Action, Cancel
from kubelet.draft import Emit, Policy
from kubelet.lifecycle import step
from kubelet.model import Instant, Key, PodState, Stage
from kubelet.story import Story, describe

log = aio_log.get(__name__)

Desired = h.DesiredChanged | h.DesiredRemoved


class Executor(Protocol):
    """Carries out one action for a pod; raises what `failure_of` understands."""

    async def execute(self, state: PodState, action: Action) -> h.Result: ...

    def failure_of(self, error: Exception) -> h.Failure: ...


class Outlet(Protocol):
    """Where a worker's changes go. Both return at once."""

    def changed(self, worker: PodWorker, before: PodState) -> asyncio.Future[None] | None:
        """The state moved. A future means: no action before it is done (a stop is being written)."""
        ...

    def emit(self, worker: PodWorker, emit: Emit) -> None: ...


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What every worker shares."""

    clock: Clock
    executor: Executor
    outlet: Outlet
    policy: Policy
    point: Callable[[str], None]


def merge_desired(old: Desired, new: Desired) -> Desired:
    """The slot's rule: a removal stays a removal, with the shorter grace."""
    if isinstance(old, h.DesiredChanged):
        return new
    if isinstance(new, h.DesiredChanged):
        return old
    known = [grace for grace in (old.grace_seconds, new.grace_seconds) if grace is not None]
    return h.DesiredRemoved(min(known, default=None))


class PodWorker:
    """The worker of one pod uid. `run` ends when the pod is forgotten."""

    def __init__(self, state: PodState, parts: WorkerParts, origin: str = "") -> None:
        self.state = state
        self.origin = origin
        self.story = Story()
        self.status: dict[str, Any] = {}  # the status last made, in JSON form
        self.status_at = 0.0  # wall seconds: since when that status stands
        self.is_published = False  # that status, or one before it, was shown beyond this node
        self._parts = parts
        self._mailbox: Mailbox[Desired, h.Happened] = Mailbox(merge_desired)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._wake_at: float | None = None
        self._durable: asyncio.Future[None] | None = None
        self.is_leaving = not state.wanted  # a removal was handed over: there is no way back

    @property
    def uid(self) -> str:
        return self.state.uid

    @property
    def name(self) -> str:
        """namespace/name for display, the uid when the definition is gone."""
        pod = self.state.pod
        return f"{pod.metadata.namespace}/{pod.metadata.name}" if pod is not None else self.uid

    @property
    def definition(self) -> Pod | None:
        """The newest definition handed over, taken up already or not."""
        waiting = self._mailbox.peek_desired()
        return waiting.pod if isinstance(waiting, h.DesiredChanged) else self.state.pod

    def want(self, desired: Desired) -> None:
        """Hand over the newest word of the sources."""
        if isinstance(desired, h.DesiredRemoved):
            self.is_leaving = True
        self._mailbox.post_desired(desired)

    def post(self, event: h.Happened) -> None:
        self._mailbox.post_event(event)

    async def run(self) -> None:
        """Work until the pod is forgotten. Raises Bug with the pod's story."""
        try:
            # What is known already comes first: a pod that is to be stopped must not begin anything.
            delivery = self._mailbox.take()
            while True:
                if delivery.desired is not None:
                    self._take(delivery.desired)
                for event in delivery.events:
                    self._take(event)
                if not delivery:
                    self._take(h.Woke())
                if self.state.stage is Stage.FORGOTTEN:
                    await self.close()  # a look may still be under way
                    return
                delivery = await self._mailbox.receive(self._patience())
        except Bug as bug:
            raise Bug(bug.message, story=self.story.lines()) from bug

    async def close(self) -> None:
        """Give up every action under way and wait for that; the containers go on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _patience(self) -> float | None:
        if self._wake_at is None:
            return None
        return max(0.0, self._wake_at - self._parts.clock.monotonic())

    def _take(self, event: h.Happened) -> None:
        parts = self._parts
        now = Instant(parts.clock.monotonic(), parts.clock.wall())
        before = self.state
        result = step(before, event, now, parts.policy)
        self.state = result.state
        self._wake_at = result.wake_at
        self.story.add(now, event, result.state.stage, result.actions)
        if isinstance(event, h.ActionFailed):
            self._say_failed(event)
        if result.state is not before:
            durable = parts.outlet.changed(self, before)
            if durable is not None:
                self._durable = durable
        for emit in result.emits:
            parts.outlet.emit(self, emit)
        for action in result.actions:
            self._launch(action)

    def _say_failed(self, event: h.ActionFailed) -> None:
        """Loud once; the same again, as often as it is tried, only for who asks for more."""
        held = self.state.retry.get(event.action.key)
        say = log.warning if held is None or held.is_news else log.v(2).info
        say(
            "Action failed", pod=self.name, uid=self.uid, action=describe(event.action),
            err=event.failure.message,
        )  # fmt: skip

    def _launch(self, action: Action) -> None:
        if log.is_enabled(2):
            log.v(2).info("Acting", pod=self.name, uid=self.uid, action=describe(action))
        if isinstance(action, Cancel):
            task = self._tasks.get(action.cancels)
            if task is not None:
                task.cancel()
            return
        self._tasks[action.key] = asyncio.create_task(
            self._carry_out(action, self.state), name=f"{type(action).__name__} {self.name}"
        )

    async def _carry_out(self, action: Action, state: PodState) -> None:
        kind = type(action).__name__
        try:
            if self._durable is not None and not self._durable.done():
                await asyncio.shield(self._durable)
            self._parts.point(f"before:{kind}")
            result = await self._parts.executor.execute(state, action)
            self._parts.point(f"after:{kind}")
        except asyncio.CancelledError:
            self._finish(action, h.ActionCancelled(action))
            raise
        except Exception as error:  # noqa: BLE001 - one pod's failure is that pod's, whatever it is
            self._finish(action, h.ActionFailed(action, self._parts.executor.failure_of(error)))
        else:
            self._finish(action, h.ActionDone(action, result))

    def _finish(self, action: Action, event: h.Happened) -> None:
        self._tasks.pop(action.key, None)
        self.post(event)
