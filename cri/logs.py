"""The CRI log format: what one line says, which lines were asked for, how they look to the reader (pure).

A runtime writes each line as `<RFC 3339 time with nanoseconds> <stdout|stderr> <tag> <text>`; the tag is F
when the text ends a line and P when the line goes on in the next entry of the same stream (tags may be
followed by `:` and others). A whole line of output may be of any size, and so may a damaged file's: `Decoder`
never keeps more than one piece of 64 KiB, whatever is fed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

STDOUT = "stdout"
STDERR = "stderr"
NANOSECONDS_PER_SECOND = 1_000_000_000
# Runtimes cut lines at 16 KiB (containerd's max_container_log_line_size); four of that is never cut here.
PIECE_LIMIT_BYTES = 64 << 10
# "2016-10-06T00:17:09.669794202+02:00 stderr P:tag " has some 50 bytes; a longer head is no head.
HEAD_LIMIT_BYTES = 128
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}
_DATE_AND_SECONDS = 19  # of "2016-10-06T00:17:09"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is wanted, with the meaning of Kubernetes' PodLogOptions.

    `tail_lines` counts whole lines, however many pieces each has. `since_ns` is nanoseconds since the epoch,
    entries of that moment included. `limit_bytes` counts what is given out, time stamps included; the last
    line may be cut in the middle.
    """

    tail_lines: int | None = None
    since_ns: int | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    follow: bool = False
    streams: frozenset[str] = frozenset({STDOUT, STDERR})

    @property
    def reaches_back(self) -> bool:
        """Whether rotated files are read as well: a number of lines or a time is asked for, not a file."""
        return self.tail_lines is not None or self.since_ns is not None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry, or one piece of an oversized one. `text` is without its newline; `time` as written."""

    time: bytes
    stream: str
    is_whole: bool  # the entry ends a line of output
    text: bytes


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Text to give out, all of one stream."""

    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the text of an entry."""

    time: bytes
    stream: str
    is_whole: bool


def parse_head(line: bytes) -> tuple[Head, int] | None:
    """The head of an entry and where its text begins; None when `line` does not begin with one."""
    time, gap, rest = line[:HEAD_LIMIT_BYTES].partition(b" ")
    stream_name, second_gap, rest = rest.partition(b" ")
    stream = _STREAMS.get(stream_name)
    if not gap or not second_gap or stream is None or len(time) <= _DATE_AND_SECONDS:
        return None
    # The text may be missing altogether, and with it the blank before it.
    tag, third_gap, _ = rest.partition(b" ")
    tag = tag.rstrip(b"\r\n")
    first = tag.partition(b":")[0]
    if first not in (b"F", b"P"):
        return None
    start = len(time) + len(stream_name) + len(tag) + 2 + len(third_gap)
    return Head(time, stream, first == b"F"), start


@lru_cache(maxsize=256)
def _second_ns(text: bytes, zone: bytes) -> int:
    moment = datetime.fromisoformat((text + zone).decode("ascii"))
    return int(moment.astimezone(UTC).timestamp()) * NANOSECONDS_PER_SECOND


def time_ns(time: bytes) -> int | None:
    """Nanoseconds since the epoch of an RFC 3339 time, None when it is none."""
    seconds, rest = time[:_DATE_AND_SECONDS], time[_DATE_AND_SECONDS:]
    fraction = 0
    if rest.startswith(b"."):
        digits = rest[1:].rstrip(b"Zz") if rest[-1:] in b"Zz" else rest[1:-6]
        rest = rest[1 + len(digits) :]
        if not digits.isdigit():
            return None
        fraction = int(digits[:9].ljust(9, b"0"))
    try:
        return _second_ns(seconds, rest.upper()) + fraction
    except (ValueError, UnicodeDecodeError):
        return None


class Decoder:
    """Bytes of a log file in, entries out. Lines that are no entries count in `skipped` and are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._long: Head | None = None  # the oversized entry that is being given out in pieces
        self._is_skipping = False  # inside an oversized line that is no entry
        self.skipped = 0

    def feed(self, data: bytes) -> Iterator[LogEntry]:
        """The entries that `data` completes, and pieces of one that outgrows the limit. Exhaust it."""
        data = self._rest + data if self._rest else data
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            entry = self._line(data[start:end])
            if entry is not None:
                yield entry
            start = end + 1
        while len(data) - start >= PIECE_LIMIT_BYTES:
            piece = self._piece(data[start : start + PIECE_LIMIT_BYTES])
            if piece is not None:
                yield piece
            start += PIECE_LIMIT_BYTES
        self._rest = data[start:]

    def finish(self) -> Iterator[LogEntry]:
        """What is left at the end of a file that will not grow: an entry cut short by a crash."""
        if self._rest:
            rest, self._rest = self._rest, b""
            entry = self._line(rest)
            if entry is not None:
                yield entry

    def _line(self, line: bytes) -> LogEntry | None:
        """The entry that ends here: a line of its own, or the last piece of an oversized one."""
        if self._is_skipping:
            self._is_skipping = False
            return None
        if self._long is not None:
            head, self._long = self._long, None
            return LogEntry(head.time, head.stream, head.is_whole, line)
        parsed = parse_head(line)
        if parsed is None:
            self.skipped += 1
            return None
        head, start = parsed
        return LogEntry(head.time, head.stream, head.is_whole, line[start:])

    def _piece(self, data: bytes) -> LogEntry | None:
        """A piece of an entry whose end has not been seen."""
        if self._is_skipping:
            return None
        if self._long is not None:
            return LogEntry(self._long.time, self._long.stream, False, data)
        parsed = parse_head(data)
        if parsed is None:
            self._is_skipping = True
            self.skipped += 1
            return None
        self._long, start = parsed
        return LogEntry(self._long.time, self._long.stream, False, data[start:])


class Renderer:
    """Entries in, text out, as `kubectl logs` shows it; time stamps only where a line begins."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._is_inside: dict[str, bool] = {}  # stream -> the line given out last is not ended

    @property
    def is_done(self) -> bool:
        """The byte limit is reached; nothing more will come out."""
        return self._left is not None and self._left <= 0

    def render(self, entries: Iterator[LogEntry]) -> list[LogChunk]:
        """The text of `entries`, neighbours of one stream joined."""
        chunks: list[LogChunk] = []
        stream = ""
        parts: list[bytes] = []
        for entry in entries:
            if self.is_done or not self._is_wanted(entry):
                continue
            if entry.stream != stream and parts:
                chunks.append(LogChunk(stream, b"".join(parts)))
                parts = []
            stream = entry.stream
            parts.append(self._cut(self._text(entry)))
        if parts:
            chunks.append(LogChunk(stream, b"".join(parts)))
        return chunks

    def _is_wanted(self, entry: LogEntry) -> bool:
        if entry.stream not in self._options.streams:
            return False
        if self._options.since_ns is None:
            return True
        at = time_ns(entry.time)
        return at is None or at >= self._options.since_ns

    def _text(self, entry: LogEntry) -> bytes:
        is_inside = self._is_inside.get(entry.stream, False)
        self._is_inside[entry.stream] = not entry.is_whole
        before = entry.time + b" " if self._options.timestamps and not is_inside else b""
        return before + entry.text + (b"\n" if entry.is_whole else b"")

    def _cut(self, text: bytes) -> bytes:
        if self._left is None:
            return text
        text = text[: self._left]
        self._left -= len(text)
        return text
