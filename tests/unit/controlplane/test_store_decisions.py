"""The store's pure parts: what a transaction does, how far history is compacted, where a prefix ends."""

from __future__ import annotations

import pytest

from controlplane.store.decide import Standing, decide
from controlplane.store.errors import Conflict, Exists, NotFound
from controlplane.store.hub import Hub, Range
from controlplane.store.model import Check, Create, Delete, EventKind, Operation, Record, Update, prefix_end
from controlplane.store.position import first_of, revision_of
from controlplane.store.retention import Retention, Sample, noted, target, target_by_size

pytestmark = pytest.mark.pure
STORED = Record("/a", b"old", 3, 7)


def standing(key: str) -> Standing:
    return Standing(STORED, 500.0) if key == "/a" else Standing()


def test_update_keeps_creation_and_expiry_unless_it_brings_a_ttl() -> None:
    (kept,) = decide([Update("/a", b"new", 7)], standing, 9, 100.0)
    assert kept.event.record == Record("/a", b"new", 3, 9)
    assert (kept.event.kind, kept.event.previous, kept.expires) == (EventKind.PUT, STORED, 500.0)
    (renewed,) = decide([Update("/a", b"new", 7, ttl=60)], standing, 9, 100.0)
    assert renewed.expires == 160.0


def test_deletion_ends_the_expiry_and_shows_what_it_ended() -> None:
    (change,) = decide([Delete("/a")], standing, 9, 100.0)
    assert (change.event.record, change.event.previous, change.expires) == (STORED, STORED, None)
    assert change.event.revision == 9


def test_conditions_make_no_changes() -> None:
    assert decide([Check("/a", 7), Check("/b", 0)], standing, 9, 0.0) == []


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (Create("/a", b""), Exists),
        (Update("/a", b"", 6), Conflict),
        (Delete("/a", 8), Conflict),
        (Check("/a", 0), Conflict),
        (Check("/b", 7), Conflict),
        (Update("/b", b"", 7), NotFound),
        (Delete("/b"), NotFound),
    ],
)
def test_first_operation_that_cannot_be_done_is_the_answer(
    operation: Operation, error: type[Exception]
) -> None:
    with pytest.raises(error):
        decide([Create("/c", b""), operation, Create("/a", b"")], standing, 9, 0.0)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("/a/", "/a0"),
        ("a\ud7ff", "a\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff\U0010ffff", None),
    ],
)
def test_prefix_ends_where_the_next_character_begins(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


def test_positions_of_a_transaction_lie_between_two_revisions() -> None:
    assert first_of(7) == 7 * 128
    assert revision_of(first_of(8) - 1) == 7
    assert revision_of(first_of(8)) == 8


SAMPLES = [Sample(0, 1000, 0), Sample(100, 3000, 50), Sample(200, 6000, 500), Sample(300, 9000, 900)]


@pytest.mark.parametrize(
    ("at", "revision", "expected"),
    [
        (299, 9000, 0),
        (300, 9000, 1000),
        (450, 20_000, 3000),
        (5000, 20_000, 9000),
        (5000, 9500, 8500),
        (5000, 900, -100),
    ],
)
def test_history_is_kept_for_a_time_and_for_a_number_of_revisions(
    at: float, revision: int, expected: int
) -> None:
    retention = Retention(revisions=1000, seconds=300)
    assert target(SAMPLES, Sample(at, revision, 1000), retention) == expected


def test_history_that_is_too_large_is_cut_however_young_it_is() -> None:
    retention = Retention(revisions=1000, seconds=300, bytes=600)
    latest = Sample(301, 9500, 1000)
    assert target_by_size(SAMPLES, latest, retention) == 3000
    assert target_by_size(SAMPLES, latest._replace(written=600), retention) == 0
    assert target_by_size(SAMPLES, latest._replace(written=9000), retention) == 8500


def test_samples_of_a_quiet_store_do_not_pile_up() -> None:
    samples = noted([], Sample(0, 5, 0), 0)
    for at in range(1, 100):
        samples = noted(samples, Sample(at, 5, 0), 0)
    assert samples == [Sample(0, 5, 0)]
    assert noted(samples, Sample(200, 6, 10), 5) == [Sample(200, 6, 10)]


def test_hub_forgets_a_prefix_with_its_last_watch() -> None:
    async def no_history(wanted: Range) -> object:
        raise AssertionError(wanted)

    hub = Hub(1, no_history)  # type: ignore[arg-type]
    watch = hub.watch("/a/", 2)
    assert list(hub._watches) == ["/a/"]
    hub.forget(watch)
    hub.forget(watch)
    assert hub._watches == {}
