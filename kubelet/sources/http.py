"""Static pods from a URL, asked every httpCheckFrequency.

One Pod or a PodList. An error of any kind keeps the last set; it is reported once until it changes or ends.
Nothing is delivered before the URL has answered once, so pods of a URL that is down at start are left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aio import log
from aio.errors import Retry
from kube.errors import ErrorKind, FieldError, InvalidObject
from kube.objects.core_v1 import Pod
from kubelet.sources.model import HTTP, Decode, Deliver, Delivery, Problem, Report
from kubelet.sources.reading import MAX_MANIFEST_BYTES

_log = log.get(__name__)

FETCH_TIMEOUT_SECONDS = 10.0  # upstream: pkg/kubelet/config/http.go
Fetch = Callable[[], Awaitable[bytes]]
"""The body of the URL. Raises Retry when it could not be had."""


class HttpSource:
    """Delivers the static pods of one URL; see the module."""

    def __init__(
        self,
        url: str,
        decode: Decode,
        fetch: Fetch,
        *,
        deliver: Deliver,
        report: Report,
        poll_seconds: float,
    ) -> None:
        self._url = url
        self._decode = decode
        self._fetch = fetch
        self._deliver = deliver
        self._report = report
        self._poll_seconds = poll_seconds
        self._pods: tuple[Pod, ...] = ()
        self._digest = ""
        self._reported: tuple[FieldError, ...] = ()

    async def run(self) -> None:
        """Ask and deliver until cancelled."""
        while True:
            await self._poll()
            await asyncio.sleep(self._poll_seconds)

    async def _poll(self) -> None:
        try:
            data = await self._fetch()
        except Retry as err:
            self._fail((FieldError("", str(err), ErrorKind.DECODE),))
            return
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if digest == self._digest:
            return
        try:
            self._pods = self._decode(data, self._url)
        except InvalidObject as err:
            self._fail(err.errors)
            # The URL has answered: the agent may go on, leaving alone what came from here before.
            self._deliver(Delivery(HTTP, self._pods, frozenset({self._url})))
            return
        self._digest = digest
        self._reported = ()
        _log.v(2).info("Delivering pods of a URL", url=self._url, pods=len(self._pods))
        self._deliver(Delivery(HTTP, self._pods))

    def _fail(self, faults: tuple[FieldError, ...]) -> None:
        self._digest = ""
        if faults != self._reported:
            self._reported = faults
            self._report(Problem(HTTP, self._url, faults))


def fetcher(url: str, headers: Mapping[str, Sequence[str]]) -> Fetch:
    """A `Fetch` with aiohttp, which is imported at the first call only: few nodes have a URL."""

    async def fetch() -> bytes:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
        pairs = [(name, value) for name, values in headers.items() for value in values]
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
                async with session.get(url, headers=pairs) as response:
                    if response.status != 200:
                        raise Retry(f'cannot get "{url}": because it answered {response.status}')
                    body = await response.content.read(MAX_MANIFEST_BYTES + 1)
                    while chunk := await response.content.read(MAX_MANIFEST_BYTES + 1):
                        body += chunk
                        if len(body) > MAX_MANIFEST_BYTES:
                            break
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            raise Retry(f'cannot get "{url}": because {str(err) or type(err).__name__}') from err
        if len(body) > MAX_MANIFEST_BYTES:
            raise Retry(f'cannot use "{url}": because it is longer than {MAX_MANIFEST_BYTES} bytes')
        if not body:
            raise Retry(f"zero-length data received from {url}")
        return body

    return fetch
