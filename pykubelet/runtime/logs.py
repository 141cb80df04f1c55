"""`pykubelet logs`: a container's log file, read and followed where the runtime writes it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from argparse import Namespace
from pathlib import Path

from cri.enums import ContainerState
from cri.errors import CriError, NotFound
from cri.logfollow import stream_log
from cri.logs import STDERR, LogOptions
from cri.types import Container, ContainerStatus
from cri.wire import Runtime
from pykubelet.errors import CommandError
from pykubelet.runtime.connecting import look, run_connected
from pykubelet.runtime.selection import Seen, earlier_run, find_container
from pykubelet.tables import parse_age

# How often a followed container is asked whether it has ended; its log itself is watched by inotify.
END_CHECK_SECONDS = 0.5
_NANOSECONDS = 1_000_000_000
_ATTEMPT_FILE = re.compile(r"^(\d+)\.log$")


def logs(args: Namespace) -> int:
    options = make_options(args, time.time())
    return run_connected(args, lambda runtime: _logs(runtime, args, options))


def make_options(args: Namespace, now: float) -> LogOptions:
    """The reader's options; `now` in unix seconds. CommandError for values that cannot be."""
    since = None
    if args.since is not None:
        try:
            since = int((now - parse_age(args.since)) * _NANOSECONDS)
        except ValueError as error:
            raise CommandError(f"cannot read logs since then: because {error}", exit_code=2) from error
    if args.tail is not None and args.tail < 0:
        raise CommandError(
            f"cannot read the last {args.tail} lines: because that is less than none", exit_code=2
        )
    return LogOptions(
        tail_lines=args.tail,
        since_ns=since,
        timestamps=args.timestamps,
        follow=args.follow and not args.previous,
    )


async def _logs(runtime: Runtime, args: Namespace, options: LogOptions) -> int:
    seen = await look(runtime)
    container = find_container(seen, args.name, args.container)
    if container is None:
        raise CommandError(
            f'cannot read logs of "{args.name}": because the runtime has no such pod or container'
        )
    status = (await runtime.runtime.container_status(container.id)).status
    path = Path(status.log_path) if status.log_path else None
    if path is not None and args.previous:
        path = await _previous_path(runtime, seen, container, path)
    if path is None:
        raise CommandError(
            f'cannot read logs of "{args.name}": because the runtime writes none for this container'
        )
    await _print(runtime, status, path, options)
    return 0


async def _previous_path(runtime: Runtime, seen: Seen, container: Container, path: Path) -> Path:
    """The log of the last run that ended: this one's when it has, else that of the run before.

    The runtime says where it is, or else the agent's file name for that attempt does.
    """
    if container.state == ContainerState.CONTAINER_EXITED and container.metadata.attempt > 0:
        return path
    earlier = earlier_run(seen, container)
    if earlier is not None:
        said = (await runtime.runtime.container_status(earlier.id)).status.log_path
        if said:
            return Path(said)
    matched = _ATTEMPT_FILE.match(path.name)
    before = path.with_name(f"{int(matched[1]) - 1}.log") if matched else None
    if before is None or not before.exists():
        raise CommandError(
            f'cannot read the previous log of container "{container.metadata.name}": because no earlier run '
            "of it is left"
        )
    return before


async def _print(runtime: Runtime, status: ContainerStatus, path: Path, options: LogOptions) -> None:
    finished = asyncio.Event()
    watcher = asyncio.create_task(_watch_end(runtime, status.id, finished)) if options.follow else None
    sys.stdout.flush()
    try:
        async for chunks in stream_log(path, options, asyncio.to_thread, finished):
            for chunk in chunks:
                write_all(2 if chunk.stream == STDERR else 1, chunk.data)
            if watcher is not None and watcher.done():
                watcher.result()
    except FileNotFoundError as error:
        raise CommandError(f'cannot read "{path}": because it is not there') from error
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


async def _watch_end(runtime: Runtime, container_id: str, finished: asyncio.Event) -> None:
    """Set `finished` when the container has ended, is gone, or the runtime cannot be asked any more."""
    try:
        while True:
            status = (await runtime.runtime.container_status(container_id)).status
            if status.state == ContainerState.CONTAINER_EXITED:
                return
            await asyncio.sleep(END_CHECK_SECONDS)
    except NotFound:
        return
    except CriError as error:
        print(f"pykubelet: following ends: {error}", file=sys.stderr)
    finally:
        finished.set()


def write_all(descriptor: int, data: bytes) -> None:
    """All of it, past any buffer of Python's."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
