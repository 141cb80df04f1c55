"""A remote command (exec, attach) of a WebSocket client, for a backend that speaks SPDY/3.1 (pure).

Mechanism: one SPDY stream per channel is opened at once; the client's bytes wait until the backend has
accepted them all, since spdystream drops data of a stream that it has not answered. Then messages and DATA
frames pass both ways. v5's close of the input becomes the end of its stream. Once every stream that carries
something back has ended, the WebSocket closes. A backend that goes without a word on the error channel is
told to the client there, as a failure: no session looks like a success that was none.

v4 and older have no way to end the input: a command that reads to the end of it runs until the client closes
the connection, and its exit code is then nobody's.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from aio.spdy import DATA_PIECE, Session, StreamClosed
from aio.spdy import Event as SpdyEvent
from aio.spdy_frames import Data, GoAway, RstStream, SpdyError, SynReply
from kube.streams.protocols import CLOSE_CHANNEL, TYPE_HEADER, Channel, RemoteProtocol, Wanted
from kube.streams.websocket_side import WebSocketSide
from kube.websocket import CloseCode, Part

_SENT_BY_CLIENT = frozenset({Channel.STDIN, Channel.RESIZE})


class _Told(msgspec.Struct, frozen=True):
    """What of a Status the older protocols show."""

    status: str = ""
    message: str = ""


class RemoteCommand(WebSocketSide):
    """One session. The backend must have agreed to `v4.channel.k8s.io` over SPDY/3.1."""

    def __init__(self, protocol: RemoteProtocol, wanted: Wanted) -> None:
        super().__init__()
        self.is_ready = False
        self._protocol = protocol
        # Of the message that is coming in: its channel, and what of it must wait for the rest.
        self._number: int | None = None
        self._rest = b""
        # Go's spdystream knows no windows: who reads no further holds the other end back.
        self._spdy = Session(is_server=False, flow_control=False)
        channels = wanted.channels()
        self._ids = {
            channel: self._spdy.open_stream(((TYPE_HEADER, channel.name.lower()),)) for channel in channels
        }
        self._channels = {stream_id: channel for channel, stream_id in self._ids.items()}
        self._unanswered = set(self._channels)
        self._open = {channel for channel in channels if channel not in _SENT_BY_CLIENT}
        self._status = bytearray()
        self._is_status_told = False

    # The client

    def _on_part(self, part: Part) -> None:
        data = part.data
        if self._number is None and data:
            self._number, data = data[0], data[1:]
            if self._protocol.is_base64:
                self._number -= ord("0")
        if self._number is not None and not self.is_over:
            self._on_data_from_client(self._number, data, is_last=part.is_last)
        if part.is_last:
            self._number, self._rest = None, b""

    def _on_data_from_client(self, number: int, data: bytes, *, is_last: bool) -> None:
        if self._protocol.is_base64:
            # Four characters are three bytes, wherever the parts begin.
            data = self._rest + data
            whole = len(data) if is_last else len(data) // 4 * 4
            self._rest = data[whole:]
            try:
                data = base64.b64decode(data[:whole], validate=True)
            except binascii.Error:
                self._refuse("a message is not base64")
                return
        if number == CLOSE_CHANNEL and self._protocol.has_close:
            self._rest = (self._rest + data)[:2]  # one byte is right, two are wrong: no need for more
            if is_last:
                self._on_close(self._rest)
        elif number in _SENT_BY_CLIENT:
            # A channel that the session has not: Kubernetes' servers drop it, as what comes too late.
            self._send(Channel(number), data)
        elif number not in Channel.__members__.values():
            self._refuse(f"there is no channel {number}")

    def _on_close(self, payload: bytes) -> None:
        if len(payload) != 1 or payload[0] not in (Channel.STDIN, Channel.RESIZE):
            self._refuse("what is to be closed is no channel of the client's")
            return
        self._send(Channel(payload[0]), b"", fin=True)

    def _send(self, channel: Channel, data: bytes, *, fin: bool = False) -> None:
        stream_id = self._ids.get(channel)
        if stream_id is None or not (data or fin):
            return
        try:
            self._spdy.send(stream_id, data, fin=fin)
        except StreamClosed:
            # The command closed its input or has ended: the rest of it has no reader.
            return

    def _refuse(self, reason: str) -> None:
        self._socket.close(CloseCode.PROTOCOL_ERROR, reason)
        self.is_over = True

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
            self._finish()

    def _on_event(self, event: SpdyEvent) -> None:
        if isinstance(event, GoAway) or not isinstance(event, SynReply | Data | RstStream):
            return
        channel = self._channels.get(event.stream_id)
        if channel is None:
            return
        if isinstance(event, SynReply):
            self._on_reply(event.stream_id)
        elif isinstance(event, Data) and event.data:
            self._on_data(channel, event.data)
        if isinstance(event, RstStream) or event.fin:
            self._open.discard(channel)

    def _on_reply(self, stream_id: int) -> None:
        self._unanswered.discard(stream_id)
        if self._unanswered or self.is_ready:
            return
        self.is_ready = True
        # Kubernetes' servers say so with an empty message on the first channel that they write to.
        first = next((one for one in (Channel.STDOUT, Channel.STDERR) if one in self._ids), Channel.ERROR)
        self._say(first, b"")

    def _on_data(self, channel: Channel, data: bytes) -> None:
        if channel is Channel.ERROR and not self._protocol.has_status:
            self._status += data
        elif channel not in _SENT_BY_CLIENT:
            self._is_status_told = self._is_status_told or channel is Channel.ERROR
            self._say(channel, data)

    def backend_ended(self, reason: str = "") -> None:
        if not self.is_over:
            self._finish(reason or "the connection to the container was closed")

    def _finish(self, reason: str = "the session ended without saying how") -> None:
        if self._status and not self._is_status_told:
            self._tell_old_status()
        elif not self._is_status_told:
            self._tell_failure(reason)
        self._socket.close(CloseCode.NORMAL)
        self.is_over = True

    def _tell_old_status(self) -> None:
        """Before v4 a failure is its message, and success is silence."""
        self._is_status_told = True
        try:
            told = msgspec.json.decode(bytes(self._status), type=_Told)
        except msgspec.MsgspecError:
            self._say(Channel.ERROR, bytes(self._status))
            return
        if told.status != "Success":
            self._say(Channel.ERROR, told.message.encode())

    def _tell_failure(self, reason: str) -> None:
        self._is_status_told = True
        message = f"Internal error occurred: {reason}"
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "InternalError",
            "details": {"causes": [{"message": reason}]},
            "code": 500,
        }
        self._say(
            Channel.ERROR, msgspec.json.encode(status) if self._protocol.has_status else message.encode()
        )

    def _say(self, channel: Channel, data: bytes) -> None:
        # In pieces, as DATA frames come: a client's buffer for a message is not made for more.
        for at in range(0, len(data), DATA_PIECE) if data else (0,):
            piece = data[at : at + DATA_PIECE]
            if self._protocol.is_base64:
                self._socket.send(b"%d" % channel + base64.b64encode(piece), is_text=True)
            else:
                self._socket.send(bytes((channel,)) + piece)

    # What is to be written

    def for_client(self) -> bytes:
        return self._socket.take()

    def for_backend(self) -> bytes:
        return self._spdy.take()
