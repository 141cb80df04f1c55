from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aio.backoff import CRASH_BACKOFF, Backoff

pytestmark = pytest.mark.pure


def test_crash_backoff_doubles_from_ten_seconds_to_five_minutes() -> None:
    entry, now, delays = CRASH_BACKOFF, 0.0, []
    for _ in range(8):
        entry, delay = entry.next(now)
        delays.append(delay)
        now += delay
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]


def test_fresh_entry_holds_nobody_off() -> None:
    assert CRASH_BACKOFF.remaining(5.0) == 0.0
    assert not CRASH_BACKOFF.is_in_backoff(5.0)


def test_entry_resets_only_when_idle_for_longer_than_the_limit() -> None:
    entry, _ = CRASH_BACKOFF.next(0.0)
    entry, _ = entry.next(20.0)
    assert entry.next(620.0)[1] == 40
    assert entry.next(620.1)[1] == 10
    assert entry.is_stale(620.1) and not entry.is_stale(620.0)


def test_delay_may_count_from_another_event_than_the_last_update() -> None:
    entry, _ = CRASH_BACKOFF.next(100.0)
    assert entry.remaining(105.0) == 5.0
    assert entry.remaining(155.0, since=150.0) == 5.0
    assert not entry.is_in_backoff(160.0, since=150.0)
    assert entry.remaining(800.0, since=795.0) == 0.0  # ran for longer than the reset time


def test_initial_delay_never_exceeds_a_small_maximum() -> None:
    assert Backoff(initial=10, maximum=1, reset_after=600).next(0)[1] == 1


@given(st.lists(st.floats(0, 5000), max_size=30))
def test_delay_stays_within_bounds_whatever_the_times(gaps: list[float]) -> None:
    entry, now = CRASH_BACKOFF, 0.0
    for gap in gaps:
        now += gap
        before = entry
        entry, delay = entry.next(now)
        assert 10 <= delay <= 300
        assert before.updated_at is None or entry.updated_at == now
        assert entry.remaining(now) == pytest.approx(delay)
