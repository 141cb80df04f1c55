"""Static pods from a directory or a file: inotify, with a relist every fileCheckFrequency for safety.

`FileSource.run` never ends. Reading goes to a thread; decoding stays on the loop, one file at a time. The
first delivery is the whole directory; after that every changed file is delivered as soon as it is decoded.
When and whether bad news counts is decided in `fileset`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from aio import log
from kube.errors import ErrorKind, FieldError, InvalidObject
from kubelet.sources import fileset, reading
from kubelet.sources.fileset import FileSet, Reading
from kubelet.sources.model import FILE, Decode, Deliver, Delivery, Problem, Report
from kubelet.sources.reading import Place, RawFile, Signature
from kubelet.sources.watch import DirectoryWatch, News

_log = log.get(__name__)
_NONE: frozenset[str] = frozenset()

RunInThread = Callable[..., Awaitable[Any]]
"""`await run(function, *arguments)`, off the loop."""


class Watcher(Protocol):
    """What `FileSource` needs of `watch.DirectoryWatch`."""

    def take(self) -> News: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...


class FileSource:
    """Delivers the static pods under one path; see the module."""

    def __init__(
        self,
        path: str,
        decode: Decode,
        *,
        deliver: Deliver,
        report: Report,
        relist_seconds: float,
        run_in_thread: RunInThread = asyncio.to_thread,
        watcher: Callable[[str, Callable[[], None]], Watcher] = DirectoryWatch,
    ) -> None:
        self._path = path
        self._decode = decode
        self._deliver = deliver
        self._report = report
        self._relist_seconds = relist_seconds
        self._run_in_thread = run_in_thread
        self._watcher = watcher
        self._place = Place(path)
        self._set = FileSet()
        self._signatures: dict[str, Signature] = {}
        self._is_listed = False
        self._list_error = ""
        self._sent: Delivery | None = None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Watch and deliver until cancelled."""
        watch = self._watcher(self._path, self._wake.set)
        loop = asyncio.get_running_loop()
        try:
            await self._relist()
            next_relist = loop.time() + self._relist_seconds
            while True:
                until = min(next_relist, self._set.next_due() or next_relist)
                await self._sleep_until(until)
                news = watch.take()
                if news.everything or loop.time() >= next_relist:
                    watch.refresh()
                    await self._relist()
                    next_relist = loop.time() + self._relist_seconds
                elif self._is_listed and (news.names or news.created):
                    await self._reread(news.names | news.created, created=news.created, settled=_NONE)
                settled = self._set.names_due(loop.time())
                if settled:
                    await self._reread(settled, created=_NONE, settled=settled)
        finally:
            watch.close()

    async def _sleep_until(self, when: float) -> None:
        try:
            async with asyncio.timeout_at(when):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _relist(self) -> None:
        """Everything, comparing stats; what is no longer there is bad news."""
        try:
            self._place = await self._run_in_thread(reading.find_place, self._path)
            changed, present = await self._run_in_thread(reading.read_all, self._place, self._signatures)
        except OSError as err:
            self._tell_list_error(err)
            return
        self._list_error = ""
        gone = [RawFile(name) for name in self._set.files if name not in present]
        await self._take([*gone, *changed])
        self._is_listed = True
        self._send()

    def _tell_list_error(self, err: OSError) -> None:
        text = f'cannot list "{self._path}": because {err.strerror}'
        if text != self._list_error:
            self._list_error = text
            self._report(Problem(FILE, self._path, (FieldError("", text, ErrorKind.DECODE),)))

    async def _reread(
        self, names: frozenset[str], *, created: frozenset[str], settled: frozenset[str]
    ) -> None:
        """Look at these files, whatever their stats say."""
        raws = await self._run_in_thread(reading.read_named, self._place, names, created)
        await self._take(raws, settled=settled)

    async def _take(self, raws: Iterable[RawFile], *, settled: frozenset[str] = _NONE) -> None:
        for raw in raws:
            if raw.signature is not None:
                self._signatures[raw.name] = raw.signature
            else:
                self._signatures.pop(raw.name, None)
            now = asyncio.get_running_loop().time()
            self._set, faulty = fileset.take(self._set, [self._read(raw)], now=now, settled=settled)
            for found in faulty:
                self._report(fileset.problem(found, self._place.directory))
            if self._is_listed:
                self._send()
            await asyncio.sleep(0)  # decoding a file takes a millisecond or two: let others run

    def _read(self, raw: RawFile) -> Reading:
        """Decode one file; a content that was good last time is not decoded again."""
        if raw.error:
            return Reading(raw.name, faults=(FieldError("", raw.error, ErrorKind.DECODE),))
        if raw.data is None:
            return Reading(raw.name)
        digest = hashlib.blake2b(raw.data, digest_size=16).hexdigest()
        before = self._set.files.get(raw.name)
        if before is not None and before.digest == digest:
            return Reading(raw.name, digest, before.pods if not before.faults else (), before.faults)
        location = fileset.location(self._place.directory, raw.name)
        try:
            return Reading(raw.name, digest, self._decode(raw.data, location))
        except InvalidObject as err:
            return Reading(raw.name, digest, faults=err.errors)

    def _send(self) -> None:
        delivery = fileset.delivery(self._set, self._place.directory)
        if delivery != self._sent:
            self._sent = delivery
            _log.v(2).info("Delivering static pods", path=self._path, pods=len(delivery.pods))
            self._deliver(delivery)
