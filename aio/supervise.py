"""Named eternal loops, and an orderly stop.

A loop is meant to run for ever: one that returns or raises ends the whole daemon, and `run()` says which one
and why. Stopping goes through the stages in the order they were declared; within a stage first its stop
functions run, together, then its loops are cancelled, all under the stage's deadline. A stage that fails,
hangs or overruns is written down and the next one still gets its turn. Loops start in reverse order of the
stages (what is stopped last is needed by the others and starts first), in the order of `add` within one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aio.errors import Bug

LoopFn = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the stop; all of it must be over within `deadline_seconds`."""

    name: str
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the daemon ended. `loop` is None when it was asked to stop."""

    reason: str
    loop: str | None = None
    error: BaseException | None = None
    stop_problems: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        return self.loop is None and not self.stop_problems


@dataclass(slots=True)
class _StageLoops:
    stage: Stage
    loops: list[tuple[str, LoopFn]] = field(default_factory=list)
    stops: list[tuple[str, LoopFn]] = field(default_factory=list)
    tasks: dict[asyncio.Task[Any], str] = field(default_factory=dict)


class Supervisor:
    """`stages` in stop order."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = {stage.name: _StageLoops(stage) for stage in stages}
        if len(self._stages) != len(stages):
            raise Bug("two stop stages have the same name")
        self._names: set[str] = set()
        self._started = False

    def add(self, name: str, loop_fn: LoopFn, *, stage: str) -> None:
        """An eternal loop, cancelled in `stage`. Before `run()` only; names are unique."""
        self._claim(name, stage).loops.append((name, loop_fn))

    def add_stop(self, name: str, stop_fn: LoopFn, *, stage: str) -> None:
        """Something to await in `stage` before its loops are cancelled."""
        self._claim(name, stage).stops.append((name, stop_fn))

    def _claim(self, name: str, stage: str) -> _StageLoops:
        if self._started:
            raise Bug(f'cannot add "{name}": the supervisor is running')
        if name in self._names:
            raise Bug(f'cannot add "{name}": the name is taken')
        if stage not in self._stages:
            raise Bug(f'cannot add "{name}": no stage "{stage}"')
        self._names.add(name)
        return self._stages[stage]

    async def run(self, stop: asyncio.Event) -> Ending:
        """Run every loop until `stop` is set or a loop ends, then stop stage by stage.

        Cancelling `run()` stops in the same order and then passes the cancellation on.
        """
        self._started = True
        for group in reversed(self._stages.values()):
            for name, loop_fn in group.loops:
                group.tasks[asyncio.create_task(_call(loop_fn), name=name)] = name
        stopping = asyncio.create_task(stop.wait(), name="supervisor-stop")
        tasks = {task: name for group in self._stages.values() for task, name in group.tasks.items()}
        try:
            await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            ended = next((task for task in tasks if task.done()), None)
            problems = await self._stop_all(ended)
        if ended is None:
            return Ending("asked to stop", stop_problems=problems)
        return _ending_of(ended, tasks[ended], problems)

    async def _stop_all(self, ended: asyncio.Task[Any] | None) -> tuple[str, ...]:
        problems: list[str] = []
        for group in self._stages.values():
            problems += await _stop_group(group, ended)
        return tuple(problems)


async def _call(loop_fn: LoopFn) -> Any:
    return await loop_fn()


def _ending_of(task: asyncio.Task[Any], name: str, problems: tuple[str, ...]) -> Ending:
    if task.cancelled():
        return Ending(f'loop "{name}" was cancelled', name, None, problems)
    error = task.exception()
    if error is None:
        return Ending(f'loop "{name}" returned, and should run for ever', name, None, problems)
    return Ending(f'loop "{name}" failed: {_describe(error)}', name, error, problems)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _stop_group(group: _StageLoops, ended: asyncio.Task[Any] | None) -> list[str]:
    """Stop one stage; returns what went wrong. `ended` is the loop already reported."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + group.stage.deadline_seconds
    stops = {asyncio.create_task(_call(fn), name=name): name for name, fn in group.stops}
    problems = await _settle(group.stage, stops, deadline)
    running = {task: name for task, name in group.tasks.items() if task is not ended}
    for task in running:
        task.cancel()
    return problems + await _settle(group.stage, running, deadline)


async def _settle(stage: Stage, tasks: dict[asyncio.Task[Any], str], deadline: float) -> list[str]:
    """Wait for `tasks` until `deadline`; what is left is cancelled and left behind by name."""
    if not tasks:
        return []
    # Even a stage whose time is used up gives its loops one turn to see the cancellation.
    left = max(0.001, deadline - asyncio.get_running_loop().time())
    done, pending = await asyncio.wait(tasks, timeout=left)
    problems = [
        f'stop stage "{stage.name}": "{tasks[task]}" failed: {_describe(error)}'
        for task in done
        if not task.cancelled() and (error := task.exception()) is not None
    ]
    for task in pending:
        task.cancel()
        limit = f"{stage.deadline_seconds:g}s"
        problems.append(f'stop stage "{stage.name}": "{tasks[task]}" did not end within {limit}')
    return problems
