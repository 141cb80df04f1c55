"""How soon: sampling near a threshold and the line through the samples."""

from __future__ import annotations

import pytest

from kubelet.eviction.forecast import Trend, fill_rate, is_due, next_sample_in, sampled, seconds_until
from kubelet.eviction.signals import Limit, Observation, Signal, Threshold

pytestmark = pytest.mark.pure

HARD = Threshold(Signal.MEMORY, Limit("100"))
SOFT = Threshold(Signal.MEMORY, Limit("100"), grace_seconds=30)


def falling(start: int, per_second: int, seconds: float = 1.0) -> Trend:
    trend = Trend()
    for tenth in range(round(seconds * 10) + 1):
        trend = sampled(trend, Observation(start - per_second * tenth // 10, 10_000, tenth / 10))
    return trend


@pytest.mark.parametrize(
    ("available", "stalled_at", "wait"),
    [(400, None, 10.0), (399, None, 0.1), (5000, 98.5, 0.1), (5000, 98.0, 10.0), (5000, None, 10.0)],
)
def test_samples_are_close_near_a_threshold_or_while_memory_stalls(
    available: int, stalled_at: float | None, wait: float
) -> None:
    seen = {Signal.MEMORY: Observation(available, 10_000)}
    assert next_sample_in([HARD], seen, 100.0, stalled_at=stalled_at, slow_seconds=10.0) == wait


def test_nothing_measured_is_not_near() -> None:
    assert next_sample_in([HARD], {}, 0.0, stalled_at=None, slow_seconds=10.0) == 10.0


def test_rate_and_time_of_an_even_fall() -> None:
    trend = falling(1000, 400)
    assert fill_rate(trend) == pytest.approx(400)
    assert seconds_until(trend, 100) == pytest.approx(1.25)  # 600 are left
    assert seconds_until(trend, 600) == 0.0


def test_one_odd_sample_does_not_turn_the_line() -> None:
    trend = falling(1000, 400)
    odd = Trend((*trend.samples[:5], (0.5, 900), *trend.samples[6:]))
    assert fill_rate(odd) == pytest.approx(400, rel=0.01)


def test_without_samples_or_with_growing_room_there_is_no_end() -> None:
    assert seconds_until(Trend(), 0) is None
    assert fill_rate(falling(1000, 400, 0.1)) is None
    assert seconds_until(falling(1000, -400), 100) is None
    assert not is_due(Trend(), HARD, 10_000, 1.0)


def test_samples_leave_with_the_window_and_old_news_is_dropped() -> None:
    trend = falling(1000, 100, 3.0)
    assert (trend.samples[0][0], trend.samples[-1][0]) == (2.0, 3.0)
    assert sampled(trend, Observation(1, 1, 3.0)) is trend


@pytest.mark.parametrize(
    ("trend", "threshold", "due"),
    [
        (falling(1000, 905), HARD, True),  # 95 left
        (falling(1000, 700), HARD, True),  # 300 left, gone in 0.43 s
        (falling(1000, 700), SOFT, False),  # soft ones have their grace
        (falling(1000, 500), HARD, False),  # 500 left, gone in 1 s
        (falling(150, 0), HARD, False),
    ],
)
def test_eviction_starts_at_the_line_or_when_a_stop_would_come_too_late(
    trend: Trend, threshold: Threshold, due: bool
) -> None:
    assert is_due(trend, threshold, 10_000, reaction_seconds=0.5) is due
