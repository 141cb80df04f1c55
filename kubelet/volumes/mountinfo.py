"""The kernel's mount table as values: parsing of /proc/self/mountinfo and questions about it. Pure.

Format: proc_pid_mountinfo(5). Blank, tab, newline and backslash in paths are octal escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SPECIAL = re.compile(r"[ \t\n\\]")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line: `root` is the directory of the filesystem that is mounted, `path` where it is."""

    id: int
    parent_id: int
    device: str
    root: str
    path: str
    options: tuple[str, ...]
    optional: tuple[str, ...]
    fs_type: str
    source: str
    super_options: tuple[str, ...]

    @property
    def is_shared(self) -> bool:
        return any(field.startswith("shared:") for field in self.optional)


def parse_mountinfo(text: str, below: str = "") -> tuple[MountPoint, ...]:
    """Every line, oldest first, or only those that may be about paths at or below `below`.

    A node with many pods has thousands of lines of which one pod needs two: the others are not parsed.
    Lines of another shape raise ValueError.
    """
    needle = " " + escape_path(below.rstrip("/")) if below else ""
    return tuple(_parse_line(line) for line in text.split("\n") if line and needle in line)


def escape_path(path: str) -> str:
    """A path as the kernel writes it."""
    return _SPECIAL.sub(lambda match: f"\\{ord(match[0]):03o}", path)


def _parse_line(line: str) -> MountPoint:
    left, separator, right = line.partition(" - ")
    words, rest = left.split(" "), right.split(" ")
    if not separator or len(words) < 6 or len(rest) < 3:
        raise ValueError(f"not a mountinfo line: {line!r}")
    return MountPoint(
        id=int(words[0]),
        parent_id=int(words[1]),
        device=words[2],
        root=_unescape(words[3]),
        path=_unescape(words[4]),
        options=tuple(words[5].split(",")),
        optional=tuple(words[6:]),
        fs_type=rest[0],
        source=_unescape(rest[1]),
        super_options=tuple(rest[2].split(",")),
    )


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def mounts_below(mounts: Iterable[MountPoint], path: str) -> tuple[MountPoint, ...]:
    """Mounts at or below `path`, in the order in which they can be unmounted: newest and deepest first."""
    prefix = path.rstrip("/") + "/"
    found = [mount for mount in mounts if mount.path == path or mount.path.startswith(prefix)]
    found.reverse()
    return tuple(sorted(found, key=lambda mount: -mount.path.count("/")))


def is_mount_point(mounts: Iterable[MountPoint], path: str) -> bool:
    return any(mount.path == path for mount in mounts)
