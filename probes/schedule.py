"""When a probe fires: a fixed grid from the start of its container (pure).

The first probe is due exactly at `started + initial delay`, or at once when that has passed, and the rest
every `period` on that grid, so that how long a check takes never shifts the next one. Two rules keep it
sane: a probe never overlaps itself (a grid point that passed meanwhile fires once, right after), and one that
fired off the grid is followed by the first grid point at least half a period later. What is not ready yet is
asked sooner: a container that has run for a tenth of a second may well be ready after two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SOONEST_RETRY_SECONDS = 0.01  # a refused connection costs a third of a millisecond


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

    def due_soon(self, now: float) -> tuple[float, bool]:
        """As `due_after`, for a container that is not ready: (due time, whether that is off the grid).

        Every grid point fires, and before it whenever as long again has passed as since the first probe.
        Kubernetes may run a readiness probe off its period while a container is not ready, to make the pod
        ready faster (its documentation of periodSeconds).
        """
        grid_point = self._grid_point_from(now + SOONEST_RETRY_SECONDS)
        soon = now + max(SOONEST_RETRY_SECONDS, now - self.first)
        return min(grid_point, soon), soon < grid_point

    def _grid_point_from(self, moment: float) -> float:
        """The earliest grid point at or after `moment`."""
        steps = max(0, math.ceil((moment - self.first) / self.period))
        return self.first + steps * self.period


def make_schedule(started: float, initial_delay: float, period: float) -> Schedule:
    return Schedule(started + initial_delay, period)
