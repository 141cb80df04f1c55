"""Reads manifests from the disk: blocking calls, meant for a thread.

Only regular files up to 10 MiB are read, and only when their stat says that they changed, unless an event
named them. A directory that is not there is an empty one; one that cannot be listed raises OSError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubelet.sources.fileset import is_manifest_name

MAX_MANIFEST_BYTES = 10 << 20  # upstream: pkg/kubelet/config/common.go maxConfigLength

Signature = tuple[int, int, int, int]  # inode, size, mtime ns, ctime ns


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file as found. `data` None and no `error`: not there, or nothing to read as a manifest."""

    name: str
    signature: Signature | None = None
    data: bytes | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where manifests are: a directory, or one file in it (`only`)."""

    directory: str
    only: str = ""


def find_place(path: str) -> Place:
    """The place a static pod path means now; a path that is not there counts as a directory."""
    path = path.rstrip("/") or "/"
    target = Path(path)
    if target.exists() and not target.is_dir():
        return Place(str(target.parent), target.name)
    return Place(path)


def read_all(place: Place, known: Mapping[str, Signature]) -> tuple[list[RawFile], frozenset[str]]:
    """Every manifest whose stat differs from `known`, and the names of all that are there.

    Raises OSError when the directory is there and cannot be listed.
    """
    try:
        names = [place.only] if place.only else _names(Path(place.directory))
    except FileNotFoundError:
        return [], frozenset()
    changed, present = [], set()
    for name in names:
        raw = read_one(place, name, known.get(name))
        if raw is None:
            present.add(name)
        elif raw.signature is not None:
            present.add(name)
            changed.append(raw)
    return changed, frozenset(present)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if is_manifest_name(path.name))


def read_named(place: Place, names: Iterable[str], created: frozenset[str]) -> list[RawFile]:
    """The manifests that events named. One that was only created is still being written, unless it is a
    link.
    """
    found = []
    for name in sorted(names):
        if not (is_manifest_name(name) if not place.only else name == place.only):
            continue
        if name in created and _is_being_written(Path(place.directory, name)):
            continue
        found.append(read_one(place, name, None) or RawFile(name))
    return found


def read_one(place: Place, name: str, known: Signature | None) -> RawFile | None:
    """One file; None when its stat equals `known`."""
    path = Path(place.directory, name)
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return RawFile(name)
    except OSError as err:
        return RawFile(name, (0, 0, 0, 0), error=f"cannot open: because {err.strerror}")
    try:
        return _read_open(name, fd, known)
    except OSError as err:
        return RawFile(name, (0, 0, 0, 0), error=f"cannot read: because {err.strerror}")
    finally:
        os.close(fd)


def _read_open(name: str, fd: int, known: Signature | None) -> RawFile | None:
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        return RawFile(name)
    signature = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if signature == known:
        return None
    if facts.st_size > MAX_MANIFEST_BYTES:
        text = f"is {facts.st_size} bytes long, and a manifest may have {MAX_MANIFEST_BYTES}"
        return RawFile(name, signature, error=text)
    with os.fdopen(fd, "rb", closefd=False) as file:
        return RawFile(name, signature, file.read(MAX_MANIFEST_BYTES + 1))


def _is_being_written(path: Path) -> bool:
    """A name that just appeared is complete only when it is a link to something that was there before."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
