"""Events to the API server, in the order they happened, by one loop; `record` never waits and never raises.

What the API refuses is dropped and logged, as an event is never worth more; what does not reach it is tried
again up to twelve times (client-go, tools/record/event.go). A queue that is full drops what comes: the ring
of recent events still has it. While pods wait for their turn to start, events wait a while too: writing those
of a pod costs about a fifth of what the agent spends on starting it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from aio import log as logs
from aio.clock import Clock
from kube import status
from kube.client import Client, PatchKind, Unreachable
from kube.client.resources import EVENTS
from kube.errors import StatusError
from kubelet.events import Event, EventSink
from kubelet.events_api.correlate import Correlator, Entry, Source, body_of, count_of

log = logs.get(__name__)

QUEUE_SIZE = 1000  # maxQueuedEvents
MOST_TRIES = 12
RETRY_SECONDS = 10.0  # the first time a random part of it
COMPONENT = "kubelet"
GIVE_WAY_MOST = timedelta(seconds=5)
LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: Event
    at: datetime


class TeeEvents:
    """An EventSink that passes everything on to several."""

    def __init__(self, *sinks: EventSink) -> None:
        self._sinks = sinks

    def record(self, event: Event) -> None:
        for sink in self._sinks:
            sink.record(event)


class EventWriter:
    """An EventSink. `run` is an eternal loop; `drain` waits until all is written (a stop function)."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        node_name: str,
        *,
        size: int = QUEUE_SIZE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.dropped = 0
        self.is_crowded: Callable[[], bool] = lambda: False
        """Whether there is more urgent work than can be done at once."""
        self._client = client
        self._clock = clock
        self._source = Source(COMPONENT, node_name)
        self._size = size
        self._jitter = jitter
        self._correlator = Correlator()
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._is_away = False  # the last write did not succeed and waits to be tried again
        self._idle = asyncio.Event()
        self._idle.set()

    def record(self, event: Event) -> None:
        if len(self._queue) >= self._size:
            self.dropped += 1
            if self.dropped == 1:
                log.warning("Dropping events: the API server does not keep up", queued=self._size)
            return
        self._queue.append(_Waiting(event, self._clock.now()))
        if not self._is_away:
            self._idle.clear()
        self._arrived.set()

    async def drain(self) -> None:
        """Until everything recorded so far was written or given up; the caller sets the limit. A server that
        is away is not waited for."""
        await self._idle.wait()

    async def run(self) -> NoReturn:
        """Write for ever."""
        while True:
            await self._arrived.wait()
            while self._queue:
                await self._give_way(self._queue[0])
                waiting = self._queue.popleft()
                entry = self._correlator.take(waiting.event, waiting.at)
                if entry is not None:
                    await self._deliver(entry)
            self._arrived.clear()
            if self.dropped:
                log.warning("Events were dropped", count=self.dropped)
                self.dropped = 0
            self._idle.set()

    async def _give_way(self, first: _Waiting) -> None:
        """Let more urgent work go first: not for long, and not until events are lost."""
        until = first.at + GIVE_WAY_MOST
        while self.is_crowded() and len(self._queue) <= self._size // 2 and self._clock.now() < until:
            await self._clock.sleep(LOOK_AGAIN_SECONDS)

    async def _deliver(self, entry: Entry) -> None:
        """Write it, or give it up."""
        for attempt in range(MOST_TRIES):
            try:
                await self._write(entry)
            except (StatusError, Unreachable) as error:
                self._set_away(is_away=isinstance(error, Unreachable))
                if not _is_passing(error):
                    log.warning("Event was refused", reason=entry.event.reason, err=error)
                    return
                log.v(2).info("Cannot write an event yet", reason=entry.event.reason, err=error)
                share = self._jitter() if attempt == 0 else 1.0
                await self._clock.sleep(RETRY_SECONDS * share)
            else:
                self._set_away(is_away=False)
                return
        log.warning("Gave up writing an event", reason=entry.event.reason, tries=MOST_TRIES)

    def _set_away(self, *, is_away: bool) -> None:
        if is_away:
            self._idle.set()
        elif self._is_away:
            self._idle.clear()  # it is back: what has gathered is worth waiting for
        self._is_away = is_away

    async def _write(self, entry: Entry) -> None:
        if entry.count > 1:
            try:
                await self._client.patch(
                    EVENTS, entry.name, count_of(entry), kind=PatchKind.STRATEGIC, namespace=entry.namespace
                )
            except status.NotFound:
                pass  # it has expired: written anew, with the count it had
            else:
                return
        try:
            await self._client.create(EVENTS, body_of(entry, self._source))
        except status.AlreadyExists:
            return  # an earlier try arrived, and its answer was lost


def _is_passing(error: Exception) -> bool:
    """Whether the same write may succeed later."""
    if not isinstance(error, StatusError):
        return True
    return error.status.code == 429 or error.status.code >= 500
