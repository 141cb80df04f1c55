"""Runtime events over gRPC: CRI's own stream, containerd's event service, and re-listing where neither is.

Mechanism: one subscription at a time; when it ends, for whatever reason, the next one follows after a
back-off of 50 ms to 1 s, and starts with `Resync`. On containerd's service a mark of our own, published in a
namespace of its own and received back, proves that the subscription listens before `Resync` is yielded. A
second `Resync` follows after half a second: CRI's stream has no such proof, and on either what ended just
before the subscription may not be listed as ended at once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError

from aio import log as aiolog
from aio.backoff import Backoff
from aio.clock import Clock
from cri._pb import api_pb2 as pb
from cri._pb import containerd_events_pb2 as events_pb
from cri._pb import containerd_payloads_pb2 as payloads_pb
from cri.connection import Connection
from cri.errors import CriError, Unimplemented
from cri.events import (
    ALL_KINDS,
    EventApi,
    EventKind,
    EventSource,
    Resync,
    RuntimeEvent,
    choose_event_api,
)
from cri.wire import AGENT_API_VERSION, Runtime

log = aiolog.get(__name__)

# Quick at first, for a restarted runtime is back within a second; never slower than listing would be.
RESUBSCRIBE = Backoff(initial=0.05, maximum=1.0, reset_after=30.0)
SECOND_RESYNC_SECONDS = 0.5
# What upstream's agent does at all times: list everything once a second.
RELIST_SECONDS = 1.0
CHECK_TIMEOUT_SECONDS = 5.0
MARK_FIRST_PAUSE_SECONDS = 0.02
INBOX_LIMIT = 4096
# containerd's namespace of what its CRI plugin runs, and ours for marks, which no runtime component reads.
CRI_NAMESPACE = "k8s.io"
MARK_NAMESPACE = "pykubelet"
NAMESPACE_HEADER = "containerd-namespace"
NANOSECONDS_PER_SECOND = 1_000_000_000

Item = RuntimeEvent | Resync


def make_event_source(runtime: Runtime, clock: Clock, kinds: frozenset[EventKind] = ALL_KINDS) -> EventSource:
    """The source for this runtime (see `choose_event_api`); only events of `kinds` are yielded."""
    if choose_event_api(runtime.version) is EventApi.CONTAINERD:
        return ContainerdEvents(runtime.connection, clock, kinds)
    return CriEvents(runtime.connection, clock, kinds)


async def _subscribe_for_ever(
    subscribe: Callable[[], AsyncGenerator[Item, None]], clock: Clock
) -> AsyncIterator[Item]:
    """One subscription after the other; `Unimplemented` falls back to a `Resync` every second."""
    backoff = RESUBSCRIBE
    while True:
        try:
            async with aclosing(subscribe()) as items:
                async for item in items:
                    yield item
            reason = "the runtime ended the event stream"
        except Unimplemented as error:
            log.warning("Runtime has no event stream, listing every second instead", err=error)
            break
        except CriError as error:
            reason = str(error)
        backoff, delay = backoff.next(clock.monotonic())
        log.info("Event stream lost, subscribing again", reason=reason, delaySeconds=delay)
        await clock.sleep(delay)
    while True:
        yield Resync("the runtime has no event stream")
        await clock.sleep(RELIST_SECONDS)


class CriEvents:
    """`GetContainerEvents`. Each answer names its pod; statuses in it are not used, the agent reads anew."""

    def __init__(self, connection: Connection, clock: Clock, kinds: frozenset[EventKind] = ALL_KINDS) -> None:
        self._stub = connection.service(pb.DESCRIPTOR, "RuntimeService")
        self._clock = clock
        self._kinds = kinds

    def events(self) -> AsyncIterator[Item]:
        return _subscribe_for_ever(self._subscribe, self._clock)

    async def _subscribe(self) -> AsyncGenerator[Item, None]:
        # A stream says nothing before its first event; this tells whether a runtime is there.
        await self._stub.call("Version", pb.VersionRequest(version=AGENT_API_VERSION), CHECK_TIMEOUT_SECONDS)
        async with _Inbox(self._stub.stream("GetContainerEvents", pb.GetEventsRequest())) as inbox:
            yield Resync("subscribed to the runtime's container events")
            second = Resync("the subscription may have begun after the first listing")
            inbox.add_after(self._clock.sleep(SECOND_RESYNC_SECONDS), second)
            while (answer := await inbox.next()) is not None:
                if isinstance(answer, Resync):
                    yield answer
                elif (event := read_cri_event(answer, self._kinds)) is not None:
                    yield event


class ContainerdEvents:
    """containerd's own event service, limited by its filters to the CRI namespace and the wanted kinds."""

    def __init__(self, connection: Connection, clock: Clock, kinds: frozenset[EventKind] = ALL_KINDS) -> None:
        self._stub = connection.service(events_pb.DESCRIPTOR, "Events")
        self._clock = clock
        self._kinds = kinds

    def events(self) -> AsyncIterator[Item]:
        return _subscribe_for_ever(self._subscribe, self._clock)

    async def _subscribe(self) -> AsyncGenerator[Item, None]:
        mark = f"/pykubelet/mark-{uuid.uuid4().hex}"
        filters = [f'namespace=="{CRI_NAMESPACE}",topic=="{topic}"' for topic in topics(self._kinds)]
        filters.append(f'namespace=="{MARK_NAMESPACE}",topic=="{mark}"')
        async with _Inbox(
            self._stub.stream("Subscribe", events_pb.SubscribeRequest(filters=filters))
        ) as inbox:
            inbox.run(self._publish_mark(mark))
            # What comes before the mark is not lost: CRI shows an exit some time after its event.
            early: list[Any] = []
            while (envelope := await inbox.next()) is not None and envelope.topic != mark:
                early.append(envelope)
            if envelope is None:
                return
            inbox.stop_running()
            yield Resync("subscribed to containerd's events")
            for known in filter(None, map(read_envelope, early)):
                yield known
            second = Resync("what ended just before the subscription may not have been listed as ended yet")
            inbox.add_after(self._clock.sleep(SECOND_RESYNC_SECONDS), second)
            while (answer := await inbox.next()) is not None:
                if isinstance(answer, Resync):
                    yield answer
                elif (event := read_envelope(answer)) is not None:
                    yield event

    async def _publish_mark(self, mark: str) -> None:
        """Say the mark again until the subscription, which the server sets up when it likes, has heard it."""
        request = events_pb.PublishRequest(topic=mark, event={"type_url": "google.protobuf.Empty"})
        header = {NAMESPACE_HEADER: MARK_NAMESPACE}
        pause = MARK_FIRST_PAUSE_SECONDS
        while True:
            await self._stub.call("Publish", request, CHECK_TIMEOUT_SECONDS, header)
            await self._clock.sleep(pause)
            pause = min(pause * 2, CHECK_TIMEOUT_SECONDS)


class _Inbox:
    """Answers of one stream, merged with what other tasks of the same subscription have to say.

    Use as a context manager: leaving it ends the stream and the tasks. `next` raises what ended any of them.
    """

    def __init__(self, answers: AsyncGenerator[Any, None]) -> None:
        self._answers = answers
        # Bounded, so that a reader that falls behind slows the runtime's stream and not the agent's memory.
        self._items: asyncio.Queue[Any] = asyncio.Queue(maxsize=INBOX_LIMIT)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Inbox:
        self._tasks.append(asyncio.create_task(self._receive(), name="cri-events-receive"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._answers.aclose()

    async def next(self) -> Any:
        """The next answer or added item, None at the end of the stream."""
        item = await self._items.get()
        if isinstance(item, CriError):
            raise item
        return item

    def add_after(self, wait: Coroutine[Any, Any, None], item: object) -> None:
        async def add() -> None:
            await wait
            await self._items.put(item)

        self.run(add())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside the stream; a `CriError` in it ends the subscription."""

        async def guarded() -> None:
            try:
                await work
            except CriError as error:
                await self._items.put(error)

        self._tasks.append(asyncio.create_task(guarded(), name="cri-events-beside"))

    def stop_running(self) -> None:
        """End what `run` began; the stream goes on."""
        for task in self._tasks[1:]:
            task.cancel()

    async def _receive(self) -> None:
        try:
            async for answer in self._answers:
                await self._items.put(answer)
        except CriError as error:
            await self._items.put(error)
        else:
            await self._items.put(None)


_CRI_KINDS = {
    pb.CONTAINER_CREATED_EVENT: EventKind.CREATED,
    pb.CONTAINER_STARTED_EVENT: EventKind.STARTED,
    pb.CONTAINER_STOPPED_EVENT: EventKind.STOPPED,
    pb.CONTAINER_DELETED_EVENT: EventKind.DELETED,
}


def read_cri_event(answer: Any, kinds: frozenset[EventKind]) -> RuntimeEvent | None:
    """The event of a `ContainerEventResponse`, None for a kind that is not wanted or not known."""
    kind = _CRI_KINDS.get(answer.container_event_type)
    if kind is None or kind not in kinds:
        return None
    sandbox = answer.pod_sandbox_status
    return RuntimeEvent(
        kind=kind,
        container_id=answer.container_id,
        at=answer.created_at,
        sandbox_id=sandbox.id,
        pod_uid=sandbox.metadata.uid,
    )


# Topic of containerd -> kind of event, message of its payload, field that holds the container's id.
_TOPICS: dict[str, tuple[EventKind, Any, str]] = {
    "/containers/create": (EventKind.CREATED, payloads_pb.ContainerCreate, "id"),
    "/tasks/start": (EventKind.STARTED, payloads_pb.TaskStart, "container_id"),
    "/tasks/exit": (EventKind.STOPPED, payloads_pb.TaskExit, "container_id"),
    "/containers/delete": (EventKind.DELETED, payloads_pb.ContainerDelete, "id"),
    "/tasks/oom": (EventKind.OOM, payloads_pb.TaskOOM, "container_id"),
}


def topics(kinds: frozenset[EventKind]) -> list[str]:
    """The containerd topics that carry these kinds."""
    return [topic for topic, (kind, _, _) in _TOPICS.items() if kind in kinds]


def read_envelope(envelope: Any) -> RuntimeEvent | None:
    """The event of a containerd `Envelope`; None for an exec's exit and for what we do not know."""
    known = _TOPICS.get(envelope.topic)
    if known is None or envelope.namespace != CRI_NAMESPACE:
        return None
    kind, message, id_field = known
    try:
        payload = message.FromString(envelope.event.value)
    except DecodeError as error:
        log.error("Cannot read containerd event", topic=envelope.topic, err=error)
        return None
    container_id = getattr(payload, id_field)
    if kind is EventKind.STOPPED and payload.id != container_id:
        return None
    stamp = payload.exited_at if kind is EventKind.STOPPED else envelope.timestamp
    return RuntimeEvent(
        kind=kind,
        container_id=container_id,
        at=stamp.seconds * NANOSECONDS_PER_SECOND + stamp.nanos,
        exit_code=payload.exit_status if kind is EventKind.STOPPED else None,
    )
