"""The one writer of cgroup files, through a descriptor of the cgroup's directory.

A cgroup that has gone is an outcome, not an error: a pod may end at any time. What the kernel refuses comes
back per file, so that one controller which is not delegated does not keep the other limits from being set.
Every method blocks for as long as the kernel takes; on memory.max that may be a while (it reclaims).
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cgroups.constants import KILL_ATTEMPTS
from cgroups.read import GONE, Tree, parse_pids
from cgroups.settings import Write


class Outcome(Enum):
    """What became of a write."""

    WRITTEN = "written"
    GONE = "gone"  # the whole cgroup
    NO_FILE = "no such file"  # the controller is not delegated to here, or this kernel lacks the file
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of one write; `why` is the kernel's word when it is REFUSED or NO_FILE."""

    write: Write
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class Removal:
    """`gone`: nothing of the cgroup is left. Else `busy` is the path that stayed, with its processes."""

    gone: bool
    busy: str = ""
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Writer:
    """Changes cgroups below one mount point."""

    mount: Path
    rmdir: Callable[[Path], None] = os.rmdir
    kill: Callable[[int, int], None] = os.kill

    def create(self, path: str) -> None:
        """Make a cgroup and what leads to it. Raises OSError: no space for another, a read-only mount."""
        self._at(path).mkdir(mode=0o755, parents=True, exist_ok=True)

    def delegate(self, path: str, controllers: Iterable[str]) -> list[Written]:
        """Let children of `path` have the controllers; one by one, since one unknown spoils the line."""
        return self.apply(path, [Write("cgroup.subtree_control", f"+{name}") for name in controllers])

    def apply(self, path: str, writes: Iterable[Write]) -> list[Written]:
        """Each write in turn."""
        try:
            directory = os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in GONE:
                return [Written(write, Outcome.GONE) for write in writes]
            raise
        try:
            return [_write_at(directory, write) for write in writes]
        finally:
            os.close(directory)

    def remove(self, path: str, attempts: int = KILL_ATTEMPTS) -> Removal:
        """Remove a cgroup and everything in it, killing what still runs there.

        A killed process leaves its cgroup a moment later, so a caller that gets `gone=False` asks again.
        """
        result = Removal(gone=False)
        for attempt in range(attempts):
            result = self._remove_once(path)
            if result.gone or attempt == attempts - 1:
                break
            self.kill_all(path)
        return result

    def kill_all(self, path: str) -> int:
        """SIGKILL everything in and under a cgroup; how many processes were told one by one.

        With cgroup.kill (Linux 5.14) the kernel does it in one go, new children included, and 0 is returned.
        """
        done = self.apply(path, [Write("cgroup.kill", "1")])
        if done[0].outcome in (Outcome.WRITTEN, Outcome.GONE):
            return 0
        told = 0
        tree = Tree(self.mount)
        for cgroup in (path, *tree.below(path)):
            for pid in parse_pids(tree.read_one(cgroup, "cgroup.procs") or ""):
                try:
                    self.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # ended by itself
                told += 1
        return told

    def _remove_once(self, path: str) -> Removal:
        tree = Tree(self.mount)
        for cgroup in reversed((path, *tree.below(path))):
            try:
                self.rmdir(self._at(cgroup))
            except OSError as error:
                if error.errno in GONE:
                    continue
                if error.errno != errno.EBUSY:
                    raise
                pids = parse_pids(tree.read_one(cgroup, "cgroup.procs") or "")
                return Removal(gone=False, busy=cgroup, pids=tuple(pids))
        return Removal(gone=True)

    def _at(self, path: str) -> Path:
        return self.mount / path.lstrip("/")


def _write_at(directory: int, write: Write) -> Written:
    try:
        file = os.open(write.file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError as error:
        if not _is_there(directory):
            return Written(write, Outcome.GONE)
        return Written(write, Outcome.NO_FILE, error.strerror or "")
    except OSError as error:
        return _refused(write, error)
    try:
        os.write(file, write.value.encode())
    except OSError as error:
        return _refused(write, error)
    finally:
        os.close(file)
    return Written(write, Outcome.WRITTEN)


def _is_there(directory: int) -> bool:
    """Every cgroup has this file; one that was removed keeps its descriptor and loses its files."""
    try:
        os.stat("cgroup.procs", dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def _refused(write: Write, error: OSError) -> Written:
    if error.errno == errno.ENODEV:
        return Written(write, Outcome.GONE)
    return Written(write, Outcome.REFUSED, error.strerror or str(error))
