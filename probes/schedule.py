"""When a probe fires: a fixed grid from the start of its container (pure).

The first probe is due exactly at `started + initial delay`, or at once when that has passed, and the rest
every `period` on that grid, so that how long a check takes never shifts the next one. Two rules keep it
sane: a probe never overlaps itself (a grid point that passed meanwhile fires once, right after), and one that
fired off the grid is followed by the first grid point at least half a period later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds on the monotonic scale of the caller; `first` is the first grid point."""

    first: float
    period: float

    def first_due(self, now: float) -> float:
        return max(self.first, now)

    def due_after(self, fired: float, now: float) -> float:
        """The next due time of a probe that last fired at `fired` and is over at `now`."""
        return max(now, self._grid_point_from(fired + self.period / 2))

    def _grid_point_from(self, moment: float) -> float:
        """The earliest grid point at or after `moment`."""
        steps = max(0, math.ceil((moment - self.first) / self.period))
        return self.first + steps * self.period


def make_schedule(started: float, initial_delay: float, period: float) -> Schedule:
    return Schedule(started + initial_delay, period)
