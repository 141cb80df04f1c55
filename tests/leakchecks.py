"""What every test must give back: asyncio tasks and file descriptors.

Mechanism: a coroutine test is wrapped, and the tasks that exist at its end but not at its beginning are its
leak; open descriptors are compared before and after each test. Promise: cheap enough to run always (one
directory listing each), and a leak is named by what it is. The loops under virtual time check their own tasks
(`aio.virtual.run`).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

# gRPC keeps a poller, a socket pair and event descriptors for the life of the process once it is used.
GRPC_KEEPS = ("socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]")
NOT_OURS = ("/dev/null", "/dev/urandom", "/dev/pts/")
TURNS_TO_FINISH = 3
"""Loop turns that a cancelled task gets to end in; one that needs more is still at work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _without_pending_tasks(item.obj)


def _without_pending_tasks(
    test: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        for _ in range(TURNS_TO_FINISH):
            pending = asyncio.all_tasks() - before
            if not pending:
                return
            await asyncio.sleep(0)
        names = sorted(f"{task.get_name()}: {task.get_coro()}" for task in pending)
        raise AssertionError("the test left tasks running:\n  " + "\n  ".join(names))

    return checked


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    before = _descriptors()
    yield
    leaked = _leaked(before)
    if leaked:
        # An object that only waits for the collector to close it is not a leak of ours.
        gc.collect()
        leaked = _leaked(before)
    assert not leaked, f"the test left descriptors open: {leaked}"


def _leaked(before: dict[int, str]) -> dict[int, str]:
    kept = GRPC_KEEPS if "grpc" in sys.modules else ()
    return {
        number: target
        for number, target in _descriptors().items()
        if before.get(number) != target and not target.startswith((*kept, *NOT_OURS))
    }


def _descriptors() -> dict[int, str]:
    """Open descriptors of this process and what each is."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        try:
            found[int(path.name)] = str(path.readlink())
        except FileNotFoundError:
            continue  # the listing's own descriptor
    return found
