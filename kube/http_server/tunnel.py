"""A transport as a Tunnel: reads at the reader's pace, writes at the other end's.

The protocol that owns the transport calls `feed`, `feed_eof`, `lost`, `pause_writing`, `resume_writing`; the
API server's connections to nodes are such tunnels as well.
"""

from __future__ import annotations

import asyncio
from collections import deque

HIGH_BYTES = 256 * 1024
LOW_BYTES = 64 * 1024


class RawTunnel:
    """For one reader and any number of writers. `rest` is what came with the head."""

    def __init__(self, transport: asyncio.Transport, rest: bytes = b"") -> None:
        self._transport = transport
        self._pieces: deque[bytes] = deque((rest,) if rest else ())
        self._size = len(rest)
        self._is_paused = False
        self._is_ended = False
        self._error: Exception | None = None
        self._is_lost = False
        self._reader: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    # --- the Tunnel ---

    async def read(self) -> bytes:
        while not self._pieces:
            if self._is_ended:
                if self._error is not None:
                    raise ConnectionResetError("the connection was cut") from self._error
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._pieces.popleft()
        self._size -= len(data)
        if self._is_paused and self._size < LOW_BYTES and not self._is_lost:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        self._check()
        self._transport.write(data)
        if not self._can_write.is_set():
            await self._can_write.wait()
            self._check()

    async def write_eof(self) -> None:
        self._check()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def close(self) -> None:
        self._end(None)
        if not self._is_lost:
            self._resume()
            self._transport.close()

    def abort(self) -> None:
        """Closed at once; what is not sent yet is dropped."""
        self._end(None)
        if not self._is_lost:
            self._transport.abort()

    def push_back(self, data: bytes) -> None:
        """What was read and is for the next reader."""
        if data:
            self._pieces.appendleft(data)
            self._size += len(data)

    # --- the protocol's side ---

    def feed(self, data: bytes) -> None:
        if self._is_ended:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HIGH_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        self._end(None)

    def lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._end(error)
        self._can_write.set()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def _check(self) -> None:
        if self._is_lost or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed") from self._error

    def _end(self, error: Exception | None) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._error = error
        self._wake()

    def _resume(self) -> None:
        # A transport that does not read does not see that the other end is gone.
        if self._is_paused:
            self._is_paused = False
            self._pieces.clear()
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
