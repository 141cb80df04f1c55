"""Port-forwarding as older WebSocket clients do it (the Python client among them), for a node that speaks
SPDY/3.1 (pure; kubelet cri/streaming/portforward/websocket.go).

Mechanism: the ports are in the request, two channels each: 2N carries the bytes of port N, 2N+1 its error.
The first message of each channel is the port, two bytes, the lower first. There is one connection per port
and no way to end it but to close the WebSocket; it closes by itself when every port's connection has ended.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from aio.spdy import DATA_PIECE, Session, StreamClosed
from aio.spdy_frames import Data, RstStream, SpdyError, SynReply
from kube.streams.protocols import PORT_HEADER, REQUEST_ID_HEADER, TYPE_HEADER
from kube.websocket import CloseCode, Closed, Message, WebSocket, WebSocketError

PROTOCOLS = {
    "v4.channel.k8s.io": False, "v4.base64.channel.k8s.io": True, "channel.k8s.io": False,
    "base64.channel.k8s.io": True,
}  # fmt: skip
"""Subprotocols, and whether their messages are base64."""


class ForwardChannels:
    """A Translation; the node must have agreed to `portforward.k8s.io`."""

    def __init__(self, ports: Sequence[int], *, is_base64: bool = False) -> None:
        self.is_ready = False
        self.is_over = False
        self._ports = tuple(ports)
        self._is_base64 = is_base64
        self._socket = WebSocket()
        self._spdy = Session(is_server=False, flow_control=False)
        self._channels: dict[int, int] = {}
        for number, port in enumerate(self._ports):
            common = ((PORT_HEADER, str(port)), (REQUEST_ID_HEADER, str(number)))
            error = self._spdy.open_stream(((TYPE_HEADER, "error"), *common), fin=True)
            data = self._spdy.open_stream(((TYPE_HEADER, "data"), *common))
            self._channels |= {data: 2 * number, error: 2 * number + 1}
        self._streams = {channel: stream_id for stream_id, channel in self._channels.items()}
        self._unanswered = set(self._channels)
        self._open = {channel for channel in self._streams if channel % 2 == 0}

    @property
    def awaits_client(self) -> bool:
        return self._socket.is_close_sent and not self._socket.is_close_received

    # The client

    def from_client(self, data: bytes) -> None:
        try:
            events = self._socket.receive(data)
        except WebSocketError:
            self.is_over = True
            return
        for event in events:
            if isinstance(event, Closed):
                self.is_over = True
            elif isinstance(event, Message) and not self.is_over:
                self._on_message(event.data)

    def _on_message(self, message: bytes) -> None:
        if not message:
            return
        channel, payload = message[0], message[1:]
        if self._is_base64:
            try:
                channel, payload = channel - ord("0"), base64.b64decode(payload, validate=True)
            except binascii.Error:
                self._socket.close(CloseCode.PROTOCOL_ERROR, "a message is not base64")
                self.is_over = True
                return
        if channel not in self._open or not payload:
            return  # an error channel, or a connection that has ended
        try:
            self._spdy.send(self._streams[channel], payload)
        except StreamClosed:
            self._open.discard(channel)

    def client_ended(self) -> None:
        self.is_over = True

    def keep_alive(self) -> None:
        self._socket.ping()

    # The node

    def from_backend(self, data: bytes) -> None:
        try:
            events = self._spdy.receive(data)
        except SpdyError as error:
            self.backend_ended(str(error))
            return
        for event in events:
            if isinstance(event, SynReply | Data | RstStream) and event.stream_id in self._channels:
                self._on_event(event, self._channels[event.stream_id])
        if not self._open and not self.is_over:
            self.backend_ended()

    def _on_event(self, event: SynReply | Data | RstStream, channel: int) -> None:
        if isinstance(event, SynReply):
            self._on_reply(event.stream_id)
        elif isinstance(event, Data) and event.data:
            for at in range(0, len(event.data), DATA_PIECE):
                self._say(channel, event.data[at : at + DATA_PIECE])
        if isinstance(event, RstStream) or event.fin:
            self._open.discard(channel)

    def _on_reply(self, stream_id: int) -> None:
        self._unanswered.discard(stream_id)
        if self._unanswered or self.is_ready:
            return
        self.is_ready = True
        for channel in sorted(self._streams):
            self._say(channel, self._ports[channel // 2].to_bytes(2, "little"))

    def backend_ended(self, reason: str = "") -> None:
        if not self.is_over:
            self._socket.close(CloseCode.INTERNAL_ERROR if reason else CloseCode.NORMAL, reason)
            self.is_over = True

    def _say(self, channel: int, data: bytes) -> None:
        if self._is_base64:
            self._socket.send(bytes((ord("0") + channel,)) + base64.b64encode(data), is_text=True)
        else:
            self._socket.send(bytes((channel,)) + data)

    # What is to be written

    def for_client(self) -> bytes:
        return self._socket.take()

    def for_backend(self) -> bytes:
        return self._spdy.take()
