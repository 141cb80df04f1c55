"""`pykubelet exec`: one command in a container, its streams and its exit code passed through."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import ExitStack

from cri.enums import ContainerState
from cri.service import Streams
from cri.streaming import Channel, SessionEnds, run_session
from cri.types import Container
from cri.wire import Runtime
from pykubelet.errors import CommandError
from pykubelet.runtime.connecting import look, run_connected
from pykubelet.runtime.logs import write_all
from pykubelet.runtime.selection import find_container
from pykubelet.runtime.terminal import is_terminal, raw_terminal, read_stdin, terminal_sizes


def execute(args: Namespace) -> int:
    if not args.command:
        raise CommandError(
            "cannot run a command: because none is given; write `pykubelet exec NAME -- CMD ARG...`",
            exit_code=2,
        )
    return run_connected(args, lambda runtime: _execute(runtime, args))


async def _execute(runtime: Runtime, args: Namespace) -> int:
    container = find_container(await look(runtime), args.name, args.container)
    if container is None:
        raise CommandError(
            f'cannot run a command in "{args.name}": because the runtime has no such pod or container'
        )
    _check_running(container)
    has_terminal = args.tty and args.stdin and is_terminal(sys.stdin.fileno())
    if args.tty and args.stdin and not has_terminal:
        # A terminal has no end of input: a pipe behind one would never end, or take the output with it.
        print("no terminal for the command: because standard input is none", file=sys.stderr)
    is_tty = args.tty and (has_terminal or not args.stdin)
    streams = Streams(stdin=args.stdin, stdout=True, stderr=not is_tty, tty=is_tty)
    url = await runtime.runtime.exec(container.id, args.command, streams)
    sys.stdout.flush()
    with ExitStack() as stack:
        if has_terminal:
            stack.enter_context(raw_terminal(sys.stdin.fileno()))
        ends = SessionEnds(
            output=_show,
            stdin=read_stdin() if args.stdin else None,
            sizes=terminal_sizes(sys.stdin.fileno()) if has_terminal else None,
        )
        code = await run_session(url, streams, ends)
    if code is None:
        raise CommandError(
            f'cannot tell how the command in "{args.name}" ended: because the runtime cut the session off'
        )
    return code


def _check_running(container: Container) -> None:
    if container.state != ContainerState.CONTAINER_RUNNING:
        state = container.state.name.removeprefix("CONTAINER_").lower()
        raise CommandError(
            f'cannot run a command in container "{container.metadata.name}": because it does not run '
            f"(state {state})"
        )


def _show(channel: Channel, data: bytes) -> None:
    write_all(2 if channel is Channel.STDERR else 1, data)
