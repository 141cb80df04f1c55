"""The client of parts that live in the API server's own process: no socket, no TLS, the same request path.

Every call goes through a pipeline of the server for one known user (`ApiServer.pipeline_as`), so it is
authorized, admitted and validated like anybody's, and comes back as the bytes a client over HTTPS would get.
Passes the conformance suite of clients.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from controlplane.api.model import JSON, Request, Response
from kube.client import answers
from kube.client.lines import LineSplitter
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
from kube.client.writes import Writes, named

Handle = Callable[[Request], Awaitable[Response]]


class DirectClient(Writes):
    """See `kube.client.Client`. `handle` is `Pipeline.handle`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> JsonObject:
        path = resource.path(namespace=namespace, name=named(name), subresource=subresource)
        return answers.read_object(await self._send("GET", path))

    async def list(
        self, resource: Resource, *, namespace: str = "", options: ListOptions = DEFAULT_LIST
    ) -> ObjectList:
        return answers.read_list(
            await self._send("GET", resource.path(namespace=namespace), list_query(options))
        )

    async def watch(
        self, resource: Resource, *, namespace: str = "", options: WatchOptions = DEFAULT_WATCH
    ) -> AsyncGenerator[WatchEvent, None]:
        response = await self._answer("GET", resource.path(namespace=namespace), watch_query(options))
        splitter = LineSplitter()
        async with aclosing(_pieces(response)) as pieces:
            async for piece in pieces:
                for line in splitter.feed(piece):
                    yield answers.read_event(line)

    async def delete_collection(
        self, resource: Resource, *, namespace: str = "", selection: ListOptions = DEFAULT_LIST,
        options: DeleteOptions = DEFAULT_DELETE,
    ) -> None:  # fmt: skip
        body = msgspec.json.encode(options.to_json())
        await self._send("DELETE", resource.path(namespace=namespace), list_query(selection), body, JSON)

    async def call(self, call: Call) -> bytes:
        return await _whole(await self._call(call))

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        async with aclosing(_pieces(await self._call(call))) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """Nothing is held."""

    async def _call(self, call: Call) -> Response:
        path, _, inside = call.path.partition("?")
        query = (*parse_qsl(inside, keep_blank_values=True), *call.query)
        headers = {name.lower(): text for name, text in call.headers.items()}
        return await self._answer(call.method, path, query, call.body, headers)

    async def _write(
        self, method: str, path: str, body: Any, options: WriteOptions, content_type: str = JSON
    ) -> JsonObject:
        encoded = msgspec.json.encode(body)
        return answers.read_object(
            await self._send(method, path, write_query(options), encoded, content_type)
        )

    async def _send(
        self, method: str, path: str, query: Query = (), body: bytes = b"", content_type: str = ""
    ) -> bytes:
        headers = {"content-type": content_type} if content_type else {}
        return await _whole(await self._answer(method, path, query, body, headers))

    async def _answer(
        self, method: str, path: str, query: Query = (), body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:  # fmt: skip
        """One with a code of success; others are raised as a client over a wire would raise them."""
        asked: dict[str, list[str]] = {}
        for name, text in query:
            asked.setdefault(name, []).append(text)
        response = await self._handle(Request(method, path, asked, headers or {}, body))
        if not 200 <= response.code < 300:
            raise answers.read_refusal(response.code, await _whole(response))
        return response


async def _whole(response: Response) -> bytes:
    if response.stream is None:
        return response.body
    return b"".join([piece async for piece in _pieces(response)])


async def _pieces(response: Response) -> AsyncGenerator[bytes, None]:
    """What is sent, as it is made; the stream is closed with this one."""
    if response.stream is None:
        if response.body:
            yield response.body
        return
    stream: AsyncIterator[bytes] = response.stream
    try:
        async for piece in stream:
            if piece:
                yield piece
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
