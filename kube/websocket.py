"""One end of a WebSocket connection (RFC 6455), without I/O: bytes and calls in, bytes and events out (pure).

Mechanism: `receive` turns what came into messages and control events, `take` gives what is to be written;
both may be called with pieces of any size at any time. Messages come whole, or, for who asks for `Part`s,
piece by piece as they arrive: then one of any length costs neither memory nor a long stop. Pings are answered
and a close is echoed by itself. No extensions: nothing is ever compressed.

The opening handshake is an HTTP request, so only its values are made here: `accept_key`,
`subprotocols`, `choose_subprotocol`, `request_headers`, `answer_headers`.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

# RFC 6455 1.3
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"
MAX_MESSAGE_BYTES = 32 << 20
"""Of one message, all its fragments together (golang.org/x/net/websocket DefaultMaxPayloadBytes)."""

_MAX_CONTROL = 125
_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">Q")


class Opcode(IntEnum):
    """RFC 6455 5.2"""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """RFC 6455 7.4.1. The last two are never sent: they say that no code, or no close at all, came."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    NO_STATUS = 1005
    ABNORMAL = 1006


class WebSocketError(Exception):
    """The other end broke the protocol; a close frame with `code` is ready to be written."""

    def __init__(self, code: CloseCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class HandshakeError(ValueError):
    """A request or an answer is no opening handshake; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    data: bytes
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a message; `is_last` ends it. Text is not checked to be UTF-8."""

    data: bytes
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to one of this end's pings, or one that nobody asked for."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Closed:
    """The other end closes; nothing comes after it."""

    code: int = CloseCode.NO_STATUS
    reason: str = ""


Event = Message | Part | Pong | Closed


@dataclass(slots=True)
class _Head:
    """Of a frame under way: what is `left` of its payload, and its key, turned to where that begins."""

    opcode: Opcode
    is_final: bool
    left: int
    key: bytes


class WebSocket:
    """One end of a connection. `mask` gives four random bytes for each frame of a client's; None is a
    server, which masks nothing and takes only what is masked. `in_parts`: messages come as `Part`s, and may
    then be of any length."""

    def __init__(
        self,
        *,
        mask: Callable[[], bytes] | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        in_parts: bool = False,
    ) -> None:
        self._mask = mask
        self._max = max_message_bytes
        self._in_parts = in_parts
        self._head: _Head | None = None
        self._buffer = bytearray()
        self._out = bytearray()
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._opcode: Opcode | None = None
        self.is_close_sent = False
        self.is_close_received = False

    @property
    def is_closed(self) -> bool:
        """Both ends have said that they close: the connection has nothing left to carry."""
        return self.is_close_sent and self.is_close_received

    # What this end does

    def take(self) -> bytes:
        """The bytes to write now; each is given once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def send(self, data: bytes, *, is_text: bool = False) -> None:
        """One message in one frame. Nothing is sent once this end has closed."""
        if not self.is_close_sent:
            self._write(Opcode.TEXT if is_text else Opcode.BINARY, data)

    def ping(self, data: bytes = b"") -> None:
        """Ask for a sign of life, with at most 125 bytes to come back."""
        if not self.is_close_sent:
            self._write(Opcode.PING, data)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Say that this end sends no more; a reason is cut to what a control frame holds."""
        if self.is_close_sent:
            return
        said = reason.encode()[: _MAX_CONTROL - _SHORT.size].decode(errors="ignore").encode()
        self._write(Opcode.CLOSE, _SHORT.pack(code) + said if code != CloseCode.NO_STATUS else b"")
        self.is_close_sent = True

    # What the other end does

    def receive(self, data: bytes) -> list[Event]:
        """The events in `data`. `WebSocketError` ends the connection: write what `take` gives, then close.
        What comes after the other end's close is dropped."""
        events: list[Event] = []
        if self.is_close_received:
            return events
        self._buffer += data
        try:
            while not self.is_close_received:
                head = self._head or self._next_head()
                if head is None:
                    break
                if self._in_parts and head.opcode < Opcode.CLOSE:
                    event: Event | None = self._next_part(head)
                    if event is None:
                        break
                elif len(self._buffer) < head.left:
                    break
                else:
                    event = self._handle(head, self._payload(head, head.left))
                if event is not None:
                    events.append(event)
        except WebSocketError as error:
            self.close(error.code, str(error))
            self.is_close_received = True
            raise
        return events

    def _next_head(self) -> _Head | None:
        """The head of the next frame, once all of it is there; kept until its payload is."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        opcode = _opcode_of(first)
        is_masked, length, at = bool(second & _MASKED), second & 0x7F, 2
        if opcode >= Opcode.CLOSE and (length > _MAX_CONTROL or not first & _FIN):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a control frame is too long or in fragments")
        if is_masked == (self._mask is not None):
            wrong = "masked" if is_masked else "not masked"
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, f"a frame is {wrong}")
        packed = {_MAX_CONTROL + 1: _SHORT, _MAX_CONTROL + 2: _LONG}.get(length)
        end = at + (packed.size if packed else 0) + (4 if is_masked else 0)
        if len(buffer) < end:
            return None
        if packed:
            (length,) = packed.unpack_from(buffer, at)
        key = bytes(buffer[end - 4 : end]) if is_masked else b""
        del buffer[:end]
        self._head = _Head(opcode, bool(first & _FIN), length, key)
        self._check_order(self._head)
        return self._head

    def _check_order(self, head: _Head) -> None:
        if head.opcode >= Opcode.CLOSE:
            return
        if (head.opcode is Opcode.CONTINUATION) == (self._opcode is None):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "fragments are out of order")
        if not self._in_parts and self._parts_bytes + head.left > self._max:
            raise WebSocketError(CloseCode.TOO_BIG, f"a message is longer than {self._max} bytes")
        self._opcode = self._opcode or head.opcode

    def _payload(self, head: _Head, size: int) -> bytes:
        """The next `size` bytes of the frame, which have come."""
        payload = bytes(self._buffer[:size])
        del self._buffer[:size]
        head.left -= size
        if head.key:
            payload = apply_mask(payload, head.key)
            turned = size % 4
            head.key = head.key[turned:] + head.key[:turned]
        if not head.left:
            self._head = None
        return payload

    def _next_part(self, head: _Head) -> Part | None:
        size = min(head.left, len(self._buffer))
        if head.left and not size:
            return None
        is_last = head.is_final and size == head.left
        if is_last:
            self._opcode = None
        return Part(self._payload(head, size), is_last)

    def _handle(self, head: _Head, payload: bytes) -> Event | None:
        if head.opcode is Opcode.PING:
            if not self.is_close_sent:
                self._write(Opcode.PONG, payload)
            return None
        if head.opcode is Opcode.PONG:
            return Pong(payload)
        if head.opcode is Opcode.CLOSE:
            return self._on_close(payload)
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if not head.is_final:
            return None
        whole = payload if len(self._parts) == 1 else b"".join(self._parts)
        is_text = self._opcode is Opcode.TEXT
        self._parts, self._parts_bytes, self._opcode = [], 0, None
        if is_text and not _is_utf8(whole):
            raise WebSocketError(CloseCode.INVALID_DATA, "a text message is not UTF-8")
        return Message(whole, is_text)

    def _on_close(self, payload: bytes) -> Closed:
        code: int = CloseCode.NO_STATUS
        reason = payload[_SHORT.size :]
        if payload:
            if len(payload) < _SHORT.size or not _is_utf8(reason):
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a close frame cannot be read")
            (code,) = _SHORT.unpack_from(payload)
            if not _may_be_sent(code):
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, f"a close frame has the code {code}")
        self.is_close_received = True
        self.close(code)
        return Closed(code, reason.decode())

    def _write(self, opcode: Opcode, payload: bytes) -> None:
        length, is_masked = len(payload), self._mask is not None
        if opcode >= Opcode.CLOSE and length > _MAX_CONTROL:
            raise ValueError(f"{length} bytes do not fit a control frame")
        bit = _MASKED if is_masked else 0
        self._out.append(_FIN | opcode)
        if length <= _MAX_CONTROL:
            self._out.append(bit | length)
        elif length < 1 << 16:
            self._out.append(bit | 126)
            self._out += _SHORT.pack(length)
        else:
            self._out.append(bit | 127)
            self._out += _LONG.pack(length)
        if self._mask is not None:
            key = self._mask()
            self._out += key
            payload = apply_mask(payload, key)
        self._out += payload


def apply_mask(data: bytes, key: bytes) -> bytes:
    """Mask or unmask with a key of four bytes; as one big number, which is the fastest there is in Python."""
    size = len(data)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")


def _opcode_of(first: int) -> Opcode:
    if first & _RESERVED:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a frame uses an extension that was not agreed")
    try:
        return Opcode(first & 0x0F)
    except ValueError:
        raise WebSocketError(
            CloseCode.PROTOCOL_ERROR, f"a frame has the unknown type {first & 0x0F}"
        ) from None


def _may_be_sent(code: int) -> bool:
    """RFC 6455 7.4.2: defined ones, those registered, and private ones."""
    is_defined = 1000 <= code <= 1014 and code not in (1004, CloseCode.NO_STATUS, CloseCode.ABNORMAL)
    return is_defined or 3000 <= code <= 4999


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# The opening handshake


def accept_key(key: str) -> str:
    """What the server answers to the client's `Sec-WebSocket-Key` (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()


def subprotocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What the client offers, its favourite first. `headers` have names in lower case."""
    offered = headers.get("sec-websocket-protocol", "").split(",")
    return tuple(name.strip() for name in offered if name.strip())


def choose_subprotocol(offered: Iterable[str], known: Iterable[str]) -> str | None:
    """The client's favourite among those that this end knows; None when there is none."""
    served = frozenset(known)
    return next((name for name in offered if name in served), None)


def request_headers(key: bytes, protocols: Iterable[str]) -> dict[str, str]:
    """A client's side of the handshake; `key` is 16 random bytes."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": VERSION,
        "Sec-WebSocket-Key": base64.b64encode(key).decode(),
    }
    if offered := ", ".join(protocols):
        headers["Sec-WebSocket-Protocol"] = offered
    return headers


def answer_headers(headers: Mapping[str, str], protocol: str | None) -> dict[str, str]:
    """The headers of the 101 for a request with these headers (names in lower case) and the subprotocol
    chosen, `Connection: Upgrade` aside. `HandshakeError` when the request is none: answer 400."""
    key = headers.get("sec-websocket-key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        is_key = False
    if not is_key:
        raise HandshakeError("the header Sec-WebSocket-Key is missing or wrong")
    if headers.get("sec-websocket-version") != VERSION:
        raise HandshakeError(f"the header Sec-WebSocket-Version is not {VERSION}")
    answer = {"Upgrade": "websocket", "Sec-WebSocket-Accept": accept_key(key)}
    if protocol:
        answer["Sec-WebSocket-Protocol"] = protocol
    return answer
