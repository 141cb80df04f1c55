"""The agent's own few outgoing HTTP requests: a hook's GET, and static pods from a URL.

aiohttp is imported when the first request is made: most nodes never make one.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence

from aio.errors import Retry, cannot
from kubelet.hooks import MAX_BODY_BYTES, HttpHook
from kubelet.sources.reading import MAX_MANIFEST_BYTES


async def get_status(hook: HttpHook) -> int:
    """Perform a hook's GET; the status code. Certificates are not verified, as upstream does not.

    Raises OSError, or ssl.SSLError when the server does not speak TLS.
    """
    import aiohttp
    from multidict import CIMultiDict

    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None)  # whoever runs the hook bounds it
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        try:
            headers = CIMultiDict(hook.headers)
            async with session.get(hook.url, headers=headers, allow_redirects=True) as response:
                await response.content.read(MAX_BODY_BYTES)
                return response.status
        except aiohttp.ClientConnectorSSLError as error:
            raise ssl.SSLError(str(error)) from error
        except aiohttp.ClientOSError:
            raise
        except aiohttp.ClientError as error:
            raise OSError(str(error) or type(error).__name__) from error


async def fetch_manifest(url: str, headers: Mapping[str, Sequence[str]], timeout_seconds: float) -> bytes:
    """The body of a manifest URL, at most MAX_MANIFEST_BYTES. Raises Retry."""
    import aiohttp
    from multidict import CIMultiDict

    sent: CIMultiDict[str] = CIMultiDict()
    for name, values in headers.items():
        for value in values:
            sent.add(name, value)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    what = f'get manifests from "{url}"'
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(url, headers=sent) as response:
                if response.status != 200:
                    raise Retry(cannot(what, f"the server answered {response.status}"))
                body = await response.content.read(MAX_MANIFEST_BYTES + 1)
                while len(body) <= MAX_MANIFEST_BYTES and not response.content.at_eof():
                    body += await response.content.read(MAX_MANIFEST_BYTES + 1 - len(body))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Retry(cannot(what, str(error) or type(error).__name__)) from error
    if len(body) > MAX_MANIFEST_BYTES:
        raise Retry(cannot(what, f"the body is larger than {MAX_MANIFEST_BYTES} bytes"))
    return body
