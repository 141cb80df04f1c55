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
from urllib.parse import urljoin, urlsplit

from probes.http_client import as_written, request_bytes, request_headers, url_of
from probes.http_exchange import Answer, EndedEarly, NotHttp, exchange
from probes.outcome import MAX_OUTPUT_BYTES, Outcome, failure, success, warning
from probes.spec import HttpCheck
from probes.tcp import dial_error

MAX_REDIRECTS = 10
_FOLLOWED = frozenset((301, 302, 303, 307, 308))


class HttpProbe:
    """Makes checks; what they share is the TLS context of those that need one."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None

    async def check(self, target: HttpCheck, timeout: float) -> Outcome:
        """GET `target`, whose host is filled in, within `timeout` seconds."""
        url = url_of(target)
        phase = "while awaiting headers"

        def got_head() -> None:
            nonlocal phase
            phase = "while reading body"

        try:
            async with asyncio.timeout(timeout) as clock:
                for _ in range(MAX_REDIRECTS):
                    request = request_bytes(url, request_headers(target))
                    answer = await exchange(url, request, self._context, MAX_OUTPUT_BYTES, got_head)
                    following = _within_host(url, answer)
                    if not following:
                        return _judge(answer)
                    url, phase = following, "while awaiting headers"
            raise ValueError(f"stopped after {MAX_REDIRECTS} redirects")
        except TimeoutError as error:
            if not clock.expired():
                return failure(f'Get "{url}": {dial_error(urlsplit(url).netloc, error)}')
            return failure(f'Get "{url}": context deadline exceeded (Client.Timeout exceeded {phase})')
        except EndedEarly:
            return failure(f'Get "{url}": EOF')
        except (ssl.SSLError, NotHttp, ValueError) as error:
            return failure(f'Get "{url}": {error}')
        except OSError as error:
            return failure(f'Get "{url}": {dial_error(urlsplit(url).netloc, error)}')

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        return self._tls

    async def close(self) -> None:
        """Nothing outlives a check."""


def _within_host(url: str, answer: Answer) -> str:
    """Where a redirect leads, "" when there is none or it leaves the host."""
    if answer.status not in _FOLLOWED or not answer.location:
        return ""
    following = urljoin(url, as_written(answer.location))
    return following if urlsplit(following).hostname == urlsplit(url).hostname else ""


def _judge(answer: Answer) -> Outcome:
    body = answer.body.decode("utf-8", "replace")
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return success(body)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return warning(f"Probe terminated redirects, Response body: {body}")
    return failure(f"HTTP probe failed with statuscode: {answer.status}")
