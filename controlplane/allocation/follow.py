"""The pools of Services kept true to what is stored, whoever stored it.

Before a Service is given anything, the changes since the last time are read from the server's watch cache:
what is stored is held, what is gone is free. What a write under way has taken stays taken until the write is
refused; a write whose end nobody knows keeps its numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from aio import log
from controlplane.allocation.services import Services
from controlplane.api.watchcache import KindCache, WatchCache
from controlplane.store.errors import Conflict, Exists, NotFound, TooLarge
from kube import status
from kube.client import resources as r
from kube.client.model import JsonObject
from kube.errors import InvalidObject, StatusError, invalid_status

_log = log.get(__name__)
# Nothing was written.
_REFUSALS = (StatusError, Conflict, Exists, NotFound, TooLarge)


class Addresses:
    """Gives cluster addresses and node ports to Services on their way into the store."""

    def __init__(self, services: Services, cache: WatchCache) -> None:
        self._services = services
        self._cache = cache
        self._source: KindCache = cache.of(r.SERVICES)
        self._position = -1
        self._known: dict[str, JsonObject] = {}
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def given(self, value: JsonObject, old: JsonObject | None, *, dry_run: bool) -> AsyncIterator[None]:
        """Fill in `value`; inside, it is validated and written. Invalid when it cannot be had.

        Writes of one Service go one after the other, so that what a refused one gives back is not what
        another is about to store."""
        meta = value["metadata"]
        place = f"{meta['namespace']}/{meta['name']}"
        lock = self._writing.get(place) or asyncio.Lock()
        self._writing[place] = lock
        async with lock, self._given(value, old, dry_run=dry_run):
            yield

    @asynccontextmanager
    async def _given(
        self, value: JsonObject, old: JsonObject | None, *, dry_run: bool
    ) -> AsyncIterator[None]:
        await self._cache.reach_latest()
        self._catch_up()
        try:
            taken = self._services.allocate(value, old)
        except InvalidObject as refused:
            raise status.error_of(invalid_status(refused)) from refused
        try:
            yield
        except _REFUSALS:
            self._services.undo(taken)
            raise
        if dry_run or value == old:
            # Nothing was written. What equals an object that has changed meanwhile may have taken something.
            self._services.undo(taken)

    def _catch_up(self) -> None:
        position = self._source.position
        changes = self._source.since(self._position) if self._position >= 0 else None
        if changes is None:
            self._begin_anew()
        for change in changes or ():
            self._see(change.last.place, change.new.value if change.new else None)
        self._position = position

    def _begin_anew(self) -> None:
        now = {item.place: item.value for item in self._source.items()}
        for place in [place for place in self._known if place not in now]:
            self._see(place, None)
        for place, value in now.items():
            self._see(place, value)

    def _see(self, place: str, value: JsonObject | None) -> None:
        before = self._known.pop(place, None)
        self._services.settle(before, value)
        if value is not None:
            self._known[place] = value
            for sentence in self._services.hold_all((value,)):
                _log.warning("A stored Service has what it should not", what=sentence)
