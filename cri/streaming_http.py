"""The way into a session: an HTTP/1.1 request on a socket that turns into SPDY/3.1.

The socket stays a plain non-blocking one instead of an asyncio transport: a transport that cannot write
closes and forgets what it has not read yet. A runtime that ends a command while input is on its way causes
just that, with the exit code in the part not read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cri.errors import CriError, Unavailable

CONNECT_TIMEOUT_SECONDS = 30.0
READ_BYTES = 64 << 10
MAX_HEAD = 64 << 10
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Upgraded:
    """An open connection: the socket, the answer's headers (names in lower case), bytes read too far."""

    socket: socket.socket
    headers: Mapping[str, str]
    rest: bytes


async def upgrade(url: str, protocol: str, headers: Mapping[str, str]) -> Upgraded:
    """POST `url` and turn the connection over to `protocol`; the caller closes the socket.

    Raises `Unavailable` when nobody answers or the answer is not 101, `CriError` for a URL that is not http.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise CriError(f'the streaming address "{url}" is not one of plain HTTP', call="Exec")
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target or '/'} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += ["Connection: Upgrade", f"Upgrade: {protocol}", "Content-Length: 0"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join(lines).encode() + _END_OF_HEAD
    connected: socket.socket | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            connected = await _connect(parts.hostname, parts.port or 80)
            await asyncio.get_running_loop().sock_sendall(connected, request)
            head, rest = await _read_head(connected)
    except (OSError, TimeoutError) as error:
        _close(connected)
        raise Unavailable(f"the streaming server does not answer: {error}", call="Exec") from error
    except BaseException:
        _close(connected)
        raise
    status, answered = _parse_head(head)
    if status.split(" ")[1:2] != ["101"]:
        connected.close()
        said = rest.decode("utf-8", errors="replace").strip()
        raise Unavailable(f"the streaming server does not answer: it says {status}: {said}", call="Exec")
    return Upgraded(connected, answered, rest)


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    error: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        candidate = socket.socket(family, kind, protocol)
        try:
            candidate.setblocking(False)
            await loop.sock_connect(candidate, address)
        except OSError as refused:
            candidate.close()
            error = refused
        except BaseException:
            candidate.close()
            raise
        else:
            return candidate
    raise error or OSError(f"{host} has no address")


async def _read_head(connected: socket.socket) -> tuple[bytes, bytes]:
    read = b""
    while _END_OF_HEAD not in read:
        data = await asyncio.get_running_loop().sock_recv(connected, READ_BYTES)
        if not data:
            raise ConnectionError("it closed the connection")
        read += data
        if len(read) > MAX_HEAD:
            raise ConnectionError("its answer does not end")
    head, _, rest = read.partition(_END_OF_HEAD)
    return head, rest


def _parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return status, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _close(connected: socket.socket | None) -> None:
    if connected is not None:
        connected.close()
