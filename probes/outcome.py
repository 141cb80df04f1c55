"""What one check found, and the words users read about it (pure).

Source of the texts: kubernetes pkg/kubelet/prober/prober.go and pkg/probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

ProbeKind = Literal["liveness", "readiness", "startup"]

MAX_OUTPUT_BYTES = 10 << 10  # pkg/probe/http/http.go maxRespBodyLength, pkg/probe/exec/exec.go maxReadLength


class Verdict(StrEnum):
    """`UNKNOWN` is an error of the prober itself: it says nothing about the container."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`message` is the target's output or the error, in the form upstream reports it."""

    verdict: Verdict
    message: str = ""

    @property
    def is_success(self) -> bool:
        """A warning counts as success (a redirect that leaves the host)."""
        return self.verdict in (Verdict.SUCCESS, Verdict.WARNING)


def success(message: str = "") -> Outcome:
    return Outcome(Verdict.SUCCESS, message)


def warning(message: str) -> Outcome:
    return Outcome(Verdict.WARNING, message)


def failure(message: str) -> Outcome:
    return Outcome(Verdict.FAILURE, message)


def unknown(message: str) -> Outcome:
    return Outcome(Verdict.UNKNOWN, message)


def event_message(kind: ProbeKind, outcome: Outcome) -> str:
    """The text of the `Unhealthy` or `ProbeWarning` Event; empty for a success, which has none."""
    name = kind.capitalize()
    match outcome.verdict:
        case Verdict.FAILURE:
            return f"{name} probe failed: {outcome.message}"
        case Verdict.WARNING:
            return f"{name} probe warning: {outcome.message}"
        case Verdict.UNKNOWN:
            return f"{name} probe errored and resulted in {outcome.verdict} state: {outcome.message}"
        case Verdict.SUCCESS:
            return ""
