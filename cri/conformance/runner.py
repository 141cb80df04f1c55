"""Runs cases one after the other and tells how each went; always cleans up, also when interrupted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from cri.conformance.case import Case, CaseFailed
from cri.conformance.context import Context, Run, Target
from cri.errors import CriError, Unimplemented

CASE_TIMEOUT_SECONDS = 90.0


class Outcome(Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    case: Case
    outcome: Outcome
    seconds: float
    message: str = ""


def select(cases: Sequence[Case], focus: str = "") -> tuple[Case, ...]:
    """The cases whose title matches the regular expression `focus` somewhere; re.error when it is none."""
    pattern = re.compile(focus, re.IGNORECASE)
    return tuple(case for case in cases if pattern.search(case.title))


async def run_cases(cases: Iterable[Case], target: Target, run: Run) -> AsyncIterator[Result]:
    for case in cases:
        yield await run_case(case, target, run)


async def run_case(case: Case, target: Target, run: Run) -> Result:
    """One case, in a context of its own, with everything it made removed before the result is given.

    Never raises for what the runtime does. Cancelled, it cleans up first and then lets itself be cancelled.
    """
    ctx = Context(target, run)
    started = target.clock.monotonic()
    outcome, message = await _judge(case, ctx)
    cleaning = await _clean(ctx)
    if cleaning and outcome is not Outcome.FAILED:
        outcome, message = Outcome.FAILED, cleaning
    return Result(case, outcome, target.clock.monotonic() - started, message)


async def _judge(case: Case, ctx: Context) -> tuple[Outcome, str]:
    try:
        async with asyncio.timeout(CASE_TIMEOUT_SECONDS):
            await case.body(ctx)
    except CaseFailed as error:
        return Outcome.FAILED, str(error)
    except Unimplemented as error:
        if case.may_lack:
            return Outcome.SKIPPED, f"{case.may_lack} is not implemented by this runtime"
        return Outcome.FAILED, f"a call that every runtime must serve: {error}"
    except CriError as error:
        return Outcome.FAILED, f"a call failed that should work: {error.code} {error}"
    except TimeoutError:
        return Outcome.FAILED, f"the case took over {CASE_TIMEOUT_SECONDS:g} s"
    except OSError as error:
        return Outcome.FAILED, f"the case could not do its part: {error}"
    except asyncio.CancelledError:
        await _clean(ctx)
        raise
    return Outcome.PASSED, ""


async def _clean(ctx: Context) -> str:
    """ "" when all that the case made is gone, else why it is not."""
    try:
        async with asyncio.timeout(CASE_TIMEOUT_SECONDS):
            await ctx.clean_up()
    except (CriError, TimeoutError) as error:
        return f"what the case made could not be removed: {error or 'it took too long'}"
    return ""
