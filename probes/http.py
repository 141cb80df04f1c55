"""The HTTP check: one GET on a fresh connection, judged by the status code.

200 to 399 is a success. A redirect within the host is followed, ten at most; one that leaves it is a warning.
Certificates are not verified. At most 10 KiB of the body are read, and the rest is dropped with the
connection; the whole exchange, body included, has `timeout` seconds. A body that does not arrive in time is a
failure here (upstream throws such a result away). Source: kubernetes pkg/probe/http/http.go, request.go.
"""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from probes.outcome import MAX_OUTPUT_BYTES, Outcome, failure, success, warning
from probes.spec import HttpCheck
from probes.tcp import dial_error, join_host_port

USER_AGENT = "kube-probe/1.36"
MAX_REDIRECTS = 10
MAX_HEADER_BYTES = 64 << 10
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
        session = self._session or self._open()
        origin = url.host
        for _ in range(MAX_REDIRECTS):
            response = await session.get(url, headers=headers, allow_redirects=False)
            location = response.headers.get("Location")
            if response.status not in _FOLLOWED or not location:
                return response
            following = url.join(URL(location))
            if following.host != origin:
                return response
            response.close()
            url = following
        raise ValueError(f"stopped after {MAX_REDIRECTS} redirects")

    def _open(self) -> aiohttp.ClientSession:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        connector = aiohttp.TCPConnector(force_close=True, ssl=tls, limit=0, use_dns_cache=False)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=MAX_OUTPUT_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def url_of(target: HttpCheck) -> URL:
    """The path may carry a query; it is taken as written apart from escaping what a URL cannot hold."""
    path = target.path if target.path.startswith("/") else f"/{target.path}"
    return URL(f"{target.scheme}://{join_host_port(target.host, target.port)}{path}")


def request_headers(target: HttpCheck) -> CIMultiDict[str]:
    """The user's headers and our defaults; an empty Accept or User-Agent means: send none."""
    headers = CIMultiDict(target.headers)
    for name, default in (("User-Agent", USER_AGENT), ("Accept", "*/*")):
        if name not in headers:
            headers[name] = default
        elif not headers[name]:
            del headers[name]
    return headers


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
