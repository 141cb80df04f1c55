"""What an HTTP check sends: its URL and headers, and the client session that sends them.

The session never reuses a connection, never verifies a certificate, follows no redirect by itself, keeps no
cookie and decompresses nothing. Source: kubernetes pkg/probe/http/request.go.
"""

from __future__ import annotations

import ssl
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from probes.outcome import MAX_OUTPUT_BYTES
from probes.spec import HttpCheck
from probes.tcp import join_host_port

USER_AGENT = "kube-probe/1.36"
MAX_HEADER_BYTES = 64 << 10
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%~"  # RFC 3986's reserved ones, and the escape itself


def open_session() -> aiohttp.ClientSession:
    """The owner closes it. Time-outs are the caller's."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    connector = aiohttp.TCPConnector(force_close=True, ssl=tls, limit=0, use_dns_cache=False)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=MAX_OUTPUT_BYTES,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )


def url_of(target: HttpCheck) -> URL:
    """The path may carry a query; it is taken as written apart from escaping what a URL cannot hold."""
    path = target.path if target.path.startswith("/") else f"/{target.path}"
    return as_written(f"{target.scheme}://{join_host_port(target.host, target.port)}{path}")


def as_written(url: str) -> URL:
    """Escapes such as %2F stay as they are; only what must not appear in a URL is escaped."""
    return URL(quote(url, safe=_URL_CHARACTERS), encoded=True)


def request_headers(target: HttpCheck, user_agent: str = USER_AGENT) -> CIMultiDict[str]:
    """The user's headers and our defaults; an empty Accept or User-Agent means: send none."""
    headers = CIMultiDict(target.headers)
    for name, default in (("User-Agent", user_agent), ("Accept", "*/*")):
        if name not in headers:
            headers[name] = default
        elif not headers[name]:
            del headers[name]
    return headers
