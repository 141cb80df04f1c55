"""A client of the runtime's streaming server: one exec or attach session over WebSocket.

Mechanism: Kubernetes' channel protocols v5 and v4: every binary message begins with a channel number (0
stdin, 1 stdout, 2 stderr, 3 the final Status as JSON, 4 terminal size). Only v5 can close a channel: a v4
server (containerd up to 2.1) cannot be told the end of `stdin`, and a command that waits for it waits on. The
session lasts until the runtime has sent the Status or closed the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

import aiohttp
import msgspec

from cri.errors import CriError, Unavailable

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
CONNECT_TIMEOUT_SECONDS = 30.0
# v5: this in place of a channel number, followed by the channel that ends.
CLOSE_CHANNEL = 255
# What an ExitCode cause stands under in a Status (k8s.io/apimachinery remotecommand constants).
NON_ZERO_EXIT_REASON = "NonZeroExitCode"
EXIT_CODE_CAUSE = "ExitCode"


class Channel(IntEnum):
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
    """The caller's ends of a session's streams. What is None is not carried.

    `stdin` is read until it ends; `output` gets `Channel.STDOUT` or `Channel.STDERR` and the bytes, and must
    not block; `sizes` gives the terminal's size, first at once and then on each change.
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


async def run_session(url: str, ends: SessionEnds) -> int | None:
    """Carry one session to its end; the exit code, or None when an attached one ends without any.

    `url` is what `RuntimeService.exec` or `.attach` returned. Raises `Unavailable` when the streaming server
    cannot be reached or refuses, `CriError` when the command could not be run.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        try:
            socket = await client.ws_connect(url, protocols=(V5, V4), max_msg_size=0)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the streaming server does not answer: {error}", call="Exec") from error
        async with socket:
            if socket.protocol not in (V5, V4):
                raise CriError("the streaming server speaks neither v5 nor v4 of the protocol", call="Exec")
            return await _carry(socket, ends)


async def _carry(socket: aiohttp.ClientWebSocketResponse, ends: SessionEnds) -> int | None:
    senders = []
    if ends.stdin is not None:
        senders.append(asyncio.create_task(_send_stdin(socket, ends.stdin), name="exec-stdin"))
    if ends.sizes is not None:
        senders.append(asyncio.create_task(_send_sizes(socket, ends.sizes), name="exec-resize"))
    try:
        return await _receive(socket, ends.output)
    finally:
        for sender in senders:
            sender.cancel()
        results = await asyncio.gather(*senders, return_exceptions=True)
        for result in results:
            # A session that ends while input is on its way is no error; anything else is the input's own.
            is_expected = isinstance(result, (asyncio.CancelledError, ConnectionError, aiohttp.ClientError))
            if isinstance(result, BaseException) and not is_expected:
                raise result


async def _receive(
    socket: aiohttp.ClientWebSocketResponse, output: Callable[[Channel, bytes], None]
) -> int | None:
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        # The server opens each of its channels with an empty message.
        if channel in (Channel.STDOUT, Channel.STDERR) and data:
            output(Channel(channel), data)
        elif channel == Channel.ERROR and data:
            return exit_code_of(data)
    error = socket.exception()
    if error is not None:
        raise Unavailable(f"the session was cut off: {error}", call="Exec") from error
    return None


async def _send_stdin(socket: aiohttp.ClientWebSocketResponse, stdin: AsyncIterator[bytes]) -> None:
    async for data in stdin:
        await socket.send_bytes(bytes((Channel.STDIN,)) + data)
    if socket.protocol == V5:
        await socket.send_bytes(bytes((CLOSE_CHANNEL, Channel.STDIN)))


async def _send_sizes(socket: aiohttp.ClientWebSocketResponse, sizes: AsyncIterator[TerminalSize]) -> None:
    async for size in sizes:
        told = msgspec.json.encode({"Width": size.width, "Height": size.height})
        with suppress(ConnectionError):
            await socket.send_bytes(bytes((Channel.RESIZE,)) + told)
