"""Heads of answers and chunks of streams as bytes (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_WITHOUT_BODY = (204, 304)
# Longer content types are not remembered: somebody else's server chose them.
_REMEMBERED_CHARACTERS = 128


def may_have_body(method: str, code: int) -> bool:
    return method != "HEAD" and code >= 200 and code not in _WITHOUT_BODY


def status_line(code: int, content_type: str) -> bytes:
    """With the content type, where there is one, and without the empty line."""
    if len(content_type) > _REMEMBERED_CHARACTERS:
        return _status_line(code, content_type)
    return _remembered(code, content_type)


def _status_line(code: int, content_type: str) -> bytes:
    line = f"HTTP/1.1 {code} {_REASONS.get(code, 'Unknown')}\r\n"
    return (line + (f"Content-Type: {content_type}\r\n" if content_type else "")).encode()


_remembered = lru_cache(maxsize=256)(_status_line)


def header_lines(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    """A line break in a value would begin a header of the value's own: it becomes a space."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"{name}: {_one_line(value)}\r\n" for name, value in pairs]
    return "".join(lines).encode()


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value:
        return value.replace("\r", " ").replace("\n", " ")
    return value


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
