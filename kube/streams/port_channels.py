"""Port-forwarding of older WebSocket clients: a pair of channels per port, for a backend that speaks SPDY/3.1
(pure).

Mechanism: port number N of the request has the channels 2N for data and 2N+1 for errors. The first message of
each is the port (16 bits, little endian), and from then on a channel is the SPDY stream of its pair. One port
is one connection: there is no way to open a second one, nor to end one direction. The session is over when
every connection has ended. Source: k8s.io/kubelet pkg/cri/streaming/portforward/websocket.go; the Python
client speaks it.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from contextlib import suppress

from aio.spdy import DATA_PIECE, Session, StreamClosed
from aio.spdy import Event as SpdyEvent
from aio.spdy_frames import Data, RstStream, SpdyError, SynReply
from kube.streams.protocols import PORT_HEADER, REQUEST_ID_HEADER, TYPE_HEADER
from kube.streams.websocket_side import WebSocketSide
from kube.websocket import CloseCode, Part

PROTOCOLS = {
    "": False,
    "v4.channel.k8s.io": False,
    "channel.k8s.io": False,
    "v4.base64.channel.k8s.io": True,
    "base64.channel.k8s.io": True,
}
"""Subprotocols ("": the client names none), and whether their messages are base64."""

MAX_PORTS = 39
"""Channels are numbered in one character, and in base64 in one of those that are text whatever follows."""

_PORT = struct.Struct("<H")


def read_ports(values: Sequence[str]) -> tuple[int, ...]:
    """The ports of a request's `port` parameters, each of which may be a list with commas. ValueError when
    there is none, too many, or one that is no port."""
    texts = [text for value in values for text in value.split(",")]
    if not texts or not texts[0]:
        raise ValueError('query parameter "port" is required')
    if len(texts) > MAX_PORTS:
        raise ValueError(f"more than {MAX_PORTS} ports")
    for text in texts:
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
            raise ValueError(f'unable to parse "{text}" as a port')
    return tuple(int(text) for text in texts)


class PortChannels(WebSocketSide):
    """One session, with a connection to each of `ports`. The backend must have agreed to
    `portforward.k8s.io` over SPDY/3.1."""

    def __init__(self, ports: Sequence[int], *, is_base64: bool = False) -> None:
        super().__init__()
        self.is_ready = False
        self._ports = tuple(ports)
        self._is_base64 = is_base64
        # Of the message that is coming in: its channel, and what of it must wait for the rest.
        self._number: int | None = None
        self._rest = b""
        self._spdy = Session(is_server=False, flow_control=False)
        self._ids: list[int] = []
        for index, port in enumerate(self._ports):
            pair = {PORT_HEADER: str(port), REQUEST_ID_HEADER: str(index)}
            # The error stream first: the data stream completes the pair. This end says nothing on it.
            error = self._spdy.open_stream(((TYPE_HEADER, "error"), *pair.items()), fin=True)
            data = self._spdy.open_stream(((TYPE_HEADER, "data"), *pair.items()))
            self._ids += [data, error]
        self._channels = {stream_id: channel for channel, stream_id in enumerate(self._ids)}
        self._unanswered = set(self._ids)
        self._open = set(self._ids[::2])

    # The client

    def _on_part(self, part: Part) -> None:
        data = part.data
        if self._number is None and data:
            self._number, data = data[0] - (ord("0") if self._is_base64 else 0), data[1:]
        if self._is_base64:
            # Four characters are three bytes, wherever the parts begin.
            data = self._rest + data
            whole = len(data) if part.is_last else len(data) // 4 * 4
            self._rest = data[whole:]
            try:
                data = base64.b64decode(data[:whole], validate=True)
            except binascii.Error:
                self._finish(CloseCode.PROTOCOL_ERROR, "a message is not base64")
                return
        # What is said on a channel for errors, or on none of the session's, has no reader; nor has what comes
        # after the end of its connection.
        if self._number is not None and self._number in range(0, len(self._ids), 2) and data:
            with suppress(StreamClosed):
                self._spdy.send(self._ids[self._number], data)
        if part.is_last:
            self._number = None

    def client_ended(self) -> None:
        self.is_over = True

    def keep_alive(self) -> None:
        self._socket.ping()

    # The backend

    def from_backend(self, data: bytes) -> None:
        try:
            events = self._spdy.receive(data)
        except SpdyError as error:
            self.backend_ended(str(error))
            return
        for event in events:
            self._on_event(event)
        if not self._open:
            self._finish(CloseCode.NORMAL)

    def _on_event(self, event: SpdyEvent) -> None:
        if not isinstance(event, SynReply | Data | RstStream) or event.stream_id not in self._channels:
            return
        if isinstance(event, SynReply):
            self._unanswered.discard(event.stream_id)
            if not self._unanswered and not self.is_ready:
                self._begin()
        elif isinstance(event, Data):
            for at in range(0, len(event.data), DATA_PIECE):
                self._say(self._channels[event.stream_id], event.data[at : at + DATA_PIECE])
        if isinstance(event, RstStream) or event.fin:
            self._open.discard(event.stream_id)

    def _begin(self) -> None:
        """Every stream is accepted."""
        self.is_ready = True
        for channel in range(len(self._ids)):
            self._say(channel, _PORT.pack(self._ports[channel // 2]))

    def _say(self, channel: int, data: bytes) -> None:
        if self._is_base64:
            self._socket.send(bytes((channel + ord("0"),)) + base64.b64encode(data), is_text=True)
        else:
            self._socket.send(bytes((channel,)) + data)

    def backend_ended(self, reason: str = "") -> None:
        if not self.is_over:
            self._finish(CloseCode.INTERNAL_ERROR if reason else CloseCode.NORMAL, reason)

    def _finish(self, code: CloseCode, reason: str = "") -> None:
        self._socket.close(code, reason)
        self.is_over = True

    # What is to be written

    def for_client(self) -> bytes:
        return self._socket.take()

    def for_backend(self) -> bytes:
        return self._spdy.take()
