"""The HTTP check: one GET on a fresh connection, judged by the status code.

200 to 399 is a success. A redirect within the host is followed, ten at most; one that leaves it is a warning.
Certificates are not verified. At most 10 KiB of the body are read, and the rest is dropped with the
connection; the whole exchange, body included, has `timeout` seconds. A body that does not arrive in time is a
failure here (upstream throws such a result away). Source: kubernetes pkg/probe/http/http.go, request.go.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from probes.http_client import as_written, open_session, request_headers, url_of
from probes.outcome import MAX_OUTPUT_BYTES, Outcome, failure, success, warning
from probes.spec import HttpCheck
from probes.tcp import dial_error, join_host_port

MAX_REDIRECTS = 10
_FOLLOWED = frozenset((301, 302, 303, 307, 308))


class HttpProbe:
    """Owns the client session; `close()` it when probing ends."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def check(self, target: HttpCheck, timeout: float) -> Outcome:
        """GET `target`, whose host is filled in, within `timeout` seconds."""
        url = url_of(target)
        phase = "while awaiting headers"
        try:
            async with asyncio.timeout(timeout):
                async with await self._follow(url, request_headers(target)) as response:
                    phase = "while reading body"
                    return _judge(response.status, await _read_capped(response.content))
        except TimeoutError:
            return failure(f'Get "{url}": context deadline exceeded (Client.Timeout exceeded {phase})')
        except aiohttp.ClientConnectorError as error:
            address = join_host_port(url.host or "", url.port or 0)
            return failure(f'Get "{url}": {dial_error(address, error.os_error)}')
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError):
            return failure(f'Get "{url}": EOF')
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failure(f'Get "{url}": {error}')

    async def _follow(self, url: URL, headers: CIMultiDict[str]) -> aiohttp.ClientResponse:
        """The last response of a chain that stays on the first host."""
        if self._session is None:
            self._session = open_session()
        origin = url.host
        for _ in range(MAX_REDIRECTS):
            response = await self._session.get(url, headers=headers, allow_redirects=False)
            location = response.headers.get("Location")
            if response.status not in _FOLLOWED or not location:
                return response
            following = url.join(as_written(location))
            if following.host != origin:
                return response
            response.close()
            url = following
        raise ValueError(f"stopped after {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read_capped(content: aiohttp.StreamReader) -> str:
    body = b""
    while len(body) < MAX_OUTPUT_BYTES:
        piece = await content.read(MAX_OUTPUT_BYTES - len(body))
        if not piece:
            break
        body += piece
    return body.decode("utf-8", "replace")


def _judge(status: int, body: str) -> Outcome:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return success(body)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return warning(f"Probe terminated redirects, Response body: {body}")
    return failure(f"HTTP probe failed with statuscode: {status}")
