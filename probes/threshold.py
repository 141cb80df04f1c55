"""Turning single outcomes into a result: consecutive successes or failures against thresholds (pure).

Source: kubernetes pkg/kubelet/prober/worker.go doProbe. A result changes only when its run is long enough; an
error of the prober counts for nothing. Liveness holds after it failed, startup after it reached either end:
nothing more is asked of that container, since its replacement is under way or the question is settled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from probes.outcome import Outcome, ProbeKind, Verdict

# Before the first result: worker.go newWorker.
INITIAL_RESULT: dict[ProbeKind, bool | None] = {"readiness": False, "liveness": True, "startup": None}


@dataclass(frozen=True, slots=True)
class Counter:
    """`result` is what the agent acts on: healthy, not, or None for not known yet."""

    kind: ProbeKind
    success_threshold: int
    failure_threshold: int
    result: bool | None
    last: bool | None = None
    run: int = 0
    is_held: bool = False
    is_settled: bool = False  # a run was long enough at least once, so `result` is not the initial value

    def observe(self, outcome: Outcome) -> Counter:
        """The counter after one more outcome. Compare `result` to see a change."""
        if outcome.verdict is Verdict.UNKNOWN or self.is_held:
            return self
        healthy = outcome.is_success
        run = self.run + 1 if self.last is healthy else 1
        needed = self.success_threshold if healthy else self.failure_threshold
        if run < needed:
            return replace(self, last=healthy, run=run)
        holds = self.kind == "startup" or (self.kind == "liveness" and not healthy)
        return replace(
            self, last=healthy, run=0 if holds else run, result=healthy, is_held=holds, is_settled=True
        )


def new_counter(
    kind: ProbeKind, success_threshold: int, failure_threshold: int, *, seed: bool | None = None
) -> Counter:
    """`seed` is the result known from before (an adopted container), else upstream's initial value.

    A startup probe seeded as succeeded has nothing left to ask.
    """
    result = INITIAL_RESULT[kind] if seed is None else seed
    is_held = kind == "startup" and seed is True
    return Counter(kind, success_threshold, failure_threshold, result, is_held=is_held)
