"""Two tunnels made one, byte for byte, each end at the pace of the other."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kube.http_server.model import Tunnel

LAST_WORDS_SECONDS = 10.0
"""For what a node still has to say when it takes no more: a command's exit code may be among it."""


LINGER_SECONDS = 0.5


async def join(client: Tunnel, node: Tunnel) -> None:
    """Until one end has gone; closes both. Raises nothing for what the ends do."""
    to_node = asyncio.create_task(_copy(client, node), name="stream-to-node")
    to_client = asyncio.create_task(_copy(node, client), name="stream-to-client")
    try:
        await asyncio.wait((to_node, to_client), return_when=asyncio.FIRST_COMPLETED)
        if to_node.done() and not to_node.result():
            await asyncio.wait((to_client,), timeout=LAST_WORDS_SECONDS)
        if to_client.done() and to_client.result():
            to_node.cancel()
            await _drain(client)
    finally:
        for task in (to_node, to_client):
            task.cancel()
        await asyncio.gather(to_node, to_client, return_exceptions=True)
        node.close()
        client.close()


async def _drain(client: Tunnel) -> None:
    """What the client still sends is read and dropped: a connection closed before that is reset, and what the
    node said last may be lost with it."""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while await client.read():
                pass


async def _copy(source: Tunnel, target: Tunnel) -> bool:
    """True when the source has ended, False when the target takes no more."""
    while True:
        try:
            data = await source.read()
        except ConnectionError:
            return True
        if not data:
            return True
        try:
            await target.write(data)
        except ConnectionError:
            return False
