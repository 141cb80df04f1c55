"""A thread of its own with a queue, that takes everything waiting at once.

Taking all that waits is what makes group commit: while one batch is being made durable the next one gathers.
The thread is a daemon, so a disk that never answers does not keep the process from ending; answers reach the
event loop in order, by one call for many.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar


class Job(Protocol):
    """Anything with somebody waiting for it."""

    @property
    def future(self) -> asyncio.Future[Any]: ...


J = TypeVar("J", bound=Job)
T = TypeVar("T")


class Answer(NamedTuple):
    """What becomes of a job: its result, or else its error."""

    future: asyncio.Future[Any]
    result: object = None
    error: BaseException | None = None


class Call(NamedTuple):
    """A job that is a function without arguments; it may take its time."""

    work: Callable[[], object]
    future: asyncio.Future[Any]

    def answer(self) -> Answer:
        """Do it. Every error goes to the caller, whatever its class."""
        try:
            return Answer(self.future, self.work())
        except Exception as error:  # noqa: BLE001 - handed to the caller, nothing is hidden
            return Answer(self.future, None, error)


def settle(answers: Sequence[Answer]) -> None:
    """Give everybody waiting his answer; on the event loop. Who stopped waiting is passed over."""
    for future, result, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


POST_EVERY_SECONDS = 0.001
"""Answers of quick calls are gathered for this long, and leave at the latest with the last one."""


class Lane(Generic[J]):
    """`serve(jobs)` runs in the thread with 1 to `most` jobs and answers each through `post`.

    `idle()` runs there when nothing was asked for `idle_seconds`, once until something is.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[J]], None],
        *,
        most: int = 64,
        idle: Callable[[], None] | None = None,
        idle_seconds: float = 5.0,
    ) -> None:
        self._serve = serve
        self._most = most
        self._idle = idle
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, job: J) -> None:
        self._inbox.put(job)

    def waiting(self) -> int:
        """How many jobs wait to be taken, about."""
        return self._inbox.qsize()

    async def stop(self) -> None:
        """Return when everything submitted before has been served and the thread is done."""
        if not self._ended.done():
            self._inbox.put(None)
            await asyncio.shield(self._ended)

    def post(self, function: Callable[..., object], *arguments: object) -> None:
        """Call `function` on the event loop, from the thread."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the process is ending and nobody waits
            return

    def _run(self) -> None:
        may_idle = self._idle is not None
        while True:
            try:
                job = self._inbox.get(timeout=self._idle_seconds if may_idle else None)
            except queue.Empty:
                may_idle = False
                assert self._idle is not None
                self._idle()
                continue
            may_idle = self._idle is not None
            jobs, is_last = self._gather(job)
            if jobs:
                self._serve(jobs)
            if is_last:
                self.post(self._end)
                return

    def _gather(self, job: J | None) -> tuple[list[J], bool]:
        """All that waits, up to the limit, and whether the end was among it."""
        jobs: list[J] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) >= self._most:
                return jobs, False
            try:
                job = self._inbox.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


class Caller:
    """A lane for functions: `run` one there and wait for what it returns or raises."""

    def __init__(self, name: str) -> None:
        self._lane: Lane[Call] = Lane(name, self._serve)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lane.submit(Call(partial(function, *arguments), future))
        return await future

    async def stop(self) -> None:
        await self._lane.stop()

    def _serve(self, calls: list[Call]) -> None:
        answers: list[Answer] = []
        since = time.monotonic()
        for call in calls:
            answers.append(call.answer())
            if time.monotonic() - since > POST_EVERY_SECONDS:
                self._lane.post(settle, answers)
                answers = []
                since = time.monotonic()
        if answers:
            self._lane.post(settle, answers)
