"""A mount table in memory with the kernel's rules, for tests: no privileges, nothing really mounted.

A target must exist, mounts stack, the topmost goes first, one with mounts inside is busy. `refuse` makes the
next matching call fail; `calls` records what was asked.
"""

from __future__ import annotations

import errno
import os

from kubelet.volumes.mountinfo import MountPoint
from kubelet.volumes.mounting import MountRequest


class FakeMounter:
    def __init__(self) -> None:
        self.points: list[MountPoint] = []
        self.calls: list[str] = []
        self.refusals: list[tuple[str, int]] = []
        self._next_id = 100

    def refuse(self, call: str, number: int) -> None:
        """The next `mount` or `unmount` fails with this errno."""
        self.refusals.append((call, number))

    def table(self, below: str = "") -> tuple[MountPoint, ...]:
        return tuple(point for point in self.points if point.path.startswith(below.rstrip("/")))

    def mount(self, request: MountRequest) -> None:
        self.calls.append(f"mount {request.fs_type or 'bind'} {request.data} {request.target}")
        self._refused("mount", request.target)
        if not os.path.lexists(request.target):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), request.target)
        self._next_id += 1
        point = MountPoint(
            id=self._next_id,
            parent_id=1,
            device="0:1",
            root="/",
            path=request.target,
            options=("rw",),
            optional=(),
            fs_type=request.fs_type or "bind",
            source=request.source,
            super_options=tuple(request.data.split(",")) if request.data else (),
        )
        self.points.append(point)

    def unmount(self, target: str) -> None:
        self.calls.append(f"unmount {target}")
        self._refused("unmount", target)
        topmost = next((point for point in reversed(self.points) if point.path == target), None)
        if topmost is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), target)
        if any(point.path.startswith(target + "/") for point in self.points):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), target)
        self.points.remove(topmost)

    def _refused(self, call: str, target: str) -> None:
        for index, (name, number) in enumerate(self.refusals):
            if name == call:
                del self.refusals[index]
                raise OSError(number, os.strerror(number), target)
