"""The one reader of cgroup files: by directory descriptor; a file or cgroup that is gone is None.

`Tree` reads below one mount point. The parsers are pure; they take a file's text and raise ValueError when it
is not what the kernel writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cgroups.constants import UNLIMITED

_READ_BYTES = 16384  # the largest file read here is memory.stat, about 2 kB
# A cgroup that goes while it is read answers with one of these.
GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class Pressure:
    """One line of a PSI file: shares in percent over 10, 60 and 300 s, the total in microseconds."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total_us: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A mounted unified hierarchy, or a directory that looks like one."""

    mount: Path

    def read(self, path: str, files: Iterable[str]) -> dict[str, str] | None:
        """The text of those of `files` that are there; None when the cgroup is gone. Raises OSError."""
        try:
            directory = os.open(self.mount / path.lstrip("/"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        try:
            texts = {name: _read_at(directory, name) for name in files}
        finally:
            os.close(directory)
        return {name: text for name, text in texts.items() if text is not None}

    def read_one(self, path: str, file: str) -> str | None:
        return (self.read(path, (file,)) or {}).get(file)

    def below(self, path: str = "/") -> Iterator[str]:
        """The paths of all cgroups under `path`, parents first. What goes meanwhile is left out."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with os.scandir(self.mount / path.lstrip("/")) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            for name in names:
                child = f"{path.rstrip('/')}/{name}"
                yield child
                yield from self.below(child)


def parse_flat(text: str) -> dict[str, int]:
    """ "anon 4096\\nfile 0\\n" of memory.stat, cpu.stat, memory.events."""
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def parse_limit(text: str) -> int:
    """A number, or UNLIMITED for `max`."""
    return UNLIMITED if text.strip() == "max" else int(text)


def parse_cpu_max(text: str) -> tuple[int, int]:
    """(quota or UNLIMITED, period) in microseconds."""
    quota, period = text.split()
    return parse_limit(quota), int(period)


def parse_pids(text: str) -> list[int]:
    """cgroup.procs."""
    return [int(line) for line in text.split()]


def parse_pressure(text: str) -> dict[str, Pressure]:
    """ "some" and "full" of a PSI file; the kernel leaves out "full" for cpu in some versions."""
    found = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        found[kind] = Pressure(
            avg10=float(values["avg10"]),
            avg60=float(values["avg60"]),
            avg300=float(values["avg300"]),
            total_us=int(values["total"]),
        )
    return found


def working_set(memory_current: int, stat: dict[str, int]) -> int:
    """Bytes that cannot be taken back easily: use less inactive file pages (cAdvisor's rule), at least 0."""
    return max(memory_current - stat.get("inactive_file", 0), 0)


def _read_at(directory: int, name: str) -> str | None:
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    try:
        chunks = []
        while chunk := os.read(file, _READ_BYTES):
            chunks.append(chunk)
        return b"".join(chunks).decode()
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    finally:
        os.close(file)
