"""`kube-controlplane`: flags to a running control plane; exits 0 after an orderly stop, 1 with one clear last
line otherwise.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys

from controlplane.flags import BadFlag, Flags, parse


def main() -> None:
    """The console script."""
    try:
        flags = parse(sys.argv[1:])
    except BadFlag as error:
        _say(f"cannot use the command line: because {error} (--help lists the flags)")
        sys.exit(1)
    sys.exit(run(flags))


def run(flags: Flags) -> int:
    """Until told to stop; the exit code."""
    import uvloop

    from aio import log

    _open_many_files()
    log.configure(flags.verbosity, None, "json" if flags.logging_format == "json" else "text")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_stopped(flags))


async def _until_stopped(flags: Flags) -> int:
    from aio.errors import Rejected
    from controlplane.store.errors import StoreError
    from kube.client.settings import BadSettings

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        if flags.has_api:
            from controlplane.process import serve

            ending = await serve(flags, stop)
        else:
            from controlplane.apart import serve_apart

            ending = await serve_apart(flags, stop)
    except (OSError, StoreError, Rejected, BadSettings) as error:
        _say(_reason(error))
        return 1
    for problem in ending.stop_problems:
        _say(f"the stop was not clean: {problem}")
    if ending.loop is not None:
        _say(f"cannot go on: because {ending.reason}")
        return 1
    return 0


def _open_many_files() -> None:
    """Every watch is a descriptor. The soft limit is for programs that use select(2); Go's runtime raises
    it as well."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _reason(error: Exception) -> str:
    """One line; of an OSError without its number, and with the file it is about."""
    if not isinstance(error, OSError):
        return " ".join(str(error).split("\n"))
    because = error.strerror or str(error)
    return f'cannot use "{error.filename}": because {because}' if error.filename else because


def _say(text: str) -> None:
    print(f"kube-controlplane: {text}", file=sys.stderr)  # noqa: T201 - a last line for people


if __name__ == "__main__":
    main()
