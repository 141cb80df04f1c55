"""A client of the runtime's streaming server: one exec or attach session over SPDY/3.1.

Mechanism: Kubernetes' v4 channel protocol: one SPDY stream each for the final Status, standard input, output
and error and the terminal's size, told apart by the header `streamtype`; the server wants exactly those that
the session was prepared with. The end of input is the end of its stream, so a command that reads to the end
sees it. What a session carries back is delivered in full before the session is over.

Limits of the runtimes: with a terminal, containerd ends the output with the input. Where a command ends and
leaves more input unread than its pipes hold, containerd (1.6, 2.1) waits for a reader that never comes and
does not say how the command ended; `STUCK_SECONDS` after the output's end we wait no more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from aio.spdy import Event, Session, StreamClosed
from aio.spdy_frames import Data, RstStream, SpdyError, SynReply
from cri.errors import CriError, Unavailable
from cri.service import Streams
from cri.streaming_http import CONNECT_TIMEOUT_SECONDS, READ_BYTES, upgrade

SPDY = "SPDY/3.1"
V4 = "v4.channel.k8s.io"
VERSION_HEADER = "X-Stream-Protocol-Version"
TYPE_HEADER = "streamtype"
# What an ExitCode cause stands under in a Status (k8s.io/apimachinery remotecommand constants).
NON_ZERO_EXIT_REASON = "NonZeroExitCode"
EXIT_CODE_CAUSE = "ExitCode"
STUCK_SECONDS = 30.0
# A pipe takes as much without a reader (Linux's default capacity); less input cannot block the runtime.
PIPE_BYTES = 64 << 10


class Channel(IntEnum):
    """The streams of a session; the numbers are those of Kubernetes' WebSocket channels."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Columns and rows."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SessionEnds:
    """The caller's ends of a session's streams.

    `stdin` is read until it ends (None: it ends at once); `output` gets `Channel.STDOUT` or `Channel.STDERR`
    and the bytes, and must not block; `sizes` gives the terminal's size, first at once, then on each change.
    """

    output: Callable[[Channel, bytes], None]
    stdin: AsyncIterator[bytes] | None = None
    sizes: AsyncIterator[TerminalSize] | None = None


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] = ()


class _Status(msgspec.Struct, frozen=True):
    status: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None


def exit_code_of(status: bytes) -> int:
    """The exit code that a final Status tells; `CriError` when it tells of another failure (pure)."""
    try:
        told = msgspec.json.decode(status, type=_Status)
    except msgspec.MsgspecError as error:
        said = status.decode("utf-8", errors="replace")
        raise CriError(f'the runtime ended the session with "{said}"', call="Exec") from error
    if told.status == "Success":
        return 0
    if told.reason == NON_ZERO_EXIT_REASON and told.details is not None:
        for cause in told.details.causes:
            if cause.reason == EXIT_CODE_CAUSE and cause.message.isdigit():
                return int(cause.message)
    raise CriError(told.message or told.reason or "the runtime gives no reason", call="Exec")


def channels_of(streams: Streams) -> tuple[Channel, ...]:
    """The streams that a v4 server waits for, in the order in which Kubernetes' clients open them (pure)."""
    wanted = {
        Channel.ERROR: True,
        Channel.STDIN: streams.stdin,
        Channel.STDOUT: streams.stdout,
        Channel.STDERR: streams.stderr,
        Channel.RESIZE: streams.tty,
    }
    return tuple(channel for channel, is_wanted in wanted.items() if is_wanted)


async def run_session(url: str, streams: Streams, ends: SessionEnds) -> int | None:
    """Carry one session to its end; the exit code, or None when the runtime ends it without telling any.

    `url` is what `RuntimeService.exec` or `.attach` returned for these `streams`. Raises `Unavailable` when
    the streaming server cannot be reached, refuses or breaks off, `CriError` when the command could not be
    run. Cancelling it closes the connection, which ends the session on the runtime's side.
    """
    upgraded = await upgrade(url, SPDY, {VERSION_HEADER: V4})
    with upgraded.socket:
        if upgraded.headers.get(VERSION_HEADER.lower()) != V4:
            raise CriError(f"the streaming server does not speak {V4}", call="Exec")
        carrier = _Carrier(upgraded.socket, channels_of(streams), ends)
        return await carrier.carry(upgraded.rest)


class _Carrier:
    """One session on an open connection: a reader, a writer and the tasks that send."""

    def __init__(self, connected: socket.socket, channels: tuple[Channel, ...], ends: SessionEnds) -> None:
        self._socket = connected
        self._ends = ends
        # Go's spdystream, which every runtime serves with, has no windows: the socket holds senders back.
        self._session = Session(is_server=False, flow_control=False)
        self._ids = {
            channel: self._session.open_stream(((TYPE_HEADER, channel.name.lower()),)) for channel in channels
        }
        self._channels = {stream_id: channel for channel, stream_id in self._ids.items()}
        self._unanswered = set(self._channels)
        self._open = {channel for channel in channels if channel not in (Channel.STDIN, Channel.RESIZE)}
        self._status = b""
        self._stdin_bytes = 0
        self._limit: asyncio.Timeout | None = None
        self._accepted = asyncio.Event()
        self._has_output = asyncio.Event()
        self._has_output.set()
        self._written = asyncio.Condition()

    async def carry(self, first: bytes) -> int | None:
        tasks = [asyncio.create_task(self._write(), name="exec-write")]
        if Channel.STDIN in self._ids:
            tasks.append(asyncio.create_task(self._send_stdin(), name="exec-stdin"))
        if Channel.RESIZE in self._ids and self._ends.sizes is not None:
            tasks.append(asyncio.create_task(self._send_sizes(self._ends.sizes), name="exec-resize"))
        receiving = asyncio.create_task(self._receive(first), name="exec-receive")
        pending = {receiving, *tasks}
        try:
            while receiving in pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    # Raises what failed: the connection, or a sender whose input cannot be read.
                    task.result()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        return exit_code_of(self._status) if self._status else None

    async def _receive(self, data: bytes) -> None:
        """Take what comes until all that carries something back has ended, or the connection has."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS) as self._limit:
                while True:
                    for event in self._session.receive(data) if data else ():
                        self._take(event)
                    self._has_output.set()
                    self._watch()
                    if not self._open:
                        return
                    data = await loop.sock_recv(self._socket, READ_BYTES)
                    if not data:
                        return
        except SpdyError as error:
            raise Unavailable(f"the session was cut off: {error}", call="Exec") from error
        except TimeoutError as error:
            said = "the streaming server does not accept the streams"
            if self._accepted.is_set():
                said = "the runtime does not say how the command ended, which left its input unread"
            raise Unavailable(said, call="Exec") from error
        except OSError as error:
            # Once the Status is here, a connection that is reset instead of closed has nothing to add.
            if not self._status:
                raise Unavailable(f"the session was cut off: {error}", call="Exec") from error
        finally:
            self._limit = None

    def _watch(self) -> None:
        """Wait without a limit from the acceptance on, except where the runtime may be stuck: see above."""
        if self._limit is None or not self._accepted.is_set():
            return
        is_over = self._open == {Channel.ERROR} and not self._status
        may_be_stuck = is_over and self._stdin_bytes > PIPE_BYTES
        now = asyncio.get_running_loop().time()
        self._limit.reschedule(now + STUCK_SECONDS if may_be_stuck else None)

    def _take(self, event: Event) -> None:
        if not isinstance(event, SynReply | Data | RstStream) or event.stream_id not in self._channels:
            return
        channel = self._channels[event.stream_id]
        if isinstance(event, SynReply):
            self._unanswered.discard(event.stream_id)
            if not self._unanswered:
                self._accepted.set()
        if isinstance(event, Data) and event.data:
            if channel is Channel.ERROR:
                self._status += event.data
            elif channel in (Channel.STDOUT, Channel.STDERR):
                self._ends.output(channel, event.data)
        if isinstance(event, RstStream) or event.fin:
            self._open.discard(channel)

    async def _write(self) -> None:
        """Send what the session has to say; ends when the other side takes no more."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_output.wait()
            self._has_output.clear()
            try:
                await loop.sock_sendall(self._socket, self._session.take())
            except OSError:
                # What the runtime had to say before is still to be read, and tells why.
                return
            async with self._written:
                self._written.notify_all()

    async def _send(self, channel: Channel, data: bytes, *, fin: bool = False) -> None:
        """Send on a stream and wait until it is written, which is how a slow reader holds the sender back."""
        async with self._written:
            self._session.send(self._ids[channel], data, fin=fin)
            self._has_output.set()
            await self._written.wait()

    async def _send_stdin(self) -> None:
        await self._accepted.wait()
        try:
            if self._ends.stdin is not None:
                async for data in self._ends.stdin:
                    self._stdin_bytes += len(data)
                    self._watch()
                    await self._send(Channel.STDIN, data)
            await self._send(Channel.STDIN, b"", fin=True)
        except StreamClosed:
            # The command closed its input, or has ended: the rest of ours has no reader.
            return

    async def _send_sizes(self, sizes: AsyncIterator[TerminalSize]) -> None:
        await self._accepted.wait()
        try:
            async for size in sizes:
                told = msgspec.json.encode({"Width": size.width, "Height": size.height})
                await self._send(Channel.RESIZE, told)
        except StreamClosed:
            return
