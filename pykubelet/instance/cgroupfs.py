"""Cgroup directories of containers, of every hierarchy, found by name and removed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CRI_PARENT = "k8s.io"
"""Where runc puts containers that were given no cgroup parent: containerd's namespace of CRI."""

_PATIENCE_SECONDS = 5.0


def _directories() -> Iterator[Path]:
    for directory, below, _ in os.walk(ROOT):
        for name in below:
            yield Path(directory, name)


def parents() -> list[str]:
    """The directories that CRI's containers share."""
    return [str(path) for path in _directories() if path.name == CRI_PARENT]


def of_containers(ids: Collection[str]) -> list[Path]:
    """`.../<id>` and, with the systemd driver, `cri-containerd-<id>.scope`."""
    names = {name for id in ids for name in (id, f"cri-containerd-{id}.scope")}
    return [path for path in _directories() if path.name in names] if names else []


def remove(paths: Iterable[Path]) -> None:
    """With all below them; OSError when one is still in use after five seconds."""
    for path in paths:
        for inner, _, _ in os.walk(path, topdown=False):
            _remove_one(Path(inner))


def remove_new_parents(before: Collection[str]) -> None:
    """The shared directories that came after `before` and that nobody uses."""
    for name in parents():
        path = Path(name)
        if name not in before and not any(inner.is_dir() for inner in path.iterdir()):
            _remove_one(path)


def _remove_one(path: Path) -> None:
    # The kernel needs a moment to notice that the last process has gone (EBUSY until then).
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
