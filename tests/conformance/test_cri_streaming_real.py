"""Exec and attach sessions over SPDY against real runtimes: input that ends, codes, terminals, early ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

import cri.streaming
from cri.errors import CriError, Unavailable
from cri.service import Streams
from cri.streaming import Channel, SessionEnds, TerminalSize, run_session
from cri.types import (
    ContainerConfig,
    ContainerMetadata,
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
MUCH = random.Random(1).randbytes(8 << 20)


class Sessions:
    """One container that does nothing but wait, and sessions in it."""

    def __init__(self, cri: Runtime, container_id: str) -> None:
        self.cri = cri
        self.id = container_id
        self.out = bytearray()
        self.err = bytearray()

    def take(self, channel: Channel, data: bytes) -> None:
        (self.err if channel is Channel.STDERR else self.out).extend(data)

    async def run(
        self,
        command: Sequence[str],
        streams: Streams,
        stdin: AsyncIterator[bytes] | None = None,
        sizes: AsyncIterator[TerminalSize] | None = None,
    ) -> int | None:
        url = await self.cri.runtime.exec(self.id, command, streams)
        async with asyncio.timeout(30):
            return await run_session(url, streams, SessionEnds(self.take, stdin, sizes))


@pytest_asyncio.fixture
async def sessions(runtime: PrivateContainerd, tmp_path: Path) -> AsyncIterator[Sessions]:
    cri = await connect(runtime.endpoint)
    pod = PodSandboxConfig(
        metadata=PodSandboxMetadata("sessions", f"uid-{tmp_path.name}", "cri-streaming"),
        log_directory=str(tmp_path),
        linux=LinuxPodSandboxConfig(),
    )
    pod_id = await cri.runtime.run_pod_sandbox(pod)
    try:
        config = ContainerConfig(
            metadata=ContainerMetadata("main"),
            image=IMAGE,
            command=("sh", "-c", 'while read line; do echo "got $line"; done'),
            log_path="main.log",
            stdin=True,
            stdin_once=True,
            linux=LinuxContainerConfig(),
        )
        container_id = await cri.runtime.create_container(pod_id, config, pod)
        await cri.runtime.start_container(container_id)
        yield Sessions(cri, container_id)
    finally:
        await cri.runtime.stop_pod_sandbox(pod_id)
        await cri.runtime.remove_pod_sandbox(pod_id)
        await cri.close()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 32 << 10):
        yield data[at : at + (32 << 10)]


@pytest.mark.asyncio
async def test_exec_ends_when_its_input_does_and_passes_8_mib_unharmed(sessions: Sessions) -> None:
    assert await sessions.run(["cat"], Streams(stdin=True), pieces(b"x\n")) == 0
    assert sessions.out == b"x\n"
    sessions.out.clear()
    assert await sessions.run(["cat"], Streams(stdin=True), pieces(MUCH)) == 0
    assert bytes(sessions.out) == MUCH
    sessions.out.clear()
    assert await sessions.run(["cat"], Streams(stdin=True)) == 0
    assert bytes(sessions.out + sessions.err) == b""


@pytest.mark.asyncio
async def test_exec_keeps_stderr_apart_and_tells_exit_codes(sessions: Sessions) -> None:
    assert await sessions.run(["sh", "-c", "echo out; echo err >&2; exit 42"], Streams()) == 42
    assert (bytes(sessions.out), bytes(sessions.err)) == (b"out\n", b"err\n")
    assert await sessions.run(["sh", "-c", "kill -9 $$"], Streams()) == 137
    with pytest.raises(CriError, match="no-such-command"):
        await sessions.run(["no-such-command"], Streams())


@pytest.mark.asyncio
async def test_exec_on_a_terminal_is_told_its_sizes(sessions: Sessions) -> None:
    changed = asyncio.Event()

    async def sizes() -> AsyncIterator[TerminalSize]:
        yield TerminalSize(90, 33)
        await changed.wait()
        yield TerminalSize(100, 44)
        await asyncio.Event().wait()

    async def keys() -> AsyncIterator[bytes]:
        async with asyncio.timeout(20):
            while b"33 90" not in sessions.out:
                yield b"stty size\r"
                await asyncio.sleep(0.1)
            changed.set()
            while b"44 100" not in sessions.out:
                yield b"stty size\r"
                await asyncio.sleep(0.1)
        yield b"exit 6\r"
        await asyncio.Event().wait()

    streams = Streams(stdin=True, stderr=False, tty=True)
    assert await sessions.run(["sh"], streams, keys(), sizes()) == 6


@pytest.mark.asyncio
async def test_a_command_that_ends_before_its_input_tells_its_code(sessions: Sessions) -> None:
    for _ in range(5):
        sessions.out.clear()
        assert await sessions.run(["head", "-c", "5"], Streams(stdin=True), pieces(MUCH[: 64 << 10])) == 0
        assert sessions.out == MUCH[:5]

    async def open_end() -> AsyncIterator[bytes]:
        yield b"line\n"
        await asyncio.Event().wait()

    assert await sessions.run(["sh", "-c", "read x; exit 3"], Streams(stdin=True), open_end()) == 3


@pytest.mark.asyncio
async def test_more_input_than_a_finished_command_read_cannot_hold_the_session_for_ever(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cri.streaming, "STUCK_SECONDS", 1.0)
    try:
        code = await sessions.run(["head", "-c", "5"], Streams(stdin=True), pieces(MUCH))
    except Unavailable as stuck:
        assert "left its input unread" in stuck.message
    else:
        assert code == 0
    assert sessions.out == MUCH[:5]


@pytest.mark.asyncio
async def test_leaving_a_session_early_ends_the_command_that_reads_from_it(sessions: Sessions) -> None:
    async def open_end() -> AsyncIterator[bytes]:
        yield b"line\n"
        await asyncio.Event().wait()

    command = ["sh", "-c", "echo $$; exec cat"]
    session = asyncio.create_task(sessions.run(command, Streams(stdin=True), open_end()))
    async with asyncio.timeout(10):
        while b"line" not in sessions.out:
            await asyncio.sleep(0.01)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await session
        pid = sessions.out.split()[0].decode()
        while await sessions.run(["kill", "-0", pid], Streams()) == 0:
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_attach_talks_to_the_containers_own_command_until_it_ends(sessions: Sessions) -> None:
    streams = Streams(stdin=True)
    url = await sessions.cri.runtime.attach(sessions.id, streams)
    async with asyncio.timeout(10):
        code = await run_session(url, streams, SessionEnds(sessions.take, pieces(b"hello\n")))
    assert code in (0, None)
    assert sessions.out == b"got hello\n"
