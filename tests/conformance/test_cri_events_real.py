"""Events, reconnection, logs and sessions of the adapters against real runtimes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from aio.clock import SystemClock
from cri.errors import CriError, NameReserved, Unavailable
from cri.event_sources import ContainerdEvents, CriEvents, make_event_source
from cri.events import (
    ALL_KINDS,
    ENDINGS,
    EventKind,
    Resync,
    RuntimeEvent,
    Seen,
    choose_event_api,
    disagrees,
    find_pod,
    settle,
)
from cri.logfollow import stream_log
from cri.logs import LogOptions
from cri.service import Streams
from cri.streaming import Channel, SessionEnds, run_session
from cri.types import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    ImageSpec,
    LinuxContainerConfig,
    LinuxPodSandboxConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
)
from cri.wire import Runtime, connect
from tests.runtimes.containerd import PrivateContainerd

pytestmark = pytest.mark.conformance

IMAGE = ImageSpec("localhost/pykubelet/busybox:1")
NUMBERS = itertools.count()
CLOCK = SystemClock()


class Pod:
    """One sandbox and what is made in it."""

    def __init__(self, cri: Runtime, logs: Path) -> None:
        self.cri = cri
        self.uid = f"uid-{next(NUMBERS)}"
        self.config = PodSandboxConfig(
            metadata=PodSandboxMetadata("events", self.uid, "cri-events"),
            hostname="events",
            log_directory=str(logs),
            labels={"io.kubernetes.pod.uid": self.uid},
            linux=LinuxPodSandboxConfig(),
        )
        self.id = ""

    async def create(self, *command: str, attempt: int = 0) -> str:
        config = ContainerConfig(
            metadata=ContainerMetadata("main", attempt),
            image=IMAGE,
            command=command,
            labels={"io.kubernetes.pod.uid": self.uid},
            log_path=f"{attempt}.log",
            linux=LinuxContainerConfig(),
        )
        return await self.cri.runtime.create_container(self.id, config, self.config)

    async def start(self, *command: str, attempt: int = 0) -> str:
        container_id = await self.create(*command, attempt=attempt)
        await self.cri.runtime.start_container(container_id)
        return container_id


@asynccontextmanager
async def pod_in(cri: Runtime, logs: Path) -> AsyncIterator[Pod]:
    pod = Pod(cri, logs)
    pod.id = await cri.runtime.run_pod_sandbox(pod.config)
    try:
        yield pod
    finally:
        await _stopped(cri, pod.id)
        await cri.runtime.remove_pod_sandbox(pod.id)


async def _stopped(cri: Runtime, sandbox_id: str) -> None:
    """A container that ends by itself in this moment makes containerd 1.6 fail the first attempt."""
    try:
        await cri.runtime.stop_pod_sandbox(sandbox_id)
    except CriError:
        await asyncio.sleep(0.5)
        await cri.runtime.stop_pod_sandbox(sandbox_id)


class Listener:
    """Hears a source and lets tests wait for what it says; `at` is when each item came, unix seconds."""

    def __init__(self, cri: Runtime, kinds: frozenset[EventKind] = ALL_KINDS) -> None:
        self.items: list[RuntimeEvent | Resync] = []
        self.at: list[float] = []
        self._changed = asyncio.Condition()
        self._source = make_event_source(cri, CLOCK, kinds)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._listen())
        await self.until(lambda items: bool(items))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        # gRPC's own task of the cancelled stream ends when its poller has said so.
        async with asyncio.timeout(5):
            while any("_cython" in repr(task.get_coro()) for task in asyncio.all_tasks()):
                await asyncio.sleep(0.001)

    async def _listen(self) -> None:
        async with aclosing(self._source.events()) as items:  # type: ignore[type-var]
            async for item in items:
                async with self._changed:
                    self.items.append(item)
                    self.at.append(time.time())
                    self._changed.notify_all()

    async def until(self, is_enough: Callable[[list[RuntimeEvent | Resync]], bool]) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: is_enough(self.items))

    def of(self, container_id: str) -> list[EventKind]:
        return [
            item.kind
            for item in self.items
            if isinstance(item, RuntimeEvent) and item.container_id == container_id
        ]

    def resyncs(self) -> int:
        return sum(isinstance(item, Resync) for item in self.items)


@pytest_asyncio.fixture
async def cri(runtime: PrivateContainerd) -> AsyncIterator[Runtime]:
    connected = await connect(runtime.endpoint)
    yield connected
    await connected.close()


@pytest.mark.asyncio
async def test_the_source_fits_the_runtimes_version(cri: Runtime) -> None:
    source = make_event_source(cri, CLOCK)
    is_old = cri.version.runtime_version.startswith("1.")
    assert isinstance(source, ContainerdEvents if is_old else CriEvents)
    assert choose_event_api(cri.version).name == ("CONTAINERD" if is_old else "CRI")


@pytest.mark.asyncio
async def test_a_containers_life_is_told_and_an_execs_is_not(cri: Runtime, tmp_path: Path) -> None:
    async with Listener(cri) as listener:
        assert isinstance(listener.items[0], Resync)
        async with pod_in(cri, tmp_path) as pod:
            container = await pod.start("/bin/sh", "-c", "sleep 1000")
            assert (await cri.runtime.exec_sync(container, ["sh", "-c", "exit 5"], 5)).exit_code == 5
            await cri.runtime.stop_container(container, 0)
            await listener.until(lambda _: EventKind.STOPPED in listener.of(container))
            await cri.runtime.remove_container(container)
            await listener.until(lambda _: EventKind.DELETED in listener.of(container))
        assert listener.of(container) == [
            EventKind.CREATED,
            EventKind.STARTED,
            EventKind.STOPPED,
            EventKind.DELETED,
        ]
        await listener.until(lambda _: EventKind.DELETED in listener.of(pod.id))
        assert EventKind.STOPPED in listener.of(pod.id)


@pytest.mark.asyncio
async def test_forty_crashes_are_all_told_once_and_settle(cri: Runtime, tmp_path: Path) -> None:
    count = 40
    async with Listener(cri, ENDINGS) as listener, pod_in(cri, tmp_path) as pod:
        gate = asyncio.Semaphore(4)

        async def crash(attempt: int) -> str:
            async with gate:
                return await pod.start("/bin/sh", "-c", "exit 7", attempt=attempt)

        ids = set(await asyncio.gather(*(crash(attempt) for attempt in range(count))))
        await listener.until(lambda _: all(listener.of(container) for container in ids))
        events = [item for item in listener.items if isinstance(item, RuntimeEvent)]
        assert sorted(event.container_id for event in events) == sorted(ids)
        assert {event.kind for event in events} == {EventKind.STOPPED}

        async def read_of(event: RuntimeEvent) -> ContainerStatus:
            async def read() -> ContainerStatus:
                return (await cri.runtime.container_status(event.container_id)).status

            return await settle(event, read, lambda status: Seen(containers=(status,)), CLOCK)

        for event in events:
            status = await read_of(event)
            assert (status.state, status.exit_code) == (ContainerState.CONTAINER_EXITED, 7)
            assert not disagrees(event, Seen(containers=(status,)))
            assert await find_pod(event, {}, cri.runtime) == pod.uid
            assert event.exit_code in (None, 7)


@pytest.mark.asyncio
async def test_cri_settles_right_after_the_event(cri: Runtime, tmp_path: Path) -> None:
    """The re-reads of `settle` suffice when the event is acted on at once, as the agent does."""
    async with pod_in(cri, tmp_path) as pod:
        for attempt in range(5):
            async with Listener(cri, ENDINGS) as listener:
                container = await pod.start("/bin/sh", "-c", "sleep 0.2", attempt=attempt)
                await listener.until(lambda _, id=container: bool(listener.of(id)))  # type: ignore[misc]
                event = RuntimeEvent(EventKind.STOPPED, container, at=0)

                async def read(id: str = container) -> ContainerStatus:
                    return (await cri.runtime.container_status(id)).status

                status = await settle(event, read, lambda status: Seen(containers=(status,)), CLOCK)
                assert status.state is ContainerState.CONTAINER_EXITED


@pytest.mark.asyncio
async def test_an_exit_during_the_subscription_is_in_the_listing_or_told(
    cri: Runtime, tmp_path: Path
) -> None:
    """Whatever happens before `Resync` is seen by listing after it; whatever happens later is an event."""
    async with pod_in(cri, tmp_path) as pod:
        for attempt in range(5):
            container = await pod.create("/bin/sh", "-c", "true", attempt=attempt)
            start = asyncio.create_task(cri.runtime.start_container(container))
            async with Listener(cri, ENDINGS) as listener:
                await start
                async with asyncio.timeout(5):
                    while not listener.of(container):
                        status = (await cri.runtime.container_status(container)).status
                        if status.state is ContainerState.CONTAINER_EXITED:
                            break
                        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_restart_of_the_runtime_resyncs_and_goes_on(
    own_runtime: PrivateContainerd, tmp_path: Path
) -> None:
    cri = await connect(own_runtime.endpoint)
    async with pod_in(cri, tmp_path) as pod:
        container = await pod.start("/bin/sh", "-c", "sleep 1000")
        async with Listener(cri) as listener:
            await asyncio.to_thread(own_runtime.kill)
            with pytest.raises(Unavailable):
                await cri.runtime.version()
            before = listener.resyncs()
            await asyncio.to_thread(own_runtime.restart)
            came_back = time.monotonic()
            await listener.until(lambda _: listener.resyncs() > before)
            # `restart` returns when CRI answers; the subscription's back-off is one second at most.
            assert time.monotonic() - came_back < 2.0
            status = (await cri.runtime.container_status(container)).status
            assert status.state is ContainerState.CONTAINER_RUNNING
            await cri.runtime.stop_container(container, 0)
            await listener.until(lambda _: EventKind.STOPPED in listener.of(container))
    await cri.close()


@pytest.mark.asyncio
async def test_a_reserved_name_tells_its_owner(cri: Runtime, tmp_path: Path) -> None:
    async with pod_in(cri, tmp_path) as pod:
        with pytest.raises(NameReserved) as sandbox:
            await cri.runtime.run_pod_sandbox(pod.config)
        assert sandbox.value.owner_id == pod.id
        container = await pod.create("/bin/true")
        with pytest.raises(NameReserved) as raised:
            await pod.create("/bin/true")
        assert raised.value.owner_id == container


@pytest.mark.asyncio
async def test_a_real_log_is_followed_to_its_end(cri: Runtime, tmp_path: Path) -> None:
    async with Listener(cri, ENDINGS) as listener, pod_in(cri, tmp_path) as pod:
        script = "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; sleep 0.3; echo last"
        container = await pod.start("/bin/sh", "-c", script)
        finished = asyncio.Event()
        text = b""

        async def tell() -> None:
            await listener.until(lambda _: bool(listener.of(container)))
            finished.set()

        telling = asyncio.create_task(tell())
        async with asyncio.timeout(15):
            stream = stream_log(tmp_path / "0.log", LogOptions(follow=True), asyncio.to_thread, finished)
            async for chunks in stream:
                text += b"".join(chunk.data for chunk in chunks)
        await telling
        assert sorted(text.splitlines()) == sorted([b"one", b"two", b"x" * 40000, b"last"])
        assert text.endswith(b"last\n")


@pytest.mark.asyncio
async def test_an_exec_session_carries_streams_and_exit_code(cri: Runtime, tmp_path: Path) -> None:
    async with pod_in(cri, tmp_path) as pod:
        container = await pod.start("/bin/sh", "-c", "sleep 1000")
        got: dict[Channel, bytes] = {Channel.STDOUT: b"", Channel.STDERR: b""}

        def take(channel: Channel, data: bytes) -> None:
            got[channel] += data

        async def stdin() -> AsyncIterator[bytes]:
            yield b"first\nsecond\n"

        command = ["sh", "-c", "head -n 1; echo oops >&2; exit 3"]
        url = await cri.runtime.exec(container, command, Streams(stdin=True))
        code = await asyncio.wait_for(run_session(url, Streams(stdin=True), SessionEnds(take, stdin())), 10)
        assert (code, got[Channel.STDOUT], got[Channel.STDERR]) == (3, b"first\n", b"oops\n")
        url = await cri.runtime.exec(container, ["no-such-command"], Streams())
        with pytest.raises(CriError, match="no-such-command"):
            await asyncio.wait_for(run_session(url, Streams(), SessionEnds(take)), 10)
        with pytest.raises(Unavailable):
            await run_session("http://127.0.0.1:1/exec/x", Streams(), SessionEnds(take))
