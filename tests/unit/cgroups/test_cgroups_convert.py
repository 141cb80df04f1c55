"""Formulas against literals worked out by hand."""

from __future__ import annotations

import pytest

from cgroups.convert import (
    burstable_oom_score_adj,
    quota_from_milli_cpu,
    shares_from_milli_cpu,
    weight_from_shares,
)

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("milli", "shares"), [(0, 2), (1, 2), (2, 2), (100, 102), (250, 256), (1000, 1024), (300_000, 262_144)]
)
def test_shares_follow_the_request_within_the_kernels_bounds(milli: int, shares: int) -> None:
    assert shares_from_milli_cpu(milli) == shares


@pytest.mark.parametrize(
    ("milli", "period", "quota"),
    [(0, 100_000, 0), (5, 100_000, 1000), (10, 100_000, 1000), (500, 100_000, 50_000), (200, 10_000, 2000)],
)
def test_quota_is_never_below_one_millisecond(milli: int, period: int, quota: int) -> None:
    assert quota_from_milli_cpu(milli, period) == quota


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 0), (2, 1), (102, 4), (1024, 39), (262_143, 9999), (262_144, 10_000)]
)
def test_weight_is_linear_in_shares(shares: int, weight: int) -> None:
    assert weight_from_shares(shares) == weight


@pytest.mark.parametrize(
    ("asked", "capacity", "score"),
    [(0, 8 << 30, 999), (1 << 20, 8 << 30, 999), (4 << 30, 8 << 30, 500), (8 << 30, 8 << 30, 3), (1, 0, 999)],
)
def test_burstable_score_stays_between_guaranteed_and_best_effort(
    asked: int, capacity: int, score: int
) -> None:
    assert burstable_oom_score_adj(asked, capacity) == score
