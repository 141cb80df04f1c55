"""Sessions carried between two connections: backpressure, both ends, whoever goes first, silence."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from aio.clock import VirtualClock
from aio.spdy import Session
from aio.virtual import run
from kube.streams.carry import ACCEPT_SECONDS, CLOSING_SECONDS, SocketTunnel, carry
from kube.streams.protocols import REMOTE_COMMANDS, Wanted
from kube.streams.remote_command import RemoteCommand
from kube.streams.translation import PassThrough
from kube.websocket import Closed, Event, Message, WebSocket

pytestmark = pytest.mark.sim

IDLE_SECONDS = 3600.0
V5 = REMOTE_COMMANDS[0]


class Pipe:
    """A tunnel in memory. `room` bytes may wait to be fetched by the test before a writer waits."""

    def __init__(self, room: int = 1 << 30) -> None:
        self._room = room
        self._incoming: list[bytes] = []
        self._changed = asyncio.Condition()
        self.written = bytearray()
        self.waiting = 0
        self.is_ended = False
        self.is_closed = False
        self.error: OSError | None = None
        self.is_deaf = False

    # The tunnel

    async def read(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._incoming or self.is_ended or self.error)
            if self._incoming:
                return self._incoming.pop(0)
            if self.error is not None:
                raise self.error
            return b""

    async def write(self, data: bytes) -> None:
        if self.is_deaf:
            raise BrokenPipeError("nobody reads")
        self.written += data
        self.waiting += len(data)
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self.waiting <= self._room)

    async def write_eof(self) -> None:
        raise AssertionError("no session ends one direction of its connection")

    def close(self) -> None:
        self.is_closed = True

    # The test

    async def give(self, data: bytes) -> None:
        async with self._changed:
            self._incoming.append(data)
            self._changed.notify_all()

    async def end(self, error: OSError | None = None) -> None:
        async with self._changed:
            self.is_ended, self.error = True, error
            self._changed.notify_all()

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(is_true)

    async def fetch(self) -> bytes:
        """All that has been written; who wrote may go on."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.written)
            data = bytes(self.written)
            self.written.clear()
            self.waiting = 0
            self._changed.notify_all()
            return data


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_bytes_pass_both_ways_until_the_backend_ends() -> None:
    async def scene(_: VirtualClock) -> None:
        client, backend = Pipe(), Pipe()
        task = asyncio.create_task(carry(client, backend, PassThrough(), idle_seconds=IDLE_SECONDS))
        await client.give(b"question")
        assert await backend.fetch() == b"question"
        await backend.give(b"answer")
        await backend.end()
        await task
        assert bytes(client.written) == b"answer"
        assert client.is_closed
        assert backend.is_closed

    run(scene)


def test_a_client_that_leaves_closes_the_backend() -> None:
    async def scene(_: VirtualClock) -> None:
        for error in (None, ConnectionResetError("gone")):
            client, backend = Pipe(), Pipe()
            task = asyncio.create_task(carry(client, backend, PassThrough(), idle_seconds=IDLE_SECONDS))
            await client.end(error)
            await task
            assert client.is_closed
            assert backend.is_closed

    run(scene)


def test_a_slow_reader_holds_the_other_end_back() -> None:
    async def scene(_: VirtualClock) -> None:
        client, backend = Pipe(room=0), Pipe()
        task = asyncio.create_task(carry(client, backend, PassThrough(), idle_seconds=IDLE_SECONDS))
        for _piece in range(10):
            await backend.give(b"x" * 1000)
        await settled()
        assert len(client.written) == 1000  # the next one is not even read
        got = b""
        while len(got) < 10_000:
            got += await client.fetch()
        await backend.end()
        await task

    run(scene)


def test_output_that_nobody_reads_does_not_hold_up_input() -> None:
    async def scene(_: VirtualClock) -> None:
        client, backend = Pipe(room=0), Pipe()
        task = asyncio.create_task(carry(client, backend, PassThrough(), idle_seconds=IDLE_SECONDS))
        await backend.give(b"blocked")
        await settled()
        await client.give(b"input")
        assert await backend.fetch() == b"input"
        await client.end()
        await client.fetch()
        await task

    run(scene)


class Command:
    """A v5 client and a backend that accepts streams, at the ends of a carried session."""

    def __init__(self) -> None:
        self.client, self.backend = Pipe(), Pipe()
        self.socket = WebSocket(mask=lambda: b"abcd")
        self.session = Session(is_server=True, flow_control=False)
        translation = RemoteCommand(V5, Wanted(stdin=True, stdout=True))
        self.task = asyncio.create_task(
            carry(self.client, self.backend, translation, idle_seconds=IDLE_SECONDS)
        )

    async def accept(self) -> None:
        self.session.receive(await self.backend.fetch())
        for stream_id in (1, 3, 5):
            self.session.reply(stream_id)
        await self.backend.give(self.session.take())

    async def tell(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        self.session.send(stream_id, data, fin=fin)
        await self.backend.give(self.session.take())

    def heard(self) -> list[Event]:
        return self.socket.receive(bytes(self.client.written))


def test_a_command_is_carried_to_its_status() -> None:
    async def scene(_: VirtualClock) -> None:
        command = Command()
        command.socket.send(b"\x00input")
        await command.client.give(command.socket.take())
        await command.accept()
        (data,) = command.session.receive(await command.backend.fetch())
        assert getattr(data, "data", b"") == b"input"
        await command.tell(5, b"output", fin=True)
        await command.tell(1, b"{}", fin=True)
        await command.task
        assert command.heard() == [Message(b"\x01"), Message(b"\x01output"), Message(b"\x03{}"), Closed(1000)]

    run(scene)


def test_a_client_is_read_until_it_has_answered_the_close() -> None:
    async def scene(clock: VirtualClock) -> None:
        command = Command()
        await command.accept()
        await command.tell(5, b"", fin=True)
        await command.tell(1, b"{}", fin=True)
        await command.client.until(lambda: b"\x88\x02\x03\xe8" in command.client.written)
        command.socket.send(b"\x00still on its way")
        await command.client.give(command.socket.take())
        await settled()
        assert not command.client.is_closed
        command.heard()
        await command.client.give(command.socket.take())
        await command.task
        assert command.client.is_closed

    run(scene)


def test_a_client_that_does_not_answer_is_not_waited_for_long() -> None:
    async def scene(clock: VirtualClock) -> None:
        command = Command()
        await command.accept()
        await command.tell(5, b"", fin=True)
        await command.tell(1, b"{}", fin=True)
        began = clock.monotonic()
        await command.task
        assert clock.monotonic() - began == pytest.approx(CLOSING_SECONDS)

    run(scene)


def test_a_backend_that_takes_no_input_is_still_heard_to_its_end() -> None:
    async def scene(_: VirtualClock) -> None:
        command = Command()
        await command.accept()
        await settled()
        command.backend.is_deaf = True
        command.socket.send(b"\x00unread")
        await command.client.give(command.socket.take())
        await settled()
        await command.tell(5, b"", fin=True)
        await command.tell(1, b"{}", fin=True)
        await command.task
        assert Message(b"\x03{}") in command.heard()

    run(scene)


def test_a_backend_that_breaks_is_told_to_the_client() -> None:
    async def scene(_: VirtualClock) -> None:
        command = Command()
        await command.accept()
        await command.backend.end(ConnectionResetError("reset by peer"))
        await command.task
        (told,) = [one for one in command.heard() if isinstance(one, Message) and one.data[0] == 3]
        assert b"reset by peer" in told.data

    run(scene)


def test_a_backend_that_does_not_accept_is_not_waited_for() -> None:
    async def scene(_: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        command = Command()
        await command.task
        assert loop.time() - began == pytest.approx(ACCEPT_SECONDS + CLOSING_SECONDS)
        (told, closed) = command.heard()
        assert isinstance(told, Message)
        assert b"does not accept the streams" in told.data
        assert closed == Closed(1000)

    run(scene)


def test_a_session_in_which_nothing_passes_is_ended() -> None:
    async def scene(_: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        command = Command()
        await command.accept()
        await asyncio.sleep(IDLE_SECONDS - 60)
        await command.tell(5, b"a sign of life")
        spoken = loop.time()
        await command.task
        assert IDLE_SECONDS <= loop.time() - spoken <= IDLE_SECONDS + 60
        assert any(isinstance(one, Message) and b"nothing has passed" in one.data for one in command.heard())

    run(scene)


def test_a_session_that_is_cancelled_closes_both_ends() -> None:
    async def scene(_: VirtualClock) -> None:
        command = Command()
        await command.accept()
        await settled()
        command.task.cancel()
        with suppress(asyncio.CancelledError):
            await command.task
        assert command.client.is_closed
        assert command.backend.is_closed

    run(scene)


@pytest.mark.asyncio
async def test_a_socket_is_a_tunnel() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        tunnel = SocketTunnel(ours, b"first")
        theirs.sendall(b"second")
        assert [await tunnel.read(), await tunnel.read()] == [b"first", b"second"]
        await tunnel.write(b"third")
        assert theirs.recv(10) == b"third"
        await tunnel.write_eof()
        assert theirs.recv(10) == b""
        theirs.shutdown(socket.SHUT_WR)
        assert await tunnel.read() == b""
        tunnel.close()
