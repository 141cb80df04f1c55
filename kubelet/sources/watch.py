"""Which names in a directory changed, from inotify.

`DirectoryWatch` calls `wake` from the loop when there is news, and `take()` hands it over. It watches the
directory itself for its files, and the nearest existing parent for the directory coming, going or being
replaced. Lost events (a queue overflow, a directory that vanished) come out as "everything".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asyncinotify import Event, Inotify, Mask, Watch

from aio import log

_log = log.get(__name__)
_FILES = (
    Mask.CLOSE_WRITE
    | Mask.MOVED_TO
    | Mask.MOVED_FROM
    | Mask.CREATE
    | Mask.DELETE
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
)
_PARENT = Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF


@dataclass(frozen=True, slots=True)
class News:
    """What changed. `created` are names that appeared and were not closed after writing."""

    names: frozenset[str] = frozenset()
    created: frozenset[str] = frozenset()
    everything: bool = False


class DirectoryWatch:
    """Watches `path`, a directory or a file, whether it exists now or not. Use from one loop; `close` it."""

    def __init__(self, path: str, wake: Callable[[], None]) -> None:
        self._path = Path(path)
        self._wake = wake
        self._inotify = Inotify(sync_timeout=0)
        self._inside: Watch | None = None
        self._outside: Watch | None = None
        self._awaited = ""  # the name in the parent that leads to our path
        self._names: set[str] = set()
        self._created: set[str] = set()
        self._everything = False
        self._arm()
        asyncio.get_running_loop().add_reader(self._inotify.fd, self._readable)

    def take(self) -> News:
        """What changed since the last call."""
        news = News(frozenset(self._names), frozenset(self._created - self._names), self._everything)
        self._names, self._created, self._everything = set(), set(), False
        return news

    def refresh(self) -> None:
        """Place the watches anew when the path now means something else (a file, a directory, nothing)."""
        if self._inside is None or self._inside.path != self._directory():
            self._arm()

    def close(self) -> None:
        """Stop watching."""
        asyncio.get_running_loop().remove_reader(self._inotify.fd)
        self._inotify.close()

    def _directory(self) -> Path:
        is_file = self._path.exists() and not self._path.is_dir()
        return self._path.parent if is_file else self._path

    def _arm(self) -> None:
        """(Re)place both watches according to what exists now."""
        for watch in (self._inside, self._outside):
            if watch is not None:
                self._forget(watch)
        self._inside = self._outside = None
        directory = self._directory()
        self._inside = self._add(directory, _FILES)
        below = directory
        while self._outside is None and below != below.parent:
            self._awaited = below.name
            self._outside = self._add(below.parent, _PARENT)
            below = below.parent

    def _add(self, directory: Path, mask: Mask) -> Watch | None:
        try:
            return self._inotify.add_watch(directory, mask | Mask.ONLYDIR | Mask.EXCL_UNLINK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            # Out of watches, a loop of links: the relist goes on seeing what changes, only later.
            _log.warning("Cannot watch a manifest directory", path=str(directory), err=err)
            return None

    def _forget(self, watch: Watch) -> None:
        try:
            self._inotify.rm_watch(watch)
        except OSError:
            return  # the kernel dropped it together with the directory

    def _readable(self) -> None:
        rearm = False
        while (event := self._inotify.sync_get()) is not None:
            rearm |= self._note(event)
        if rearm:
            self._everything = True
            self._arm()
        if self._names or self._created or self._everything:
            self._wake()

    def _note(self, event: Event) -> bool:
        """Remember one event; true when the watches have to be placed anew."""
        if event.mask & Mask.Q_OVERFLOW:
            self._everything = True
            return False
        watch, name = event.watch, str(event.name or "")
        if watch is None or event.mask & Mask.IGNORED:
            return False
        if watch is self._outside:
            return name == self._awaited or not name
        if watch is not self._inside:
            return False
        if not name:
            return True  # the directory itself was deleted or moved
        if event.mask & Mask.CREATE:
            self._created.add(name)
        else:
            self._names.add(name)
        return False
