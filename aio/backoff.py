"""Exponential back-off as an immutable value (pure).

The rule is the Kubernetes client's: the first event sets the initial delay, each later one multiplies it up
to a ceiling, and an entry that was idle longer than `reset_after` starts again. The owner keeps the entry
and replaces it with what `next()` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """All durations and moments in seconds, on whatever scale the caller uses for `now`."""

    initial: float
    maximum: float
    reset_after: float
    factor: float = 2.0
    delay: float = 0.0
    updated_at: float | None = None

    def next(self, now: float) -> tuple[Backoff, float]:
        """One more event at `now`: the new entry, and how long to hold off from `now`."""
        if self.updated_at is None or self.is_stale(now):
            delay = min(self.initial, self.maximum)
        else:
            delay = min(self.delay * self.factor, self.maximum)
        return replace(self, delay=delay, updated_at=now), delay

    def is_stale(self, now: float) -> bool:
        """Idle for longer than `reset_after`: counts as new, and may be forgotten."""
        return self.updated_at is not None and now - self.updated_at > self.reset_after

    def remaining(self, now: float, *, since: float | None = None) -> float:
        """Seconds still to hold off, 0.0 when free.

        `since` moves the start of the delay to another event, as upstream counts a crash back-off from
        the moment the container finished instead of from the last restart.
        """
        if self.updated_at is None:
            return 0.0
        start = self.updated_at if since is None else since
        if self.is_stale(start):
            return 0.0
        return max(0.0, start + self.delay - now)

    def is_in_backoff(self, now: float, *, since: float | None = None) -> bool:
        return self.remaining(now, since=since) > 0.0


# Container restarts: pkg/kubelet/kubelet.go, MaxCrashLoopBackOff and its initial and reset durations.
CRASH_BACKOFF = Backoff(initial=10.0, maximum=300.0, reset_after=600.0)
