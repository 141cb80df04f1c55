"""The console script: parse, import the one command that was asked for, run it, turn failures into sentences.

Exit codes: 0 done, 1 could not, 2 wrong usage, 3 (`status`) not up; `exec` passes on its command's own.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from pykubelet.cli import make_parser, split_command
from pykubelet.errors import CommandError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE


def main() -> None:
    """Run `sys.argv` and exit."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    words, command = split_command(argv)
    parser = make_parser()
    args = parser.parse_args(words)
    if args.handler is None:
        parser.print_help()
        return 2
    args.command = command
    module, _, function = args.handler.partition(":")
    handler: Callable[..., int] = getattr(importlib.import_module(module), function)
    try:
        code = handler(args)
        sys.stdout.flush()
    except CommandError as error:
        print(f"pykubelet: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; the interpreter's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


if __name__ == "__main__":
    main()
