"""Lists: put together from bytes that are there already; pages of one list show one revision.

The first page comes from the cache, later ones (and any exact revision) from the store's history.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane.api import codec
from controlplane.api.options import Reading
from controlplane.api.registry.model import Kind
from controlplane.api.watchcache import Cached, WatchCache
from controlplane.store.errors import Compacted, FutureRevision
from controlplane.store.model import Store, continue_key
from kube import selection, status
from kube.errors import Status
from kube.selection import Selection

_TOKEN_VERSION = "meta.k8s.io/v1"
_PAGE = 500


class _Token(msgspec.Struct, frozen=True):
    v: str
    rv: int
    start: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects in the order of their keys, as of one revision. `continue_token` is "" on the last page."""

    items: tuple[Cached, ...]
    revision: int
    continue_token: str = ""
    remaining: int | None = None

    def metadata(self) -> dict[str, Any]:
        """Of the list object."""
        value: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            value["continue"] = self.continue_token
        if self.remaining is not None:
            value["remainingItemCount"] = self.remaining
        return value

    def encode(self, kind: Kind) -> bytes:
        head = {"kind": f"{kind.resource.kind}List", "apiVersion": kind.resource.api_version}
        start = codec.encode({**head, "metadata": self.metadata()})
        raws = [item.raw for item in self.items]
        if not raws:
            return b'%b,"items":[]}' % start[:-1]
        # Head and end go to the first and the last, so that what is large is copied once.
        raws[0] = b'%b,"items":[%b' % (start[:-1], raws[0])
        raws[-1] += b"]}"
        return b",".join(raws)


class Lists:
    def __init__(self, store: Store, cache: WatchCache) -> None:
        self._store = store
        self._cache = cache

    async def read(self, kind: Kind, namespace: str, options: Reading) -> Listing:
        """Expired for a page or revision that is forgotten, Timeout for one that does not come."""
        chosen = selection.select(kind.resource, namespace, options.label_selector, options.field_selector)
        if options.continue_token:
            token = _decode(options.continue_token)
            return await self._read_history(kind, chosen, options, token)
        if options.is_exact:
            return await self._read_history(
                kind, chosen, options, _Token(_TOKEN_VERSION, options.revision, "")
            )
        await reach(self._cache, options.version)
        return self._read_cache(kind, chosen, options)

    def _read_cache(self, kind: Kind, chosen: Selection, options: Reading) -> Listing:
        items = self._cache.of(kind.resource).items(chosen.namespace)
        if chosen.has_selectors:
            items = [item for item in items if chosen.holds(item.value)]
        revision = self._cache.revision
        if not options.limit or len(items) <= options.limit or options.version == "0":
            return Listing(tuple(items), revision)
        shown = items[: options.limit]
        remaining = None if chosen.has_selectors else len(items) - len(shown)
        token = _encode(_Token(_TOKEN_VERSION, revision, shown[-1].place + "\0"))
        return Listing(tuple(shown), revision, token, remaining)

    async def _read_history(self, kind: Kind, chosen: Selection, options: Reading, token: _Token) -> Listing:
        """Of one revision; -1 in a token stands for the latest."""
        prefix = kind.prefix + (f"{chosen.namespace}/" if chosen.namespace else "")
        start = kind.prefix + token.start if token.start else ""
        revision = max(token.rv, 0)
        cache = self._cache.of(kind.resource)
        found: list[Cached] = []
        limit = options.limit
        while True:
            size = 0 if not limit else limit if not chosen.has_selectors else max(limit, _PAGE)
            try:
                page = await self._store.list(prefix, start=start, limit=size, revision=revision)
            except Compacted as error:
                raise _forgotten(token, error, is_continued=bool(options.continue_token)) from error
            except FutureRevision as error:
                raise too_large_version(revision, error.current) from error
            revision = page.revision
            read = [cache.read(record) for record in page.records]
            if chosen.has_selectors:
                read = [item for item in read if chosen.holds(item.value)]
            found += read
            if not page.more or (limit and len(found) >= limit):
                break
            start = continue_key(page)
        if not limit or (len(found) <= limit and not page.more):
            return Listing(tuple(found), revision)
        shown = found[:limit]
        remaining = None if chosen.has_selectors else page.remaining
        return Listing(
            tuple(shown),
            revision,
            _encode(_Token(_TOKEN_VERSION, revision, shown[-1].place + "\0")),
            remaining,
        )


async def reach(cache: WatchCache, version: str) -> None:
    """ "": the latest; "0": whatever there is; else not older than that."""
    if version == "":
        await cache.reach_latest()
    elif version != "0":
        try:
            await cache.reach(int(version))
        except TimeoutError:
            raise too_large_version(int(version), cache.revision) from None


def too_large_version(wanted: int, current: int) -> Exception:
    message = f"Too large resource version: {wanted}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    details = {"causes": causes, "retryAfterSeconds": 1}
    return status.error_of(Status(504, "Timeout", f"Timeout: {message}", details))


def _forgotten(token: _Token, error: Compacted, *, is_continued: bool) -> Exception:
    """For a page: with a token that goes on at the latest revision. For an exact revision: too old."""
    if not is_continued:
        return status.too_old(token.rv, error.compacted)
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the continue parameter, or use the continue token in this response to retrieve the "
        "remainder of the results. Continuing with the provided token results in an inconsistent list - "
        "objects that were created, modified, or deleted between the time the first chunk was returned and "
        "now may show up in the list."
    )
    return status.expired(message, _encode(_Token(_TOKEN_VERSION, -1, token.start)))


def _encode(token: _Token) -> str:
    return base64.urlsafe_b64encode(codec.encode(token)).rstrip(b"=").decode()


def _decode(text: str) -> _Token:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, ValueError) as error:
        raise status.bad_request(f"continue key is not valid: {error}") from error
    if token.v != _TOKEN_VERSION or token.rv < -1 or not token.start:
        raise status.bad_request("continue key is not valid: it is not one of this server's")
    return token
