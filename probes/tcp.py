"""The TCP check: a connection that opens is a success, and is closed at once without a byte.

Upstream sets SO_LINGER to 1 s; here the socket closes in the background instead, since a lingering close
blocks its thread, which is the event loop, for up to that second when the peer vanished. What the peer sees,
an ordinary close, is the same. Source of the texts: kubernetes pkg/probe/tcp/tcp.go and Go's net package.
"""

from __future__ import annotations

import asyncio
import os
import socket

from probes.outcome import Outcome, failure, success
from probes.spec import TcpCheck


async def check(target: TcpCheck, timeout: float) -> Outcome:
    """Connect to `target.host` (a name or an address) within `timeout` seconds."""
    address = join_host_port(target.host, target.port)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            family, resolved = await resolve(target.host, target.port)
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, resolved)
    except TimeoutError:
        return failure(f"dial tcp {address}: i/o timeout")
    except OSError as error:
        return failure(dial_error(address, error))
    return success()


async def resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """An address literal needs no lookup; a name is looked up off the loop. Raises OSError."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family, (host, port)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found[0][0], (str(found[0][4][0]), port)


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_error(address: str, error: OSError) -> str:
    """As Go words it: `dial tcp 10.0.0.1:80: connect: connection refused`."""
    if isinstance(error, socket.gaierror):
        host = address.rpartition(":")[0]
        return f"dial tcp: lookup {host}: {error.strerror or error}"
    text = os.strerror(error.errno) if error.errno else str(error)
    return f"dial tcp {address}: connect: {text[:1].lower()}{text[1:]}"
