"""A token bucket (pure): how long a call must wait so that calls keep to a rate, in the order they came."""

from __future__ import annotations


class TokenBucket:
    """`qps` tokens a second, `burst` at most; qps <= 0 never waits. Times are monotonic seconds."""

    def __init__(self, qps: float, burst: int) -> None:
        self._qps = qps
        self._burst = float(max(1, burst))
        self._tokens = self._burst
        self._at: float | None = None

    def take(self, now: float) -> float:
        """One token, perhaps of the future: seconds until it is there."""
        if self._qps <= 0:
            return 0.0
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._qps)
        self._at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._qps)
