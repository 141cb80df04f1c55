"""What an HTTP check sends: its URL and its request, byte for byte.

Connections are never kept, nothing is followed, decompressed or remembered here. Source: kubernetes
pkg/probe/http/request.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urlsplit

from probes.spec import HttpCheck
from probes.tcp import join_host_port

USER_AGENT = "kube-probe/1.36"
DEFAULT_PORTS = {"http": 80, "https": 443}
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%~"  # RFC 3986's reserved ones, and the escape itself

Headers = Sequence[tuple[str, str]]


def url_of(target: HttpCheck) -> str:
    """The path may carry a query; it is taken as written apart from escaping what a URL cannot hold."""
    path = target.path if target.path.startswith("/") else f"/{target.path}"
    return as_written(f"{target.scheme}://{join_host_port(target.host, target.port)}{path}")


def as_written(url: str) -> str:
    """Escapes such as %2F stay as they are; only what must not appear in a URL is escaped."""
    return quote(url, safe=_URL_CHARACTERS)


def port_of(url: SplitResult) -> int:
    """ValueError for a scheme that is not HTTP, or a port that is none."""
    if url.scheme not in DEFAULT_PORTS or not url.hostname:
        raise ValueError(f'unsupported protocol scheme "{url.scheme}"')
    return url.port or DEFAULT_PORTS[url.scheme]


def request_headers(target: HttpCheck, user_agent: str = USER_AGENT) -> Headers:
    """The user's headers and our defaults; an empty Accept or User-Agent means: send none."""
    given = {name.lower() for name, _ in target.headers}
    silent = {"user-agent", "accept"}
    headers = [(name, value) for name, value in target.headers if value or name.lower() not in silent]
    for name, default in (("User-Agent", user_agent), ("Accept", "*/*"), ("Connection", "close")):
        if name.lower() not in given:
            headers.append((name, default))
    return headers


def request_bytes(url: str, headers: Headers) -> bytes:
    """A GET of `url`. ValueError for a header that would end its line early."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    own_host = next((value for name, value in headers if name.lower() == "host" and value), "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {own_host or parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() != "host"]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("invalid header field value")
    return "\r\n".join([*lines, "", ""]).encode()
