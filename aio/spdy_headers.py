"""SPDY/3 header blocks: name and value pairs, deflated with one shared history per direction (pure).

Mechanism: every block of a connection goes through the same zlib stream, started with a dictionary that both
ends know and flushed after each block, so blocks must be coded in the order in which they are on the wire.
A block that inflates beyond `MAX_BLOCK` is refused before it is held in memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

MAX_BLOCK = 64 << 10
DICTIONARY_ADLER = 0xE3C6A7C2
"""Adler-32 of the dictionary, which a zlib stream that uses it names in its header (RFC 1950 2.2, DICTID)."""

Headers = tuple[tuple[str, str], ...]
"""Pairs in order, names in lower case; a name with several values is repeated."""

_VALUE_SEPARATOR = "\0"
_LENGTH = struct.Struct(">I")

# draft-mbelshe-httpbis-spdy-00 2.6.10.1: first words with their length before them, then one text.
_WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age
allow authorization cache-control connection content-base content-encoding content-language content-length
content-location content-md5 content-range content-type date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma
proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie
keep-alive origin
"""
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


class BadBlock(Exception):
    """A header block that cannot be read; the connection's shared history is lost with it."""


def _dictionary() -> bytes:
    words = [word.replace("_", " ").encode() for word in _WORDS.split()]
    return b"".join(_LENGTH.pack(len(word)) + word for word in words) + _TEXT.encode()


DICTIONARY = _dictionary()


class HeaderWriter:
    """Deflates the blocks of one direction."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def block(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """The block on the wire. Names are put in lower case, values of one name joined."""
        joined: dict[str, str] = {}
        for name, value in headers:
            key = name.lower()
            joined[key] = joined[key] + _VALUE_SEPARATOR + value if key in joined else value
        parts = [_LENGTH.pack(len(joined))]
        for pair in joined.items():
            for text in pair:
                coded = text.encode()
                parts += (_LENGTH.pack(len(coded)), coded)
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class HeaderReader:
    """Inflates the blocks of one direction."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def headers(self, block: bytes) -> Headers:
        """What `HeaderWriter.block` was given; `BadBlock` when the bytes are none of its kind."""
        try:
            plain = self._inflate.decompress(block, MAX_BLOCK + 1)
        except zlib.error as error:
            raise BadBlock(f"it does not inflate: {error}") from error
        if len(plain) > MAX_BLOCK or self._inflate.unconsumed_tail:
            raise BadBlock(f"it is larger than {MAX_BLOCK} bytes")
        return tuple(_pairs(plain))


def _pairs(plain: bytes) -> Iterator[tuple[str, str]]:
    texts = _texts(plain)
    seen: set[str] = set()
    for name, values in zip(texts, texts, strict=True):
        if not name or name != name.lower() or name in seen:
            raise BadBlock(f'the name "{name}" is empty, twice there or not in lower case')
        seen.add(name)
        for value in values.split(_VALUE_SEPARATOR):
            yield name, value


def _texts(plain: bytes) -> Iterator[str]:
    """Names and values in turn."""
    if len(plain) < _LENGTH.size:
        raise BadBlock("it ends before the number of pairs")
    (pairs,) = _LENGTH.unpack_from(plain)
    at = _LENGTH.size
    for _ in range(2 * pairs):
        if at + _LENGTH.size > len(plain):
            raise BadBlock("it ends within a length")
        (length,) = _LENGTH.unpack_from(plain, at)
        at += _LENGTH.size
        coded = plain[at : at + length]
        if len(coded) < length:
            raise BadBlock("it ends within a text")
        at += length
        try:
            yield coded.decode()
        except UnicodeDecodeError as error:
            raise BadBlock(f"it holds a text that is not UTF-8: {error}") from error
    if at != len(plain):
        raise BadBlock("bytes follow the last pair")
