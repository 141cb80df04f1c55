"""A small histogram of how late probes fired (pure state, no clock): for /debug, metrics and bench."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

# Upper bounds in seconds; the last bucket is open.
BOUNDS_SECONDS = (0.001, 0.002, 0.005, 0.010, 0.020, 0.050, 0.100, 0.200, 0.500, 1.0, 5.0)


@dataclass(slots=True)
class Lateness:
    """`counts[i]` are the probes with `BOUNDS_SECONDS[i-1] < lateness <= BOUNDS_SECONDS[i]`."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    total_seconds: float = 0.0
    worst_seconds: float = 0.0

    def note(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.total_seconds += seconds
        self.worst_seconds = max(self.worst_seconds, seconds)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """An upper bound in seconds for the lateness of `share` (0 to 1) of the probes; 0.0 without any."""
        wanted = share * self.count
        seen = 0
        for bound, count in zip((*BOUNDS_SECONDS, self.worst_seconds), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return min(bound, self.worst_seconds)
        return 0.0

    def clear(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.total_seconds = self.worst_seconds = 0.0
