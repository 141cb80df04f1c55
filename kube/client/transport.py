"""The HTTPS side of a client: a pool of connections per set of credentials, renewed when files change.

Mechanism: before a request, at most every ten seconds, the files that the settings name are looked at (a
`stat`, no timer); when one changed, a new TLS context and a new pool take over. The old pool finishes what it
is doing; its streams are ended, so that they begin again with the new identity. Files that cannot be read in
the middle of a change leave the old credentials in use until the next look.

The traps of aiohttp are settled here: no total time-out (it kills watches), no limit on connections (watches
would use them up), TCP keep-alive on every socket so that a peer that vanished is noticed within a minute.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from yarl import URL

from aio import log as logs
from aio.clock import Clock
from kube.client.settings import BadSettings, Limits, Material, Settings
from kube.client.tls import tls_context

log = logs.get(__name__)

LOOK_AT_FILES_SECONDS = 10.0
IDLE_CONNECTION_SECONDS = 60.0
_KEEPALIVE_IDLE_SECONDS = 30
_KEEPALIVE_INTERVAL_SECONDS = 10
_KEEPALIVE_PROBES = 3

_Stamp = tuple[tuple[str, int, int, int], ...]


class Pool:
    """The connections of one set of credentials."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self.headers = _headers(settings)
        self._tls = tls_context(settings)
        self._server_name = settings.tls_server_name or None
        self._proxy = settings.proxy_url or None
        self._connect_seconds = limits.connect_seconds
        self._session: aiohttp.ClientSession | None = None
        self._in_use = 0
        self._is_retired = False
        self._streams: set[aiohttp.ClientResponse] = set()

    def request(self, method: str, url: URL, **values: Any) -> Any:
        """aiohttp's request context manager; the caller bounds its time."""
        if self._session is None:
            self._session = self._open()
        return self._session.request(
            method, url, proxy=self._proxy, server_hostname=self._server_name, allow_redirects=False, **values
        )

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self._tls if self._tls is not None else True,
            keepalive_timeout=IDLE_CONNECTION_SECONDS,
            socket_factory=_keepalive_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @contextmanager
    def stream(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """Count a long answer, so that it can be ended when the pool is retired."""
        self._streams.add(response)
        try:
            yield
        finally:
            self._streams.discard(response)

    @property
    def is_retired(self) -> bool:
        return self._is_retired

    def enter(self) -> None:
        self._in_use += 1

    async def leave(self) -> None:
        self._in_use -= 1
        if self._is_retired and not self._in_use:
            await self.close()

    async def retire(self) -> None:
        """No new requests come; close when the last one is over."""
        self._is_retired = True
        for response in list(self._streams):
            response.close()
        if not self._in_use:
            await self.close()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class Transport:
    """Gives out the pool of the credentials that hold now."""

    def __init__(self, settings: Settings, limits: Limits, clock: Clock) -> None:
        self._settings = settings
        self._limits = limits
        self._clock = clock
        self._stamp = self._look()
        self._pool = Pool(settings, limits)
        self._looked_at = clock.monotonic()
        self._is_closed = False

    async def pool(self, *, look_now: bool = False) -> Pool:
        """The current pool, entered: the caller owes `leave()`."""
        if self._is_closed:
            raise RuntimeError("the client is closed")
        now = self._clock.monotonic()
        if look_now or now - self._looked_at >= LOOK_AT_FILES_SECONDS:
            self._looked_at = now
            await self._renew()
        pool = self._pool
        pool.enter()
        return pool

    async def close(self) -> None:
        self._is_closed = True
        await self._pool.retire()
        await self._pool.close()

    async def _renew(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            fresh = Pool(self._settings, self._limits)
        except BadSettings as error:
            log.warning("Keeping the old credentials", server=self._settings.server, err=error)
            return
        log.info("Credentials changed, connecting anew", server=self._settings.server)
        old, self._pool, self._stamp = self._pool, fresh, stamp
        await old.retire()

    def _look(self) -> _Stamp:
        wanted = self._settings
        files = (wanted.ca.file, wanted.certificate.file, wanted.key.file, wanted.token_file)
        return tuple(_stamp_of(file) for file in files if file)


def _stamp_of(file: str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(file)  # noqa: PTH116 (follows the link that a rotation swaps)
    except OSError:
        return (file, 0, 0, 0)
    return (file, found.st_mtime_ns, found.st_ino, found.st_size)


def _headers(settings: Settings) -> dict[str, str]:
    headers = {"User-Agent": settings.user_agent, "Accept-Encoding": "identity"}
    token = settings.token
    if settings.token_file:
        token = Material(file=settings.token_file).read().decode(errors="replace").strip()
    user, password = settings.basic
    if token:
        headers["Authorization"] = f"Bearer {token}"
    elif user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    if settings.impersonate_user:
        headers["Impersonate-User"] = settings.impersonate_user
    return headers


def _keepalive_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        # Also bounds how long unanswered data of ours may stand (a request to a peer that vanished).
        user_timeout = (_KEEPALIVE_IDLE_SECONDS + _KEEPALIVE_INTERVAL_SECONDS * _KEEPALIVE_PROBES) * 1000
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout)
    except BaseException:
        made.close()
        raise
    return made
