"""Carries a streaming session between two connections: `carry`, the only part of `kube.streams` that waits.

Mechanism: one task per direction reads, translates and writes; a writer that waits for a slow reader reads no
further, so that backpressure goes through from end to end and no more than one read is held per direction.
The session is over when the translation says so, when a side has gone, or when nothing has passed for
`idle_seconds`. What was there for the client by then is still written.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from kube.http_server.model import Tunnel
from kube.streams.translation import Translation

READ_BYTES = 64 << 10
ACCEPT_SECONDS = 30.0
"""A backend accepts a session's streams within this time (streaming.Config StreamCreationTimeout: 30 s)."""

KEEP_ALIVE_SECONDS = 30.0
LAST_WORDS_SECONDS = 10.0
"""How long a client may take to read what is left for it once the session is over."""

CLOSING_SECONDS = 2.0
"""How long it may then take to answer a close."""


class SocketTunnel:
    """A plain connected socket as a `Tunnel`. No asyncio transport: one that cannot write forgets what it has
    not read yet, and a command that ends while input is on its way leaves its exit code in just that part.
    """

    def __init__(self, connected: socket.socket, first: bytes = b"") -> None:
        connected.setblocking(False)
        self._socket = connected
        self._first = first

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return await asyncio.get_running_loop().sock_recv(self._socket, READ_BYTES)

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def write_eof(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()


async def carry(client: Tunnel, backend: Tunnel, translation: Translation, *, idle_seconds: float) -> None:
    """Carry one session to its end and close both sides. Raises nothing for what the sides do."""
    carrier = _Carrier(client, backend, translation)
    await carrier.run(idle_seconds)


class _Carrier:
    def __init__(self, client: Tunnel, backend: Tunnel, translation: Translation) -> None:
        self._client = client
        self._backend = backend
        self._translation = translation
        self._ready = asyncio.Event()
        # Several tasks have something to write to each side: one at a time.
        self._for_client = bytearray()
        self._for_backend = bytearray()
        self._client_turn = asyncio.Lock()
        self._backend_turn = asyncio.Lock()
        self._passed = 0
        self._is_backend_deaf = False

    async def run(self, idle_seconds: float) -> None:
        tasks = [
            asyncio.create_task(self._read_client(), name="stream-from-client"),
            asyncio.create_task(self._read_backend(), name="stream-from-backend"),
            asyncio.create_task(self._watch(idle_seconds), name="stream-watch"),
        ]
        try:
            await self._write_backend()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await _end(tasks)
            with suppress(OSError, TimeoutError):
                await self._take_leave()
        finally:
            await _end(tasks)
            self._backend.close()
            self._client.close()
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, OSError):
                raise error

    async def _take_leave(self) -> None:
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await self._write_client()
        async with asyncio.timeout(CLOSING_SECONDS):
            while self._translation.awaits_client and (data := await self._client.read()):
                self._translation.from_client(data)

    async def _read_client(self) -> None:
        if not self._translation.is_ready:
            await self._ready.wait()
        while not self._translation.is_over:
            data = await self._client.read()
            if data:
                self._translation.from_client(data)
            else:
                self._translation.client_ended()
            await self._write_backend()
            await self._write_client()

    async def _read_backend(self) -> None:
        while not self._translation.is_over:
            try:
                data = await self._backend.read()
                reason = ""
            except OSError as error:
                data, reason = b"", f"the connection to the container was lost: {error}"
            if data:
                self._passed += 1
                self._translation.from_backend(data)
            else:
                self._translation.backend_ended(reason)
            if self._translation.is_ready:
                self._ready.set()
            await self._write_client()
            await self._write_backend()

    async def _write_client(self) -> None:
        self._for_client += self._translation.for_client()
        if not self._for_client:
            return
        async with self._client_turn:
            data = bytes(self._for_client)
            self._for_client.clear()
            if data:
                await self._client.write(data)

    async def _write_backend(self) -> None:
        self._for_backend += self._translation.for_backend()
        if not self._for_backend:
            return
        self._passed += 1
        async with self._backend_turn:
            data = bytes(self._for_backend)
            self._for_backend.clear()
            if not data or self._is_backend_deaf:
                return
            try:
                await self._backend.write(data)
            except OSError:
                # What it had to say before is still to be read, and tells why.
                self._is_backend_deaf = True

    async def _watch(self, idle_seconds: float) -> None:
        """Ends when the session has waited for too long: first for the backend, then for anything at all."""
        if not self._translation.is_ready:
            try:
                async with asyncio.timeout(ACCEPT_SECONDS):
                    await self._ready.wait()
            except TimeoutError:
                self._translation.backend_ended("the container's runtime does not accept the streams")
                return
        seen, idle = self._passed, 0.0
        pause = min(KEEP_ALIVE_SECONDS, idle_seconds)
        while idle < idle_seconds:
            await asyncio.sleep(pause)
            idle = 0.0 if self._passed != seen else idle + pause
            seen = self._passed
            if not self._client_turn.locked():
                self._translation.keep_alive()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._write_client()
        self._translation.backend_ended(f"nothing has passed for {idle_seconds:g} s")


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
