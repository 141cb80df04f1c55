"""A token bucket as a value (pure): how many pulls may start now, and what is left afterwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bucket:
    """`tokens` at the moment `at` (monotonic seconds), filled at `per_second` up to `burst`."""

    per_second: float
    burst: int
    tokens: float
    at: float

    def take(self, now: float) -> tuple[Bucket, bool]:
        """One token when there is one; a rate of 0 never refuses."""
        if self.per_second <= 0:
            return self, True
        tokens = min(float(self.burst), self.tokens + (now - self.at) * self.per_second)
        if tokens < 1.0:
            return Bucket(self.per_second, self.burst, tokens, now), False
        return Bucket(self.per_second, self.burst, tokens - 1.0, now), True


def full_bucket(per_second: float, burst: int, now: float) -> Bucket:
    return Bucket(per_second, burst, float(burst), now)
