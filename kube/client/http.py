"""The client over HTTPS, with aiohttp (whose import takes a sixth of a second: import this module late).

Refusals are StatusErrors; everything that is no answer is `Unreachable`. A refusal that names a time to come
back (429 and 5xx with Retry-After) is repeated by itself, as client-go does; a 401 makes the client look
whether its credentials have changed, and repeats once if so. Whether a write that was `Unreachable` happened
is the caller's to find out. Requests keep to the rate of `Limits`, first come first served; who must never
wait behind others (a node's lease) has a client of its own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from aio import log as logs
from aio.clock import Clock, SystemClock
from kube import status
from kube.client import answers
from kube.client.limiter import TokenBucket
from kube.client.lines import LineSplitter, LineTooLong
from kube.client.model import (
    DEFAULT_DELETE,
    DEFAULT_LIST,
    DEFAULT_WATCH,
    Call,
    DeleteOptions,
    JsonObject,
    ListOptions,
    ObjectList,
    WatchEvent,
    WatchOptions,
    WriteOptions,
)
from kube.client.queries import Query, list_query, watch_query, write_query
from kube.client.resources import Resource
from kube.client.settings import DEFAULT_LIMITS, Limits, Settings
from kube.client.transport import Pool, Transport
from kube.client.unreachable import Unreachable
from kube.client.writes import JSON, Writes, named

log = logs.get(__name__)

# rest.Request.MaxRetries of client-go
MOST_RETRIES = 10
# What a stream may be silent beyond the length it was asked to have.
_STREAM_SLACK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Query = ()
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_seconds: float | None = None


class HttpClient(Writes):
    """See `kube.client.Client`. Made inside a running loop; `close()` is owed."""

    def __init__(
        self, settings: Settings, *, limits: Limits = DEFAULT_LIMITS, clock: Clock | None = None
    ) -> None:
        """BadSettings when the credentials cannot be used."""
        self._server = settings.server.rstrip("/")
        self._groups = settings.impersonate_groups
        self._limits = limits
        self._clock = clock or SystemClock()
        self._bucket = TokenBucket(limits.qps, limits.burst)
        self._places = asyncio.Semaphore(limits.in_flight or sys.maxsize)
        self._transport = Transport(settings, limits, self._clock)

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> JsonObject:
        path = resource.path(namespace=namespace, name=named(name), subresource=subresource)
        return self._object(await self._send(_Request("GET", path)))

    async def list(
        self, resource: Resource, *, namespace: str = "", options: ListOptions = DEFAULT_LIST
    ) -> ObjectList:
        request = _Request("GET", resource.path(namespace=namespace), list_query(options))
        body = await self._send(request)
        try:
            return answers.read_list(body)
        except answers.Unreadable as error:
            raise Unreachable(self._server, error) from error

    async def watch(
        self, resource: Resource, *, namespace: str = "", options: WatchOptions = DEFAULT_WATCH
    ) -> AsyncGenerator[WatchEvent, None]:
        silence = options.timeout_seconds + _STREAM_SLACK_SECONDS if options.timeout_seconds else None
        request = _Request(
            "GET", resource.path(namespace=namespace), watch_query(options), silence_seconds=silence
        )
        splitter = LineSplitter()
        try:
            async with aclosing(self._chunks(request)) as chunks:
                async for chunk in chunks:
                    for line in splitter.feed(chunk):
                        yield answers.read_event(line)
            if rest := splitter.rest().strip():
                yield answers.read_event(rest)
        except (answers.Unreadable, LineTooLong) as error:
            raise Unreachable(self._server, error) from error

    async def delete_collection(
        self, resource: Resource, *, namespace: str = "", selection: ListOptions = DEFAULT_LIST,
        options: DeleteOptions = DEFAULT_DELETE,
    ) -> None:  # fmt: skip
        body = msgspec.json.encode(options.to_json())
        path = resource.path(namespace=namespace)
        headers = {"Content-Type": JSON}
        await self._send(_Request("DELETE", path, list_query(selection), body, headers))

    async def call(self, call: Call) -> bytes:
        return await self._send(_Request(call.method, call.path, call.query, call.body, call.headers))

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        request = _Request(call.method, call.path, call.query, call.body, call.headers)
        async with aclosing(self._chunks(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self) -> None:
        await self._transport.close()

    async def _write(
        self, method: str, path: str, body: Any, options: WriteOptions, content_type: str = JSON
    ) -> JsonObject:
        request = _Request(
            method, path, write_query(options), msgspec.json.encode(body), {"Content-Type": content_type}
        )
        return self._object(await self._send(request))

    def _object(self, body: bytes) -> JsonObject:
        try:
            return answers.read_object(body)
        except answers.Unreadable as error:
            raise Unreachable(self._server, error) from error

    async def _send(self, request: _Request) -> bytes:
        """The body of a 2xx answer."""
        may_look_again, retries = True, 0
        while True:
            try:
                async with self._places, self._answer(request) as (_, response):
                    return await self._body(response)
            except status.Unauthorized:
                if not (may_look_again and await self._has_new_credentials()):
                    raise
                may_look_again = False
            except _ComeBack as hint:
                if retries == MOST_RETRIES:
                    raise hint.refusal from None
                retries += 1
                await self._clock.sleep(hint.after_seconds)

    async def _chunks(self, request: _Request) -> AsyncGenerator[bytes, None]:
        """The body of a 2xx answer as it comes. Ends early when the credentials have changed."""
        try:
            async with self._answer(request) as (pool, response):
                with pool.stream(response):
                    try:
                        async for chunk in response.content.iter_any():
                            yield chunk
                    except (aiohttp.ClientError, OSError) as error:
                        if pool.is_retired:
                            return
                        raise self._unreachable(error) from error
        except _ComeBack as hint:
            raise hint.refusal from None

    @asynccontextmanager
    async def _answer(self, request: _Request) -> AsyncIterator[tuple[Pool, aiohttp.ClientResponse]]:
        """A 2xx answer whose body is still to be read; other answers are raised."""
        await self._keep_to_rate()
        pool = await self._transport.pool()
        try:
            response = await self._open(pool, request)
            try:
                for warning in response.headers.getall("Warning", ()):
                    log.warning("The API server warns", path=request.path, warning=warning)
                if not 200 <= response.status < 300:
                    raise await self._refusal(response)
                yield pool, response
            finally:
                # A body read to its end has given its connection back already; one that was not cannot.
                response.close()
        finally:
            await pool.leave()

    async def _open(self, pool: Pool, request: _Request) -> aiohttp.ClientResponse:
        url = self._server + request.path + ("?" + urlencode(request.query) if request.query else "")
        headers = [("Accept", JSON), *pool.headers.items(), *request.headers.items()]
        headers += [("Impersonate-Group", group) for group in self._groups]
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._limits.connect_seconds, sock_read=request.silence_seconds
        )
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                found: aiohttp.ClientResponse = await pool.request(
                    request.method,
                    URL(url, encoded=True),
                    data=request.body or None,
                    headers=headers,
                    timeout=timeout,
                )
                return found
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        refusal = answers.read_refusal(response.status, await self._body(response))
        after = response.headers.get("Retry-After", "")
        if after.isdecimal() and (response.status == 429 or response.status >= 500):
            return _ComeBack(refusal, float(after))
        return refusal

    async def _has_new_credentials(self) -> bool:
        before = await self._transport.pool()
        await before.leave()
        after = await self._transport.pool(look_now=True)
        await after.leave()
        return before is not after

    async def _keep_to_rate(self) -> None:
        wait = self._bucket.take(self._clock.monotonic())
        if wait > 0:
            await self._clock.sleep(wait)

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(self._server, "it did not answer in time")
        return Unreachable(self._server, str(error) or type(error).__name__)


class _ComeBack(Exception):
    """A refusal that asks to be repeated."""

    def __init__(self, refusal: Exception, after_seconds: float) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.after_seconds = after_seconds
