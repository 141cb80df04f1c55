"""The GET of an httpGet hook, over aiohttp (imported when the first such hook runs).

A connection of its own per request, certificates not verified, redirects followed, 10 KiB of the body read.
"""

from __future__ import annotations

import ssl

from kubelet.hooks import MAX_BODY_BYTES, HttpHook

MAX_REDIRECTS = 10


async def http_get(hook: HttpHook) -> int:
    """Status code of the final answer. OSError for what the network did, ssl.SSLError for a TLS mismatch."""
    import aiohttp
    from multidict import CIMultiDict
    from yarl import URL

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    connector = aiohttp.TCPConnector(force_close=True, ssl=tls)
    # What the user escaped stays so; only what a URL cannot hold is escaped here.
    url = URL(hook.url, encoded=hook.url.isascii() and " " not in hook.url)
    # The caller bounds the hook; nothing here may end it earlier.
    unlimited = aiohttp.ClientTimeout(total=None, sock_connect=None)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=unlimited,
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
            ) as session,
            session.get(url, headers=CIMultiDict(hook.headers), max_redirects=MAX_REDIRECTS) as response,
        ):
            await response.content.read(MAX_BODY_BYTES)
            return response.status
    except aiohttp.ClientConnectorSSLError as fault:
        raise ssl.SSLError(f"server gave HTTP response to HTTPS client: {fault}") from fault
    except aiohttp.ClientConnectorError as fault:
        raise fault.os_error from fault
    except aiohttp.ClientError as fault:
        raise ConnectionError(str(fault) or type(fault).__name__) from fault
