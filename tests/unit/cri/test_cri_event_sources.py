"""Event sources against a small server of our own: subscribing, losing the stream, runtimes without one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aio.clock import SystemClock
from cri import event_sources
from cri.connection import Connection
from cri.event_sources import ContainerdEvents, CriEvents
from cri.events import ALL_KINDS, EventKind, Resync, RuntimeEvent

pytestmark = pytest.mark.pure

import grpc.aio  # noqa: E402  (after cri.connection, which sets gRPC's environment)

from cri._pb import api_pb2 as pb  # noqa: E402
from cri._pb import containerd_events_pb2 as events_pb  # noqa: E402
from cri._pb import containerd_payloads_pb2 as payloads_pb  # noqa: E402


@pytest.fixture
def socket() -> Any:
    with tempfile.TemporaryDirectory(prefix="pkc-", dir="/tmp") as path:
        yield Path(path) / "s"


@asynccontextmanager
async def serving(socket: Path, *services: Any) -> AsyncIterator[None]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(services))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


def service(name: str, messages: Any, unary: dict[str, Any], streams: dict[str, Any]) -> Any:
    """A generic handler; `unary` and `streams` are call name -> (handler, request type)."""

    def dump(message: Any) -> bytes:
        return bytes(message.SerializeToString())

    made = {
        call: grpc.unary_unary_rpc_method_handler(handler, getattr(messages, request).FromString, dump)
        for call, (handler, request) in unary.items()
    }
    made |= {
        call: grpc.unary_stream_rpc_method_handler(handler, getattr(messages, request).FromString, dump)
        for call, (handler, request) in streams.items()
    }
    return grpc.method_handlers_generic_handler(name, made)


async def version(_: Any, __: Any) -> Any:
    return pb.VersionResponse(runtime_name="little", runtime_api_version="v1")


async def take(source: CriEvents | ContainerdEvents, count: int) -> list[RuntimeEvent | Resync]:
    found: list[RuntimeEvent | Resync] = []
    async with asyncio.timeout(10), aclosing(source.events()) as items:  # type: ignore[type-var]
        async for item in items:
            found.append(item)
            if len(found) == count:
                break
    return found


def kinds_of(items: list[RuntimeEvent | Resync]) -> list[str]:
    return [item.kind.value if isinstance(item, RuntimeEvent) else "resync" for item in items]


def cri_service(answers: list[list[Any]]) -> Any:
    """GetContainerEvents that gives one list per subscription then breaks off; the last one stays."""

    async def stream(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        for answer in answers.pop(0):
            yield answer
        if answers:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        await asyncio.sleep(60)

    streams = {"GetContainerEvents": (stream, "GetEventsRequest")}
    return service("runtime.v1.RuntimeService", pb, {"Version": (version, "VersionRequest")}, streams)


def stopped(container_id: str) -> Any:
    return pb.ContainerEventResponse(
        container_id=container_id, container_event_type=pb.CONTAINER_STOPPED_EVENT
    )


@pytest.mark.asyncio
async def test_every_subscription_to_cri_begins_with_a_resync(socket: Path) -> None:
    async with serving(socket, cri_service([[stopped("a")], [], [stopped("b")]])):
        connection = Connection(str(socket))
        items = await take(CriEvents(connection, SystemClock()), 5)
        await connection.close()
    assert kinds_of(items) == ["resync", "stopped", "resync", "resync", "stopped"]


@pytest.mark.asyncio
async def test_a_cri_subscription_resyncs_once_more_a_moment_later(
    socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sources, "SECOND_RESYNC_SECONDS", 0.01)
    async with serving(socket, cri_service([[]])):
        connection = Connection(str(socket))
        items = await take(CriEvents(connection, SystemClock()), 2)
        await connection.close()
    assert kinds_of(items) == ["resync", "resync"]


@pytest.mark.asyncio
async def test_nothing_is_said_while_nobody_listens(socket: Path) -> None:
    connection = Connection(str(socket))
    taking = asyncio.create_task(take(CriEvents(connection, SystemClock()), 2))
    await asyncio.sleep(0.2)
    async with serving(socket, cri_service([[stopped("a")]])):
        assert kinds_of(await taking) == ["resync", "stopped"]
    await connection.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [CriEvents, ContainerdEvents])
async def test_a_runtime_without_events_is_listed_every_second(
    socket: Path, kind: type[CriEvents] | type[ContainerdEvents], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert event_sources.RELIST_SECONDS == 1.0
    monkeypatch.setattr(event_sources, "RELIST_SECONDS", 0.01)
    only_version = service("runtime.v1.RuntimeService", pb, {"Version": (version, "VersionRequest")}, {})
    async with serving(socket, only_version):
        connection = Connection(str(socket))
        items = await take(kind(connection, SystemClock()), 3)
        await connection.close()
    assert kinds_of(items)[-2:] == ["resync", "resync"]


class Containerd:
    """containerd's event service as far as it matters: filters by topic, and publishes to subscribers.

    A subscription begins only after `delay` seconds, as if the server were busy.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.published: list[tuple[str, str]] = []
        self.queues: list[asyncio.Queue[Any]] = []

    def service(self) -> Any:
        unary = {"Publish": (self.publish, "PublishRequest")}
        streams = {"Subscribe": (self.subscribe, "SubscribeRequest")}
        return service("containerd.services.events.v1.Events", events_pb, unary, streams)

    async def publish(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        sent = dict(context.invocation_metadata() or ())
        namespace = str(sent["containerd-namespace"])
        self.published.append((namespace, request.topic))
        self.send(namespace, request.topic, b"")
        return events_pb.PublishRequest()

    def send(self, namespace: str, topic: str, value: bytes) -> None:
        event = {"type_url": "x", "value": value}
        for queue in self.queues:
            queue.put_nowait(events_pb.Envelope(namespace=namespace, topic=topic, event=event))

    async def subscribe(self, request: Any, _: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(self.delay)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.queues.append(queue)
        while True:
            envelope = await queue.get()
            if f'namespace=="{envelope.namespace}",topic=="{envelope.topic}"' in request.filters:
                yield envelope


@pytest.mark.asyncio
async def test_resync_comes_only_after_containerd_was_heard_through_the_subscription(socket: Path) -> None:
    containerd = Containerd(delay=0.15)
    async with serving(socket, containerd.service()):
        connection = Connection(str(socket))
        source = ContainerdEvents(connection, SystemClock(), ALL_KINDS)
        async with asyncio.timeout(10), aclosing(source.events()) as items:  # type: ignore[type-var]
            first = await anext(items)
            assert isinstance(first, Resync)
            assert containerd.queues, "a Resync before the server listens would leave a gap"
            containerd.send("moby", "/tasks/oom", payloads_pb.TaskOOM(container_id="x").SerializeToString())
            containerd.send("k8s.io", "/tasks/oom", payloads_pb.TaskOOM(container_id="c").SerializeToString())
            event = await anext(items)
            assert isinstance(event, RuntimeEvent)
            assert (event.kind, event.container_id) == (EventKind.OOM, "c")
        await connection.close()
    assert len(containerd.published) >= 2
    assert {namespace for namespace, _ in containerd.published} == {"pykubelet"}
    assert len({topic for _, topic in containerd.published}) == 1
