"""Results as the Test Anything Protocol, version 13: pure text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from cri.conformance.runner import Outcome, Result


def plan(count: int) -> str:
    return f"TAP version 13\n1..{count}"


def line(number: int, result: Result) -> str:
    """One result; a failure is followed by its diagnosis as a YAML block (JSON strings are YAML)."""
    title = result.case.title.replace("#", "")
    match result.outcome:
        case Outcome.PASSED:
            return f"ok {number} - {title}"
        case Outcome.SKIPPED:
            return f"ok {number} - {title} # SKIP {result.message}"
        case Outcome.FAILED:
            return "\n".join(
                (
                    f"not ok {number} - {title}",
                    "  ---",
                    f"  message: {json.dumps(result.message, ensure_ascii=False)}",
                    f"  seconds: {result.seconds:.2f}",
                    "  ...",
                )
            )


def summary(results: Iterable[Result], seconds: float) -> str:
    counts = Counter(result.outcome for result in results)
    parts = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    return f"# {counts.total()} cases: {parts}; {seconds:.1f} s"
