"""The exec check: a command in the container, through whatever runs commands there.

Exit code 0 is success; any other is a failure whose message is the command's output, cut at 10 KiB. Running
into the time-out is a failure too; the runtime kills what it started. Anything else that goes wrong is the
prober's error. Source: kubernetes pkg/probe/exec/exec.go.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from probes.outcome import MAX_OUTPUT_BYTES, Outcome, failure, success, unknown
from probes.spec import ExecCheck

GUARD_SECONDS = 2.0  # a runtime that ignores its own time-out is given up this much later


class ExecOutput(Protocol):
    """What the runtime answers; CRI's ExecSyncResponse fits."""

    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...
    @property
    def exit_code(self) -> int: ...


# (container id, command, time-out in whole seconds). A time-out is a TimeoutError or an error whose `code`
# is the gRPC status name DEADLINE_EXCEEDED, as the runtime adapter raises it.
ExecSync = Callable[[str, tuple[str, ...], int], Awaitable[ExecOutput]]


async def check(target: ExecCheck, container_id: str, timeout: float, exec_sync: ExecSync) -> Outcome:
    """Run `target.command` in `container_id`; `timeout` in seconds, rounded up for the runtime."""
    try:
        async with asyncio.timeout(timeout + GUARD_SECONDS):
            answer = await exec_sync(container_id, target.command, math.ceil(timeout))
    except TimeoutError:
        return _timed_out(target)
    except Exception as error:  # noqa: BLE001 - the runtime's errors are not ours to know; reported, not hidden
        if getattr(error, "code", None) == "DEADLINE_EXCEEDED":
            return _timed_out(target)
        return unknown(str(error) or type(error).__name__)
    output = (answer.stdout + answer.stderr)[:MAX_OUTPUT_BYTES].decode("utf-8", "replace")
    return success(output) if answer.exit_code == 0 else failure(output)


def _timed_out(target: ExecCheck) -> Outcome:
    return failure(f'command "{" ".join(target.command)}" timed out')
