"""One end of a SPDY/3.1 connection, without I/O: bytes and calls in, bytes and events out (pure).

Mechanism: `receive` turns what came into events, `take` gives what is to be written; both may be called with
pieces of any size at any time. Streams that this end opens are odd for a client and even for a server.

Flow control is SPDY/3.1's: a window per stream and one for the connection. What a window does not admit waits
here (`waiting`), and the windows of this end open as the caller says what it has `consumed`. The peers that
Kubernetes has (Go's spdystream, in every runtime, API server and kubectl) know none of it: they neither send
nor obey WINDOW_UPDATE. With them use `flow_control=False`, where nothing waits here and the way to hold the
other end back is to read no further from the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from aio.spdy_frames import (
    STREAM_MASK,
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    GoAwayStatus,
    MoreHeaders,
    Ping,
    ResetStatus,
    RstStream,
    SettingId,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)

INITIAL_WINDOW = 64 << 10
DATA_PIECE = 32 << 10
"""Bytes per DATA frame sent, so that streams take turns."""

Event = SynStream | SynReply | MoreHeaders | Data | RstStream | Ping | GoAway
"""What `receive` tells: the other end's frames, those that need nothing but bookkeeping left out. A `Ping` is
the answer to one of this end's."""


class StreamClosed(Exception):
    """The call needs a stream, or a direction of one, that is no longer open."""


@dataclass(slots=True)
class _Stream:
    send_window: int
    receive_window: int
    is_replied: bool
    is_local_open: bool = True
    is_remote_open: bool = True
    queue: deque[bytes] = field(default_factory=deque)
    waiting: int = 0
    is_fin_due: bool = False
    consumed: int = 0


class Session:
    """One end of a connection. Not for use from several threads.

    `flow_control`: whether the other end sends and obeys WINDOW_UPDATE. `window`: bytes per stream that this
    end takes in before it must say what it has consumed; told to the other end when it is not the default.
    """

    def __init__(self, *, is_server: bool, flow_control: bool, window: int = INITIAL_WINDOW) -> None:
        self.max_streams: int | None = None
        """How many streams the other end wants open at once; None: it has not said."""
        self._is_server = is_server
        self._flow_control = flow_control
        self._window = window
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._out = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._next_id = 2 if is_server else 1
        self._next_ping = 2 if is_server else 1
        self._last_remote_id = 0
        self._peer_initial_window = INITIAL_WINDOW
        # SPDY/3.1's window of the whole connection starts so whatever the settings say.
        self._send_window = INITIAL_WINDOW
        self._receive_window = INITIAL_WINDOW
        self._consumed = 0
        self._is_leaving = False
        self._is_peer_leaving = False
        self._is_failed = False
        if flow_control and window != INITIAL_WINDOW:
            self._write(Settings(((SettingId.INITIAL_WINDOW_SIZE, window),)))

    # What this end does

    def take(self) -> bytes:
        """The bytes to write now; each is given once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def open_stream(self, headers: Iterable[tuple[str, str]], *, fin: bool = False) -> int:
        """Open a stream, return its id. `fin`: this end sends nothing on it. Wait for the `SynReply`."""
        if self._is_leaving or self._is_peer_leaving or self._is_failed:
            raise StreamClosed("cannot open a stream: because the connection is being left")
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self._streams[stream_id] = self._new_stream(is_replied=False)
        self._streams[stream_id].is_local_open = not fin
        self._write(SynStream(stream_id, tuple(headers), fin=fin))
        return stream_id

    def reply(self, stream_id: int, headers: Iterable[tuple[str, str]] = (), *, fin: bool = False) -> None:
        """Accept a stream that the other end opened."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_replied or self._is_ours(stream_id):
            raise StreamClosed(f"cannot accept stream {stream_id}: because it is gone, accepted or our own")
        stream.is_replied = True
        self._write(SynReply(stream_id, tuple(headers), fin=fin))
        if fin:
            self._close_local(stream_id, stream)

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Send `data`, or keep it until the windows admit it; `fin` ends this end's direction after it."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.is_local_open or stream.is_fin_due:
            raise StreamClosed(f"cannot send on stream {stream_id}: because it is closed")
        if not stream.is_replied and not self._is_ours(stream_id):
            raise StreamClosed(f"cannot send on stream {stream_id}: because it is not accepted yet")
        stream.queue.extend(data[at : at + DATA_PIECE] for at in range(0, len(data), DATA_PIECE))
        stream.waiting += len(data)
        stream.is_fin_due = fin
        self._pump(stream_id, stream)

    def waiting(self, stream_id: int) -> int:
        """Bytes that a window keeps back; 0 for a stream that is gone."""
        stream = self._streams.get(stream_id)
        return stream.waiting if stream else 0

    def consumed(self, stream_id: int, count: int) -> None:
        """The caller is done with `count` bytes of this stream's `Data`: the windows open by as much."""
        if not self._flow_control or count <= 0:
            return
        self._consumed += count
        # In portions of half a window: a frame for every piece would cost more than it helps.
        if self._consumed * 2 >= INITIAL_WINDOW:
            self._receive_window += self._consumed
            self._write(WindowUpdate(0, self._consumed))
            self._consumed = 0
        stream = self._streams.get(stream_id)
        if stream is not None and stream.is_remote_open:
            stream.consumed += count
            if stream.consumed * 2 >= self._window:
                stream.receive_window += stream.consumed
                self._write(WindowUpdate(stream_id, stream.consumed))
                stream.consumed = 0

    def reset(self, stream_id: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """End both directions at once; what waits is dropped. Nothing for a stream that is gone."""
        if self._streams.pop(stream_id, None) is not None:
            self._write(RstStream(stream_id, status))

    def ping(self) -> int:
        """Ask for a sign of life; the answer is a `Ping` event with this id."""
        ping_id, self._next_ping = self._next_ping, self._next_ping + 2
        self._write(Ping(ping_id))
        return ping_id

    def go_away(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        """Accept no more streams; those that are open go on."""
        if not self._is_leaving:
            self._is_leaving = True
            self._write(GoAway(self._last_remote_id, status))

    def is_open(self, stream_id: int) -> bool:
        """Whether either direction of the stream may still carry something."""
        return stream_id in self._streams

    # What the other end does

    def receive(self, data: bytes) -> list[Event]:
        """The events in `data`. `SpdyError` ends the connection: write what `take` gives, then close it."""
        if self._is_failed:
            raise SpdyError("the connection has failed before")
        events = []
        try:
            for frame in self._reader.feed(data):
                event = self._handle(frame)
                if event is not None:
                    events.append(event)
        except SpdyError:
            self._is_failed = True
            self._streams.clear()
            self.go_away(GoAwayStatus.PROTOCOL_ERROR)
            raise
        return events

    def _handle(self, frame: Frame) -> Event | None:
        match frame:
            case Data():
                return self._on_data(frame)
            case SynStream():
                return self._on_syn_stream(frame)
            case SynReply() | MoreHeaders():
                return self._on_headers(frame)
            case RstStream():
                return frame if self._streams.pop(frame.stream_id, None) is not None else None
            case WindowUpdate():
                self._on_window_update(frame)
            case Settings():
                self._on_settings(frame)
            case Ping():
                if bool(frame.ping_id % 2) != self._is_server:
                    return frame
                self._write(frame)
            case GoAway():
                self._is_peer_leaving = True
                return frame
        return None

    def _on_syn_stream(self, frame: SynStream) -> Event | None:
        stream_id = frame.stream_id
        if bool(stream_id % 2) != self._is_server or stream_id <= self._last_remote_id:
            raise SpdyError(f"the other end may not open stream {stream_id} after {self._last_remote_id}")
        if self._is_leaving:
            return None
        self._last_remote_id = stream_id
        # A one-way stream is never answered: its opener sends, this end listens.
        stream = self._new_stream(is_replied=frame.unidirectional)
        stream.is_local_open = not frame.unidirectional
        stream.is_remote_open = not frame.fin
        if stream.is_local_open or stream.is_remote_open:
            self._streams[stream_id] = stream
        return frame

    def _on_headers(self, frame: SynReply | MoreHeaders) -> Event | None:
        stream_id, stream = frame.stream_id, self._streams.get(frame.stream_id)
        if stream is None:
            self._refuse_unknown(stream_id)
            return None
        if not stream.is_remote_open:
            return self._abort(stream_id, ResetStatus.STREAM_ALREADY_CLOSED)
        if isinstance(frame, SynReply):
            if stream.is_replied or not self._is_ours(stream_id):
                return self._abort(stream_id, ResetStatus.STREAM_IN_USE)
            stream.is_replied = True
        if frame.fin:
            self._close_remote(stream_id, stream)
        return frame

    def _on_data(self, frame: Data) -> Event | None:
        stream_id, stream, size = frame.stream_id, self._streams.get(frame.stream_id), len(frame.data)
        if self._flow_control:
            self._receive_window -= size
            if self._receive_window < 0:
                raise SpdyError("the other end sends more than the connection's window admits")
        problem = self._data_problem(stream_id, stream, size)
        if stream is None or problem is not None:
            # Nobody will consume it, but the connection's window must open again.
            self.consumed(stream_id, size)
            if stream is None:
                self._refuse_unknown(stream_id)
                return None
            return self._abort(stream_id, problem or ResetStatus.INTERNAL_ERROR)
        stream.receive_window -= size
        if frame.fin:
            self._close_remote(stream_id, stream)
        return frame

    def _data_problem(self, stream_id: int, stream: _Stream | None, size: int) -> ResetStatus | None:
        if stream is None:
            return None
        if not stream.is_remote_open:
            return ResetStatus.STREAM_ALREADY_CLOSED
        if not stream.is_replied and self._is_ours(stream_id):
            return ResetStatus.PROTOCOL_ERROR
        if self._flow_control and size > stream.receive_window:
            return ResetStatus.FLOW_CONTROL_ERROR
        return None

    def _on_window_update(self, frame: WindowUpdate) -> None:
        if not self._flow_control:
            return
        if frame.stream_id == 0:
            self._send_window += frame.delta
            if self._send_window > STREAM_MASK:
                raise SpdyError("the other end opens the connection's window too far")
            self._pump_all()
            return
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return
        stream.send_window += frame.delta
        if stream.send_window > STREAM_MASK:
            self.reset(frame.stream_id, ResetStatus.FLOW_CONTROL_ERROR)
            return
        self._pump(frame.stream_id, stream)

    def _on_settings(self, frame: Settings) -> None:
        for setting, value in frame.values:
            if setting == SettingId.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            elif setting == SettingId.INITIAL_WINDOW_SIZE:
                if value > STREAM_MASK:
                    raise SpdyError(f"an initial window of {value} bytes is too large")
                # 2.6.8: windows that are open already move by the difference, below zero if need be.
                for stream in self._streams.values():
                    stream.send_window += value - self._peer_initial_window
                self._peer_initial_window = value
                self._pump_all()

    # Bookkeeping

    def _new_stream(self, *, is_replied: bool) -> _Stream:
        return _Stream(self._peer_initial_window, self._window, is_replied)

    def _is_ours(self, stream_id: int) -> bool:
        return bool(stream_id % 2) != self._is_server

    def _refuse_unknown(self, stream_id: int) -> None:
        """Frames for a stream that ended cross its end on the way; for one that never was they are wrong."""
        last = self._next_id - 2 if self._is_ours(stream_id) else self._last_remote_id
        was_there = stream_id <= last
        if not was_there and not self._is_leaving:
            self._write(RstStream(stream_id, ResetStatus.INVALID_STREAM))

    def _abort(self, stream_id: int, status: ResetStatus) -> Event:
        """Reset a stream for the other end's mistake, and tell the caller as if it had been reset."""
        self.reset(stream_id, status)
        return RstStream(stream_id, status)

    def _pump_all(self) -> None:
        for stream_id, stream in list(self._streams.items()):
            self._pump(stream_id, stream)

    def _pump(self, stream_id: int, stream: _Stream) -> None:
        """Write what waits, as far as the windows go, and then the end if it is due."""
        while stream.queue:
            admitted = len(stream.queue[0])
            if self._flow_control:
                admitted = min(admitted, stream.send_window, self._send_window)
            if admitted <= 0:
                return
            data = stream.queue.popleft()
            piece, rest = data[:admitted], data[admitted:]
            if rest:
                stream.queue.appendleft(rest)
            stream.waiting -= len(piece)
            stream.send_window -= len(piece)
            self._send_window -= len(piece)
            is_last = stream.is_fin_due and not stream.queue
            self._write(Data(stream_id, piece, is_last))
            if is_last:
                self._close_local(stream_id, stream)
        if stream.is_fin_due and stream.is_local_open:
            self._write(Data(stream_id, fin=True))
            self._close_local(stream_id, stream)

    def _close_local(self, stream_id: int, stream: _Stream) -> None:
        stream.is_local_open = False
        if not stream.is_remote_open:
            self._streams.pop(stream_id, None)

    def _close_remote(self, stream_id: int, stream: _Stream) -> None:
        stream.is_remote_open = False
        if not stream.is_local_open:
            self._streams.pop(stream_id, None)

    def _write(self, frame: Frame) -> None:
        self._out += self._writer.encode(frame)
