"""How soon a resource will be short, from closely spaced samples: act before the kernel has to (pure).

Far from every threshold the slow poll is enough. Below NEAR_FACTOR times a threshold, or while the kernel
reports stalls (PSI), samples come every FAST_SECONDS and a line is fitted through the last WINDOW_SECONDS of
them. Eviction starts at the threshold, or when the line says that nothing at all will be left before the stop
of a pod could take effect: waiting for the threshold would then be too late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kubelet.eviction.pressure import Observations
from kubelet.eviction.signals import Observation, Threshold

NEAR_FACTOR = 4
FAST_SECONDS = 0.1
WINDOW_SECONDS = 1.0
STALL_HOLD_SECONDS = 2.0  # after a PSI trigger (one per window of at most 2 s) samples stay close this long
LEAST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Trend:
    """The last samples of one signal, oldest first: (monotonic seconds, available)."""

    samples: tuple[tuple[float, int], ...] = ()


def is_near(thresholds: Iterable[Threshold], seen: Observations) -> bool:
    """Whether some measured signal is below NEAR_FACTOR times one of its thresholds."""
    return any(
        seen[one.signal].available < NEAR_FACTOR * one.limit.of(seen[one.signal].capacity)
        for one in thresholds
        if one.signal in seen
    )


def next_sample_in(
    thresholds: Iterable[Threshold],
    seen: Observations,
    now: float,
    *,
    stalled_at: float | None,
    slow_seconds: float,
) -> float:
    """Seconds until the next measurement. `stalled_at`: when PSI last triggered, None = never."""
    stalls = stalled_at is not None and now - stalled_at < STALL_HOLD_SECONDS
    return FAST_SECONDS if stalls or is_near(thresholds, seen) else slow_seconds


def sampled(trend: Trend, seen: Observation) -> Trend:
    """With one sample more; what is older than the window, or not newer than the last, is left out."""
    if trend.samples and seen.at <= trend.samples[-1][0]:
        return trend
    kept = tuple(one for one in trend.samples if seen.at - one[0] <= WINDOW_SECONDS)
    return Trend((*kept, (seen.at, seen.available)))


def fill_rate(trend: Trend) -> float | None:
    """Units per second that availability falls by (least squares); negative = it grows; None = too few."""
    if len(trend.samples) < LEAST_SAMPLES:
        return None
    count = len(trend.samples)
    middle = sum(at for at, _ in trend.samples) / count
    level = sum(available for _, available in trend.samples) / count
    spread = sum((at - middle) ** 2 for at, _ in trend.samples)
    slope = sum((at - middle) * (available - level) for at, available in trend.samples) / spread
    return -slope


def seconds_until(trend: Trend, line: int) -> float | None:
    """When availability will be at `line`, from the last sample on; 0 = is there; None = not falling."""
    if not trend.samples:
        return None
    available = trend.samples[-1][1]
    if available <= line:
        return 0.0
    rate = fill_rate(trend)
    return (available - line) / rate if rate is not None and rate > 0 else None


def is_due(trend: Trend, threshold: Threshold, capacity: int, reaction_seconds: float) -> bool:
    """Whether to start now: at the threshold, or when all will be gone within the time a stop takes."""
    if not trend.samples:
        return False
    if trend.samples[-1][1] < threshold.limit.of(capacity):
        return True
    left = seconds_until(trend, 0)
    return threshold.is_hard and left is not None and left <= reaction_seconds
