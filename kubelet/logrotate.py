"""Keeps container logs small: renames what grew too large, has the runtime reopen, gzips the older ones.

The plan for one log is a pure function of the file names beside it (`plan_rotation`); `LogRotator`
carries it out. A pass where nothing grew costs one stat per running container, in one thread call.
Every step can be interrupted and is finished by a later pass: a `.tmp` is an unfinished compression, a
plain file beside its `.gz` a finished one, a missing log a rename without the reopen.
Rules and names: pkg/kubelet/logs/container_log_manager.go (Kubernetes 1.36).
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from aio import log as aio_log
from aio.clock import Clock
from aio.errors import Retry
from aio.executors import Executors
from cri.errors import CriError
from cri.service import RuntimeService

MAX_BYTES = 10 * 1024 * 1024  # containerLogMaxSize 10Mi
MAX_FILES = 5  # containerLogMaxFiles
INTERVAL_SECONDS = 10.0  # containerLogMonitorInterval
COMPRESSED = ".gz"
UNFINISHED = ".tmp"
STAMP = "%Y%m%d-%H%M%S"
COPY_BYTES = 256 * 1024

log = aio_log.get(__name__)


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """`max_bytes` < 0 switches rotation off. `max_files` (>= 2) counts the current log too."""

    max_bytes: int = MAX_BYTES
    max_files: int = MAX_FILES
    interval_seconds: float = INTERVAL_SECONDS

    def is_too_large(self, size: int) -> bool:
        return 0 <= self.max_bytes <= size


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """File names in the log's directory: first `remove`, then `compress`, then rename to `rotated`."""

    remove: tuple[str, ...]
    compress: tuple[str, ...]
    rotated: str


@dataclass(frozen=True, slots=True)
class RunningLog:
    """The log of a running container; `path` is absolute."""

    container_id: str
    path: str


def leftovers(name: str, siblings: Iterable[str]) -> tuple[str, ...]:
    """Rotated files of the log `name` that an interrupted compression left to be deleted (pure)."""
    rotated = {sibling for sibling in siblings if sibling.startswith(f"{name}.")}
    return tuple(
        sorted(
            sibling
            for sibling in rotated
            if sibling.endswith(UNFINISHED)
            or (not sibling.endswith(COMPRESSED) and f"{sibling}{COMPRESSED}" in rotated)
        )
    )


def plan_rotation(name: str, siblings: Iterable[str], now: datetime, policy: RotationPolicy) -> RotationPlan:
    """What to do with the log `name`, given the names in its directory (pure).

    The newest rotated file stays plain until the next rotation, for readers that still follow it.
    """
    names = set(siblings)
    unused = leftovers(name, names)
    rotated = sorted(sibling for sibling in names.difference(unused) if sibling.startswith(f"{name}."))
    # the current log and the one made now count as well
    kept = max(0, policy.max_files - 2)
    excess = rotated[: max(0, len(rotated) - kept)]
    compress = [sibling for sibling in rotated[len(excess) :] if not sibling.endswith(COMPRESSED)]
    return RotationPlan((*unused, *excess), tuple(compress), _free_name(name, names, now))


def _free_name(name: str, taken: set[str], now: datetime) -> str:
    """`<log>.<stamp>`; a second rotation within a second must not overwrite the first."""
    while True:
        candidate = f"{name}.{now.strftime(STAMP)}"
        if candidate not in taken and f"{candidate}{COMPRESSED}" not in taken:
            return candidate
        now += timedelta(seconds=1)


@dataclass(eq=False, slots=True)
class LogRotator:
    """Rotates the logs of the containers that `running` names, every `policy.interval_seconds`."""

    runtime: RuntimeService
    executors: Executors
    clock: Clock
    running: Callable[[], Iterable[RunningLog]]
    policy: RotationPolicy = field(default_factory=RotationPolicy)
    _tidied: frozenset[str] = frozenset()

    async def run(self) -> None:
        """For ever; one log that cannot be rotated does not keep the others from it."""
        while True:
            await self.clock.sleep(self.policy.interval_seconds)
            await self.rotate_once()

    async def rotate_once(self) -> int:
        """One pass over all running containers; the number of logs rotated."""
        if self.policy.max_bytes < 0:
            return 0
        logs = {entry.path: entry.container_id for entry in self.running() if entry.path}
        new = frozenset(logs).difference(self._tidied)
        self._tidied = frozenset(logs)
        try:
            sizes = await self.executors.run("log", _measure, tuple(logs), new)
        except Retry as error:
            log.warning("Cannot look at container logs", err=error)
            self._tidied -= new
            return 0
        rotated = 0
        for path, size in sizes.items():
            if size is None:
                await self._reopen(logs[path], path)
            elif self.policy.is_too_large(size):
                rotated += await self._rotate(logs[path], path)
        return rotated

    async def _rotate(self, container_id: str, path: str) -> bool:
        now = self.clock.now()
        try:
            moved = await self.executors.run("log", _move_away, path, now, self.policy, key=container_id)
        except (OSError, Retry) as error:
            log.error("Cannot rotate container log", path=path, containerID=container_id, err=error)
            return False
        if await self._reopen(container_id, path):
            log.v(4).info("Rotated container log", path=path, containerID=container_id)
            return True
        await self.executors.run("log", _move_back, moved, path, key=container_id)
        return False

    async def _reopen(self, container_id: str, path: str) -> bool:
        try:
            await self.runtime.reopen_container_log(container_id)
        except CriError as error:
            log.error("Cannot reopen container log", path=path, containerID=container_id, err=error)
            return False
        return True


def _measure(paths: Iterable[str], new: frozenset[str]) -> Mapping[str, int | None]:
    """Sizes in bytes, None for a file that is not there; tidies beside those seen for the first time."""
    sizes: dict[str, int | None] = {}
    for path in paths:
        try:
            sizes[path] = os.stat(path).st_size  # noqa: PTH116 - a Path per log costs more than the stat
        except FileNotFoundError:
            sizes[path] = None
        except OSError as error:
            log.warning("Cannot look at container log", path=path, err=error)
            continue
        if path in new:
            _tidy(Path(path))
    return sizes


def _tidy(path: Path) -> None:
    try:
        for name in leftovers(path.name, os.listdir(path.parent)):  # noqa: PTH208
            (path.parent / name).unlink(missing_ok=True)
    except OSError as error:
        log.warning("Cannot tidy up beside container log", path=str(path), err=error)


def _move_away(path_text: str, now: datetime, policy: RotationPolicy) -> str:
    """Remove, compress and rename as planned; the log's new path. OSError when it was not renamed."""
    path = Path(path_text)
    plan = plan_rotation(path.name, os.listdir(path.parent), now, policy)  # noqa: PTH208
    for name in plan.remove:
        (path.parent / name).unlink(missing_ok=True)
    for name in plan.compress:
        try:
            compress(path.parent / name)
        except OSError as error:  # a full disk: the rename still helps, compression is tried again later
            log.warning("Cannot compress rotated log", path=str(path.parent / name), err=error)
    rotated = path.parent / plan.rotated
    path.rename(rotated)
    return str(rotated)


def _move_back(rotated: str, path: str) -> None:
    """The runtime still writes to the renamed file: give it its name back, unless there is a new one."""
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        os.link(rotated, path)
        Path(rotated).unlink()


def compress(path: Path) -> None:
    """`path` becomes `path.gz` with the same mode and times; complete or not at all."""
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        with path.open("rb") as source, unfinished.open("wb") as target:
            info = os.fstat(source.fileno())
            os.fchmod(target.fileno(), info.st_mode & 0o7777)
            with gzip.GzipFile(path.name, "wb", fileobj=target, mtime=info.st_mtime) as packed:
                shutil.copyfileobj(source, packed, COPY_BYTES)
            target.flush()
            os.fsync(target.fileno())
        os.utime(unfinished, ns=(info.st_atime_ns, info.st_mtime_ns))
        unfinished.rename(path.with_name(f"{path.name}{COMPRESSED}"))
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    path.unlink()
