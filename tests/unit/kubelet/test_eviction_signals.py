"""Thresholds as the configuration writes them (rules of kubernetes 1.36 pkg/kubelet/eviction)."""

from __future__ import annotations

import pytest

from kubelet.eviction.signals import (
    BadThreshold,
    Layout,
    Limit,
    Signal,
    Threshold,
    ThresholdTexts,
    parse_thresholds,
    with_container_fs,
)

pytestmark = pytest.mark.pure


def texts(**given: dict[str, str]) -> ThresholdTexts:
    empty: dict[str, dict[str, str]] = {"hard": {}, "soft": {}, "soft_grace": {}, "min_reclaim": {}}
    return ThresholdTexts(**(empty | given))


def test_hard_and_soft_thresholds_with_grace_and_reclaim() -> None:
    found = parse_thresholds(
        texts(
            hard={"memory.available": "100Mi", "nodefs.available": "10%"},
            soft={"memory.available": "300Mi"},
            soft_grace={"memory.available": "1m30s"},
            min_reclaim={"memory.available": "50Mi", "nodefs.available": "5%"},
        )
    )
    assert found == (
        Threshold(Signal.MEMORY, Limit("100Mi"), 0.0, Limit("50Mi")),
        Threshold(Signal.NODE_FS, Limit("10%"), 0.0, Limit("5%")),
        Threshold(Signal.MEMORY, Limit("300Mi"), 90.0, Limit("50Mi")),
    )
    assert [one.is_hard for one in found] == [True, True, False]


def test_enforced_pods_get_the_hard_memory_line_too() -> None:
    given = texts(
        hard={"memory.available": "1Gi", "pid.available": "10%"},
        soft={"memory.available": "2Gi"},
        soft_grace={"memory.available": "5s"},
    )
    assert parse_thresholds(given, ["pods"])[3:] == (Threshold(Signal.ALLOCATABLE_MEMORY, Limit("1Gi")),)
    assert len(parse_thresholds(given, ["none"])) == 3


@pytest.mark.parametrize("text", ["0%", "100%"])
def test_nothing_and_everything_switch_a_signal_off(text: str) -> None:
    assert parse_thresholds(texts(hard={"nodefs.available": text})) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hard": {"mem.available": "1"}}, "unsupported eviction signal mem.available"),
        ({"hard": {"memory.available": "0"}}, "must be positive"),
        ({"hard": {"memory.available": "-1Gi"}}, "must be positive"),
        ({"hard": {"nodefs.available": "-5%"}}, ">= 0%"),
        ({"hard": {"nodefs.available": "105%"}}, "<= 100%"),
        ({"hard": {"nodefs.available": "x%"}}, "as a percentage"),
        ({"hard": {"nodefs.available": "nan%"}}, "not a finite number"),
        ({"hard": {"nodefs.available": "big"}}, "quantities must match"),
        ({"soft": {"memory.available": "1Gi"}}, "grace period must be specified for the soft eviction"),
        ({"soft": {"memory.available": "1Gi"}, "soft_grace": {"memory.available": "-5s"}}, "positive value"),
        ({"soft_grace": {"memory.available": "soon"}}, "invalid eviction grace period"),
        ({"min_reclaim": {"memory.available": "-1Gi"}}, "negative eviction minimum reclaim"),
        ({"min_reclaim": {"memory.available": "0%"}}, "minimum reclaim"),
    ],
)
def test_bad_thresholds_are_refused(given: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(BadThreshold, match=message):
        parse_thresholds(texts(**given))


@pytest.mark.parametrize(
    ("text", "capacity", "amount"),
    [("100Mi", 1, 104_857_600), ("10%", 1000, 100), ("5%", 1000, 50), ("12.5%", 80, 10), ("1k", 0, 1000)],
)
def test_limits_are_amounts_or_shares(text: str, capacity: int, amount: int) -> None:
    assert Limit(text).of(capacity) == amount


def test_the_containers_filesystem_takes_the_lines_of_where_it_is() -> None:
    given = parse_thresholds(
        texts(hard={"nodefs.available": "10%", "imagefs.available": "15%", "containerfs.available": "1%"})
    )
    single = with_container_fs(given, Layout.SINGLE)
    apart = with_container_fs(given, Layout.IMAGES_APART)
    assert [one.limit.text for one in single if one.signal is Signal.CONTAINER_FS] == ["10%"]
    assert [one.limit.text for one in apart if one.signal is Signal.CONTAINER_FS] == ["15%"]
