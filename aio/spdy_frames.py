"""The frames of SPDY/3: values, their bytes, and a reader that takes the bytes in pieces of any size (pure).

Mechanism: a frame is eight bytes of head and a payload (draft-mbelshe-httpbis-spdy-00 2.2). Control frames
are read whole, up to `MAX_CONTROL`; the payload of a DATA frame is passed on as it comes, the last piece
with its `fin`, so that none is held in memory. Control frames of unknown types are skipped, as 2.2.1 asks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from aio.spdy_headers import BadBlock, HeaderReader, Headers, HeaderWriter

VERSION = 3
MAX_CONTROL = 128 << 10
MAX_PAYLOAD = (1 << 24) - 1
STREAM_MASK = 0x7FFFFFFF
FLAG_FIN = 0x01
FLAG_UNIDIRECTIONAL = 0x02


class Kind(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    """Why a stream was reset (2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    INVALID_CREDENTIALS = 10
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    """Why an end leaves (2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class SettingId(IntEnum):
    """The settings that mean something here (2.6.4); others are carried and not acted on."""

    MAX_CONCURRENT_STREAMS = 4
    INITIAL_WINDOW_SIZE = 7


class SpdyError(Exception):
    """The other end broke the protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class SynStream:
    stream_id: int
    headers: Headers = ()
    fin: bool = False
    unidirectional: bool = False
    associated_id: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    stream_id: int
    headers: Headers = ()
    fin: bool = False


@dataclass(frozen=True, slots=True)
class MoreHeaders:
    """A HEADERS frame."""

    stream_id: int
    headers: Headers = ()
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    stream_id: int
    data: bytes = b""
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    """`status` is a `ResetStatus` or a number that none knows."""

    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Pairs of id and value."""

    values: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ping:
    ping_id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last_stream_id: int
    status: int = GoAwayStatus.OK


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """`stream_id` 0 is the whole connection's window (SPDY/3.1)."""

    stream_id: int
    delta: int


Frame = SynStream | SynReply | MoreHeaders | Data | RstStream | Settings | Ping | GoAway | WindowUpdate

_HEAD = struct.Struct(">II")
_SYN_STREAM = struct.Struct(">IIBB")
_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")


class FrameWriter:
    """Frames to bytes, for one direction of one connection."""

    def __init__(self) -> None:
        self._headers = HeaderWriter()

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes; call it in the order of sending. Data must fit `MAX_PAYLOAD`."""
        match frame:
            case Data():
                if len(frame.data) > MAX_PAYLOAD:
                    raise ValueError(f"{len(frame.data)} bytes do not fit a frame")
                flags = FLAG_FIN if frame.fin else 0
                return _HEAD.pack(frame.stream_id, flags << 24 | len(frame.data)) + frame.data
            case SynStream():
                fixed = _SYN_STREAM.pack(frame.stream_id, frame.associated_id, frame.priority << 5, 0)
                flags = (FLAG_FIN if frame.fin else 0) | (FLAG_UNIDIRECTIONAL if frame.unidirectional else 0)
                return _control(Kind.SYN_STREAM, fixed + self._headers.block(frame.headers), flags)
            case SynReply() | MoreHeaders():
                kind = Kind.SYN_REPLY if isinstance(frame, SynReply) else Kind.HEADERS
                payload = _WORD.pack(frame.stream_id) + self._headers.block(frame.headers)
                return _control(kind, payload, FLAG_FIN if frame.fin else 0)
            case RstStream():
                return _control(Kind.RST_STREAM, _TWO_WORDS.pack(frame.stream_id, frame.status))
            case Settings():
                pairs = b"".join(_TWO_WORDS.pack(*pair) for pair in frame.values)
                return _control(Kind.SETTINGS, _WORD.pack(len(frame.values)) + pairs)
            case Ping():
                return _control(Kind.PING, _WORD.pack(frame.ping_id))
            case GoAway():
                return _control(Kind.GOAWAY, _TWO_WORDS.pack(frame.last_stream_id, frame.status))
            case WindowUpdate():
                return _control(Kind.WINDOW_UPDATE, _TWO_WORDS.pack(frame.stream_id, frame.delta))


def _control(kind: Kind, payload: bytes, flags: int = 0) -> bytes:
    if len(payload) > MAX_CONTROL:
        raise ValueError(f"a {kind.name} frame of {len(payload)} bytes is longer than {MAX_CONTROL}")
    return _HEAD.pack(1 << 31 | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


class FrameReader:
    """Bytes to frames, for one direction of one connection."""

    def __init__(self) -> None:
        self._headers = HeaderReader()
        self._buffer = bytearray()
        self._stream_id = 0
        self._fin = False
        # Bytes of the DATA frame's payload that are still to come; None between frames.
        self._left: int | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Exhaust it before feeding more; `SpdyError` ends the reader."""
        self._buffer += data
        while (frame := self._next()) is not None:
            if not isinstance(frame, _Skipped):
                yield frame

    def _next(self) -> Frame | _Skipped | None:
        if self._left is not None:
            return self._piece(self._left)
        if len(self._buffer) < _HEAD.size:
            return None
        first, second = _HEAD.unpack_from(self._buffer)
        flags, length = second >> 24, second & MAX_PAYLOAD
        if not first >> 31:
            del self._buffer[: _HEAD.size]
            self._stream_id, self._fin, self._left = first, bool(flags & FLAG_FIN), length
            if not first:
                raise SpdyError("a DATA frame is of stream 0")
            return self._piece(length)
        if first >> 16 & 0x7FFF != VERSION:
            raise SpdyError(f"a control frame is of version {first >> 16 & 0x7FFF}, not {VERSION}")
        if length > MAX_CONTROL:
            raise SpdyError(f"a control frame of {length} bytes is longer than {MAX_CONTROL}")
        if len(self._buffer) < _HEAD.size + length:
            return None
        payload = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
        del self._buffer[: _HEAD.size + length]
        return self._control(first & 0xFFFF, flags, payload)

    def _piece(self, left: int) -> Frame | None:
        piece = bytes(self._buffer[:left])
        del self._buffer[:left]
        if left and not piece:
            return None
        left -= len(piece)
        self._left = left or None
        return Data(self._stream_id, piece, self._fin and not left)

    def _control(self, kind: int, flags: int, payload: bytes) -> Frame | _Skipped:
        try:
            return self._parse(kind, flags, payload)
        except struct.error as error:
            raise SpdyError(f"a control frame of type {kind} is too short: {error}") from error
        except BadBlock as error:
            raise SpdyError(f"a header block cannot be read: {error}") from error

    def _parse(self, kind: int, flags: int, payload: bytes) -> Frame | _Skipped:
        fin = bool(flags & FLAG_FIN)
        if kind == Kind.SYN_STREAM:
            stream_id, associated, priority, _ = _SYN_STREAM.unpack_from(payload)
            return SynStream(
                stream_id=stream_id & STREAM_MASK,
                headers=self._headers.headers(payload[_SYN_STREAM.size :]),
                fin=fin,
                unidirectional=bool(flags & FLAG_UNIDIRECTIONAL),
                associated_id=associated & STREAM_MASK,
                priority=priority >> 5,
            )
        if kind in (Kind.SYN_REPLY, Kind.HEADERS):
            (stream_id,) = _WORD.unpack_from(payload)
            make = SynReply if kind == Kind.SYN_REPLY else MoreHeaders
            return make(stream_id & STREAM_MASK, self._headers.headers(payload[_WORD.size :]), fin)
        if kind == Kind.SETTINGS:
            return _settings(payload)
        if kind == Kind.PING:
            return Ping(*_WORD.unpack(payload))
        if kind in (Kind.RST_STREAM, Kind.GOAWAY, Kind.WINDOW_UPDATE):
            stream_id, value = _TWO_WORDS.unpack(payload)
            stream_id &= STREAM_MASK
            if kind == Kind.RST_STREAM:
                return RstStream(stream_id, value)
            return GoAway(stream_id, value) if kind == Kind.GOAWAY else _window_update(stream_id, value)
        return _Skipped()


class _Skipped:
    """A control frame of a type that is not known."""


def _settings(payload: bytes) -> Settings:
    (count,) = _WORD.unpack_from(payload)
    if len(payload) != _WORD.size + count * _TWO_WORDS.size:
        raise SpdyError(f"a SETTINGS frame of {len(payload)} bytes tells {count} settings")
    # The upper byte of an id is flags for settings that persist, which nothing here keeps.
    pairs = _TWO_WORDS.iter_unpack(payload[_WORD.size :])
    return Settings(tuple((setting & 0xFFFFFF, value) for setting, value in pairs))


def _window_update(stream_id: int, delta: int) -> WindowUpdate:
    delta &= STREAM_MASK
    if not delta:
        raise SpdyError("a WINDOW_UPDATE frame opens the window by nothing")
    return WindowUpdate(stream_id, delta)
