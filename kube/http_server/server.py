"""A listening socket and its connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import formatdate

from kube.http_server.connection import Connection, Connections, Refuse, Service, plain_refusal
from kube.http_server.limits import Limits
from kube.http_server.model import Handle
from kube.http_server.writing import header_lines

_BACKLOG = 512
_TLS_SHUTDOWN_SECONDS = 5.0
_GOODBYE_SECONDS = 0.3
"""For the last bytes to leave, and TLS to be closed from both ends."""
# net.ListenConfig's KeepAlive: how the dead among those who only listen are found.
_KEEP_ALIVE_SECONDS = 15
_KEEP_ALIVE_PROBES = 9


class HttpServer:
    """`port` 0 takes a free one; `address` tells it after `start`. `headers` go with every answer; `refuse`
    makes the answers that the server gives by itself (400, 408, 413, 417, 431, 500, 503)."""

    def __init__(
        self, handle: Handle, host: str, port: int, *, tls: ssl.SSLContext | None = None,
        limits: Limits | None = None, headers: Mapping[str, str] | None = None,
        refuse: Refuse = plain_refusal,
    ) -> None:  # fmt: skip
        self._host = host
        self._port = port
        self._tls = tls
        self._limits = limits or Limits()
        self._connections = Connections()
        common = _Common(header_lines(headers or {}))
        self._service = Service(handle, refuse, self._limits, common, self._connections)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._service), self._host, self._port, ssl=self._tls, backlog=_BACKLOG,
            reuse_address=True,
            ssl_handshake_timeout=self._limits.handshake_seconds if self._tls else None,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS if self._tls else None,
        )  # fmt: skip
        for listening in self._server.sockets:
            # Inherited by what is accepted.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_SECONDS)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_SECONDS)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_PROBES)

    @property
    def address(self) -> tuple[str, int]:
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the server has not been started")
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def stop(self) -> None:
        """No new connections; streams and tunnels are ended, requests under way get `stop_seconds`."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = {found.task for found in self._connections if found.task is not None}
        for connection in tuple(self._connections):
            connection.end()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._limits.stop_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self._gone(_GOODBYE_SECONDS)
        for connection in tuple(self._connections):
            connection.abort()
        await self._gone(self._limits.stop_seconds)

    async def _gone(self, seconds: float) -> None:
        """Until no connection is left, or the time is over."""
        self._connections.none_left.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._connections.none_left.wait()


class _Common:
    """The lines that every answer has; the date changes once a second."""

    def __init__(self, lines: bytes) -> None:
        self._lines = lines
        self._second = 0
        self._made = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._made = self._lines + f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._made
