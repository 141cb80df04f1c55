"""`cri-conformance --runtime-endpoint unix:///run/containerd/containerd.sock`: TAP on standard output.

Exit status: 0 when no case failed, 1 when one did, 2 when the suite could not run, 130 when interrupted
(after cleaning up).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
import time
from collections.abc import Sequence

from cri.conformance import tap
from cri.conformance.case import Case
from cri.conformance.cases import ALL
from cri.conformance.real import prepared
from cri.conformance.runner import Outcome, Result, run_cases, select
from cri.errors import CriError
from cri.imagefile import ImageBuildError
from cri.imageload import ImageLoadError

DEFAULT_ENDPOINT = "unix:///run/containerd/containerd.sock"
FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cri-conformance",
        description="Check a container runtime against CRI v1 and print the results as TAP.",
        epilog="Needs the Debian packages catatonit and busybox-static, from which the images of the suite "
        "are made, and the runtime's own import tool: ctr for containerd, skopeo or podman for CRI-O.",
    )
    parser.add_argument("--runtime-endpoint", default=DEFAULT_ENDPOINT, metavar="unix:///PATH")
    parser.add_argument("--image-endpoint", default="", metavar="unix:///PATH", help="if it is another one")
    parser.add_argument("--focus", default="", metavar="RE", help="run only cases whose title matches")
    parser.add_argument("--list", action="store_true", help="print the titles and run nothing")
    return parser.parse_args(arguments)


async def run_all(cases: Sequence[Case], endpoint: str, image_endpoint: str) -> list[Result]:
    results: list[Result] = []
    started = time.monotonic()
    async with prepared(endpoint, image_endpoint) as (target, run):
        print(tap.plan(len(cases)), flush=True)
        async for result in run_cases(cases, target, run):
            results.append(result)
            print(tap.line(len(results), result), flush=True)
    print(tap.summary(results, time.monotonic() - started), flush=True)
    return results


async def until_signalled(cases: Sequence[Case], endpoint: str, image_endpoint: str) -> int:
    """`run_all`; the first SIGINT or SIGTERM stops it in an orderly way, further ones wait for that."""
    task = asyncio.ensure_future(run_all(cases, endpoint, image_endpoint))
    loop = asyncio.get_running_loop()
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if is_stopping:
            print("# still cleaning up", file=sys.stderr, flush=True)
            return
        is_stopping = True
        print("# interrupted: cleaning up", file=sys.stderr, flush=True)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        results = await task
    except asyncio.CancelledError:
        return INTERRUPTED
    return FAILED if any(result.outcome is Outcome.FAILED for result in results) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        cases = select(ALL, options.focus)
    except re.error as error:
        print(f'cri-conformance: cannot use --focus "{options.focus}": because {error}', file=sys.stderr)
        return UNUSABLE
    if options.list:
        for number, case in enumerate(cases, 1):
            print(f"{number:3} {case.title}")
        return 0
    if not cases:
        print(f'cri-conformance: no case matches --focus "{options.focus}"', file=sys.stderr)
        return UNUSABLE
    try:
        return asyncio.run(until_signalled(cases, options.runtime_endpoint, options.image_endpoint))
    except (CriError, ValueError, ImageLoadError, ImageBuildError) as error:
        print(f"cri-conformance: {error}", file=sys.stderr)
        return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
