"""Chunks of a stream to lines (pure), of any length up to a limit, each byte looked at once."""

from __future__ import annotations

# Requests may be 3 MiB (the server's limit); an event wraps one object, and JSON may be written wider.
MOST_LINE_BYTES = 64 << 20


class LineTooLong(ValueError):
    """Whoever sends this is not an API server."""


class LineSplitter:
    def __init__(self, most_bytes: int = MOST_LINE_BYTES) -> None:
        self._most = most_bytes
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends; empty ones are dropped."""
        lines = chunk.split(b"\n")
        last = lines.pop()
        if lines:
            lines[0] = self.rest() + lines[0]
        self._parts.append(last)
        self._length += len(last)
        if self._length > self._most:
            raise LineTooLong(f"a line is longer than {self._most} bytes")
        return [line for line in lines if line.strip()]

    def rest(self) -> bytes:
        """What came after the last line end; the splitter is empty after it."""
        left = b"".join(self._parts)
        self._parts.clear()
        self._length = 0
        return left
