"""What every store does, whatever its engine: the same questions to each, with answers written out here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from aio.clock import SystemClock
from controlplane.store.errors import (
    Closed,
    Compacted,
    Conflict,
    Exists,
    FutureRevision,
    Invalid,
    NotFound,
    TooLarge,
)
from controlplane.store.memory import MemoryStore
from controlplane.store.model import (
    MAX_REQUEST_BYTES,
    Check,
    Create,
    Delete,
    Event,
    EventKind,
    Progress,
    Record,
    Store,
    Update,
    Watch,
    continue_key,
)
from controlplane.store.sqlite import Settings, SqliteStore, open_store

pytestmark = pytest.mark.conformance
Engine = MemoryStore | SqliteStore
"""What both engines have beyond the protocol: `expire_due`, so that no test waits for an expiry."""
BUFFER = 8
"""Small, so that a slow reader is one of these tests."""


class SettableClock(SystemClock):
    """The real clocks, with a calendar that a test moves ahead."""

    ahead = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[Engine]:
    if request.param == "memory":
        made: Engine = MemoryStore(clock=clock, watch_buffer=BUFFER)
    else:
        made = await open_store(tmp_path / "store.db", clock=clock, settings=Settings(watch_buffer=BUFFER))
    yield made
    await made.close()


async def drain(watch: Watch) -> list[Event]:
    """Every event up to the present."""
    watch.request_progress()
    events: list[Event] = []
    async with asyncio.timeout(10):
        async for item in watch:
            if isinstance(item, Progress):
                return events
            events.append(item)
    raise AssertionError("the watch ended")


def seen(events: list[Event]) -> list[tuple[str, str, bytes, int]]:
    return [(event.kind.value, event.record.key, event.record.value, event.revision) for event in events]


async def keys(store: Store, prefix: str, **options: int) -> list[str]:
    return [record.key for record in (await store.list(prefix, **options)).records]  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_empty_store_is_at_revision_one_and_lists_nothing(store: Store) -> None:
    assert await store.revision() == 1
    page = await store.list("")
    assert (page.records, page.revision, page.more, page.remaining) == ((), 1, False, 0)
    assert await store.get("/a") is None


@pytest.mark.asyncio
async def test_record_knows_who_made_it_and_who_wrote_it_last(store: Store) -> None:
    assert await store.create("/a", b"one") == 2
    assert await store.create("/b", b"") == 3
    assert await store.update("/a", b"two", 2) == 4
    assert await store.get("/a") == Record("/a", b"two", 2, 4)
    assert await store.get("/b") == Record("/b", b"", 3, 3)
    assert await store.revision() == 4


@pytest.mark.asyncio
async def test_key_created_again_after_its_deletion_starts_anew(store: Store) -> None:
    await store.create("/a", b"one")
    deleted = await store.delete("/a")
    assert (deleted.record, deleted.revision) == (Record("/a", b"one", 2, 2), 3)
    assert await store.get("/a") is None
    await store.create("/a", b"two")
    assert await store.get("/a") == Record("/a", b"two", 4, 4)


@pytest.mark.asyncio
async def test_existing_key_is_not_created_and_its_record_comes_with_the_refusal(store: Store) -> None:
    await store.create("/a", b"one")
    with pytest.raises(Exists, match='cannot create "/a": it exists at revision 2') as refused:
        await store.create("/a", b"two")
    assert refused.value.current == Record("/a", b"one", 2, 2)
    assert await store.revision() == 2


@pytest.mark.asyncio
async def test_stale_update_and_deletion_are_conflicts_that_show_what_is_there(store: Store) -> None:
    await store.create("/a", b"one")
    await store.update("/a", b"two", 2)
    stale: list[Callable[[], Awaitable[object]]] = [
        lambda: store.update("/a", b"x", 2),
        lambda: store.delete("/a", 2),
    ]
    for write in stale:
        with pytest.raises(Conflict, match="expected at revision 2, it is at revision 3") as refused:
            await write()
        assert refused.value.current == Record("/a", b"two", 2, 3)
    assert await store.get("/a") == Record("/a", b"two", 2, 3)


@pytest.mark.asyncio
async def test_missing_key_is_neither_updated_nor_deleted(store: Store) -> None:
    for revision in (0, 5):
        with pytest.raises(NotFound, match='"/a" not found'):
            await store.update("/a", b"", revision)
        with pytest.raises(NotFound):
            await store.delete("/a", revision)
    assert await store.revision() == 1


@pytest.mark.asyncio
async def test_update_and_deletion_that_expect_nothing_always_pass(store: Store) -> None:
    await store.create("/a", b"one")
    assert await store.update("/a", b"two", 0) == 3
    assert (await store.delete("/a")).record.value == b"two"


@pytest.mark.asyncio
async def test_transaction_takes_one_revision_for_all_its_writes(store: Store) -> None:
    await store.create("/a", b"a")
    await store.create("/b", b"b")
    done = await store.transact(
        [Update("/a", b"A", 2), Check("/none", 0), Delete("/b", 3), Create("/c", b"c"), Check("/d", 0)]
    )
    assert done.revision == 4
    assert seen(list(done.events)) == [
        ("PUT", "/a", b"A", 4),
        ("DELETE", "/b", b"b", 4),
        ("PUT", "/c", b"c", 4),
    ]
    assert await keys(store, "/") == ["/a", "/c"]
    assert await store.get("/c") == Record("/c", b"c", 4, 4)


@pytest.mark.asyncio
async def test_transaction_with_one_failing_condition_does_nothing(store: Store) -> None:
    await store.create("/a", b"a")
    with pytest.raises(Conflict) as refused:
        await store.transact([Create("/x", b""), Update("/a", b"A", 2), Check("/a2", 7)])
    assert (refused.value.key, refused.value.current) == ("/a2", None)
    with pytest.raises(Conflict, match="expected absent, it is at revision 2"):
        await store.transact([Create("/x", b""), Check("/a", 0)])
    assert await keys(store, "/") == ["/a"]
    assert await store.revision() == 2


@pytest.mark.asyncio
async def test_transaction_of_conditions_alone_takes_no_revision(store: Store) -> None:
    await store.create("/a", b"a")
    done = await store.transact([Check("/a", 2), Check("/b", 0)])
    assert (done.revision, done.events) == (2, ())
    assert (await store.transact([])).revision == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "k" * 5000])
async def test_text_that_is_no_key_is_refused(store: Store, key: str) -> None:
    with pytest.raises(Invalid, match="cannot use"):
        await store.create(key, b"")
    with pytest.raises(Invalid, match="cannot use"):
        await store.get(key)


@pytest.mark.asyncio
async def test_transactions_no_store_takes_are_refused(store: Store) -> None:
    with pytest.raises(Invalid, match="a key occurs twice"):
        await store.transact([Create("/a", b""), Update("/a", b"", 0)])
    with pytest.raises(Invalid, match="129 operations at once: the limit is 128"):
        await store.transact([Check(f"/{number}", 0) for number in range(129)])
    with pytest.raises(Invalid, match="revision -1"):
        await store.delete("/a", -1)
    with pytest.raises(Invalid, match="revision -1"):
        await store.get("/a", -1)
    with pytest.raises(Invalid, match="watch from revision 0"):
        store.watch("/", 0)


@pytest.mark.asyncio
async def test_value_of_a_megabyte_and_a_half_is_kept_and_one_byte_more_is_refused(store: Store) -> None:
    largest = bytes(range(256)) * (MAX_REQUEST_BYTES // 256)
    await store.create("/large", largest)
    found = await store.get("/large")
    assert found is not None and found.value == largest
    with pytest.raises(TooLarge, match="1572865 bytes"):
        await store.create("/larger", largest + b"x")
    with pytest.raises(TooLarge):
        await store.transact([Create("/x", largest), Create("/y", b"x")])


@pytest.mark.asyncio
async def test_largest_transaction_is_done_whole(store: Store) -> None:
    done = await store.transact([Create(f"/{number:03}", b"v") for number in range(128)])
    assert len(done.events) == 128 and done.revision == 2
    assert len(await keys(store, "/")) == 128
    watch = store.watch("/", 2)
    assert [event.record.key for event in await drain(watch)] == [f"/{number:03}" for number in range(128)]
    await watch.aclose()


@pytest.mark.asyncio
async def test_listing_is_in_byte_order_and_keeps_to_its_prefix(store: Store) -> None:
    for key in ("/b/1", "/a/2", "/a/10", "/a", "/a0", "/ä", "/a/\U0001f600", "/a/\uffff", "/c"):
        await store.create(key, key.encode())
    assert await keys(store, "/a/") == ["/a/10", "/a/2", "/a/\uffff", "/a/\U0001f600"]
    assert await keys(store, "/a") == ["/a", "/a/10", "/a/2", "/a/\uffff", "/a/\U0001f600", "/a0"]
    assert (await keys(store, ""))[-1] == "/ä"
    assert await keys(store, "/zz") == []
    assert [record.value for record in (await store.list("/b")).records] == [b"/b/1"]


@pytest.mark.asyncio
async def test_pages_of_a_listing_show_one_moment_while_writes_go_on(store: Store) -> None:
    for number in range(7):
        await store.create(f"/k/{number}", b"old")
    first = await store.list("/k/", limit=3)
    assert (first.more, first.remaining, first.revision) == (True, 4, 8)
    await store.update("/k/3", b"new", 0)
    await store.delete("/k/4")
    await store.create("/k/35", b"new")
    second = await store.list("/k/", start=continue_key(first), limit=3, revision=first.revision)
    third = await store.list("/k/", start=continue_key(second), limit=3, revision=first.revision)
    found = [*first.records, *second.records, *third.records]
    assert [(record.key, record.value) for record in found] == [(f"/k/{n}", b"old") for n in range(7)]
    assert (second.more, second.remaining, second.revision) == (True, 1, 8)
    assert (third.more, third.remaining) == (False, 0)
    assert await keys(store, "/k/") == ["/k/0", "/k/1", "/k/2", "/k/3", "/k/35", "/k/5", "/k/6"]


@pytest.mark.asyncio
async def test_page_exactly_at_the_limit_is_the_last(store: Store) -> None:
    for number in range(3):
        await store.create(f"/k/{number}", b"")
    page = await store.list("/k/", limit=3)
    assert (len(page.records), page.more, page.remaining) == (3, False, 0)
    assert len((await store.list("/k/", start="/k/1")).records) == 2
    assert len((await store.list("/k/", start="/a")).records) == 3


@pytest.mark.asyncio
async def test_older_revisions_are_read_as_they_were(store: Store) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", 0)
    await store.delete("/a")
    await store.create("/a", b"3")
    states = [await store.get("/a", revision) for revision in (1, 2, 3, 4, 5)]
    assert [record and record.value for record in states] == [None, b"1", b"2", None, b"3"]
    assert states[2] == Record("/a", b"2", 2, 3)
    assert [len((await store.list("/", revision=revision)).records) for revision in (1, 2, 3, 4, 5)] == [
        0,
        1,
        1,
        0,
        1,
    ]
    assert await store.get("/b", 3) is None


@pytest.mark.asyncio
async def test_revision_that_does_not_exist_yet_is_refused(store: Store) -> None:
    with pytest.raises(FutureRevision, match="cannot read revision 9: the store is at 1"):
        await store.get("/a", 9)
    with pytest.raises(FutureRevision):
        await store.list("/", revision=9)
    with pytest.raises(FutureRevision):
        await store.compact(9)


@pytest.mark.asyncio
async def test_watch_gives_past_and_future_events_once_and_in_order(store: Store) -> None:
    await store.create("/a/1", b"1")
    await store.create("/b/1", b"-")
    await store.update("/a/1", b"2", 0)
    async with store.watch("/a/", 2) as watch:
        assert seen(await drain(watch)) == [("PUT", "/a/1", b"1", 2), ("PUT", "/a/1", b"2", 4)]
        await store.delete("/a/1")
        await store.create("/a/1", b"3")
        events = await drain(watch)
    assert seen(events) == [("DELETE", "/a/1", b"2", 5), ("PUT", "/a/1", b"3", 6)]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_past", [True, False])
async def test_event_holds_the_state_before_it(store: Store, is_past: bool) -> None:
    early = store.watch("/", 2)
    if not is_past:
        assert await drain(early) == []
    await store.create("/a", b"1")
    await store.update("/a", b"2", 0)
    await store.delete("/a")
    await store.create("/a", b"3")
    first, second = Record("/a", b"1", 2, 2), Record("/a", b"2", 2, 3)
    late = store.watch("/", 2)
    expected = [
        Event(EventKind.PUT, first, None, 2),
        Event(EventKind.PUT, second, first, 3),
        Event(EventKind.DELETE, second, second, 4),
        Event(EventKind.PUT, Record("/a", b"3", 5, 5), None, 5),
    ]
    assert await drain(late if is_past else early) == expected
    await early.aclose()
    await late.aclose()


@pytest.mark.asyncio
async def test_watch_waits_for_events_that_are_to_come(store: Store) -> None:
    watch = store.watch("/", 2)
    assert await watch.take() == (Progress(1),)
    reading = asyncio.create_task(watch.take())
    await asyncio.sleep(0)
    assert not reading.done()
    await store.create("/a", b"1")
    async with asyncio.timeout(10):
        (event,) = await reading
    assert isinstance(event, Event) and event.revision == 2
    await watch.aclose()


@pytest.mark.asyncio
async def test_watch_from_a_future_revision_leaves_out_what_comes_before_it(store: Store) -> None:
    async with store.watch("/", 4) as watch:
        for number in range(4):
            await store.create(f"/{number}", b"")
        assert [event.revision for event in await drain(watch)] == [4, 5]


@pytest.mark.asyncio
async def test_progress_tells_how_far_a_quiet_watch_has_seen(store: Store) -> None:
    async with store.watch("/quiet/", 2) as watch:
        assert await anext(watch) == Progress(1)
        await store.create("/loud/1", b"")
        revision = await store.create("/loud/2", b"")
        watch.request_progress()
        assert await anext(watch) == Progress(revision)


@pytest.mark.asyncio
async def test_reader_that_is_slow_gets_everything_all_the_same(store: Store) -> None:
    watch = store.watch("/k/", 2)
    assert await drain(watch) == []
    total = BUFFER * 5
    for number in range(total):
        await store.create(f"/k/{number}", b"")
        await store.create(f"/other/{number}", b"")
    events = await drain(watch)
    assert [event.record.key for event in events] == [f"/k/{number}" for number in range(total)]
    await store.create("/k/last", b"")
    assert [event.record.key for event in await drain(watch)] == ["/k/last"]
    await watch.aclose()


@pytest.mark.asyncio
async def test_cancelled_read_of_a_watch_loses_nothing(store: Store) -> None:
    watch = store.watch("/", 2)
    events: list[int] = []
    writing = asyncio.create_task(write_many(store, 40))
    while len(events) < 40:
        try:
            async with asyncio.timeout(0.0005):
                events += [item.revision for item in await watch.take() if isinstance(item, Event)]
        except TimeoutError:
            continue
    await writing
    assert events == list(range(2, 42))
    await watch.aclose()


async def write_many(store: Store, count: int) -> None:
    for number in range(count):
        await store.create(f"/{number}", b"")


@pytest.mark.asyncio
async def test_concurrent_writers_make_one_order_that_watches_and_listings_agree_on(store: Store) -> None:
    watch = store.watch("/", 2)

    async def write(writer: int) -> list[int]:
        return [await store.create(f"/{writer}/{number}", b"") for number in range(20)]

    revisions = await asyncio.gather(*(write(writer) for writer in range(10)))
    assert sorted(revision for own in revisions for revision in own) == list(range(2, 202))
    assert [sorted(own) for own in revisions] == revisions
    events = await drain(watch)
    assert [event.revision for event in events] == list(range(2, 202))
    listed = {record.key: record.mod_revision for record in (await store.list("/")).records}
    assert listed == {event.record.key: event.revision for event in events}
    await watch.aclose()


@pytest.mark.asyncio
async def test_of_many_updates_that_expect_the_same_revision_one_wins(store: Store) -> None:
    await store.create("/a", b"")
    results = await asyncio.gather(
        *(store.update("/a", str(number).encode(), 2) for number in range(20)), return_exceptions=True
    )
    assert results.count(3) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19
    shown = {result.current for result in results if isinstance(result, Conflict)}
    assert shown == {await store.get("/a")}


@pytest.mark.asyncio
async def test_event_is_published_before_a_reader_can_see_its_revision(store: Store) -> None:
    writing = asyncio.create_task(write_many(store, 50))
    highest = 1
    while not writing.done():
        page = await store.list("/")
        assert await store.revision() >= page.revision >= highest
        highest = page.revision
    await writing
    assert await store.revision() == 51


@pytest.mark.asyncio
async def test_compacted_history_is_refused_and_the_present_stays(store: Store) -> None:
    await store.create("/a", b"1")
    await store.create("/b", b"1")
    await store.update("/a", b"2", 0)
    await store.delete("/b")
    await store.update("/a", b"3", 0)
    await store.compact(4)
    for revision in (2, 3):
        with pytest.raises(Compacted, match=f"revision {revision}: history up to 4 is compacted"):
            await store.get("/a", revision)
        with pytest.raises(Compacted):
            await store.list("/", revision=revision)
    assert [record.value for record in (await store.list("/", revision=4)).records] == [b"2", b"1"]
    assert [record.value for record in (await store.list("/", revision=5)).records] == [b"2"]
    assert await store.get("/a") == Record("/a", b"3", 2, 6)
    await store.compact(3)
    assert len((await store.list("/", revision=4)).records) == 2


@pytest.mark.asyncio
async def test_watch_from_a_compacted_revision_says_so(store: Store) -> None:
    for number in range(5):
        await store.create(f"/{number}", b"")
    await store.compact(4)
    for revision in (1, 4):
        watch = store.watch("/", revision)
        with pytest.raises(Compacted) as refused:
            await watch.take()
        assert (refused.value.requested, refused.value.compacted) == (revision, 4)
        await watch.aclose()
    async with store.watch("/", 5) as watch:
        assert [event.revision for event in await drain(watch)] == [5, 6]


@pytest.mark.asyncio
async def test_previous_state_survives_a_compaction_right_before_the_event(store: Store) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", 0)
    await store.delete("/a")
    await store.compact(3)
    async with store.watch("/", 4) as watch:
        (event,) = await drain(watch)
    assert event.previous == event.record == Record("/a", b"2", 2, 3)


@pytest.mark.asyncio
async def test_watch_that_has_seen_everything_does_not_mind_a_compaction(store: Store) -> None:
    await store.create("/quiet/1", b"")
    watch = store.watch("/quiet/", 2)
    assert len(await drain(watch)) == 1
    for number in range(20):
        await store.create(f"/loud/{number}", b"")
    await store.compact(await store.revision())
    for number in range(2, BUFFER * 3):
        await store.create(f"/quiet/{number}", b"")
    assert len(await drain(watch)) == BUFFER * 3 - 2
    await watch.aclose()


@pytest.mark.asyncio
async def test_reader_that_falls_behind_the_kept_history_is_told(store: Store) -> None:
    watch = store.watch("/", 2)
    assert await drain(watch) == []
    await write_many(store, BUFFER * 2)
    await store.compact(await store.revision())
    with pytest.raises(Compacted):
        await watch.take()
    await watch.aclose()


@pytest.mark.asyncio
async def test_compacting_everything_keeps_the_revision(store: Store) -> None:
    await store.create("/a", b"")
    await store.delete("/a")
    await store.compact(3)
    assert await store.revision() == 3
    assert await store.create("/a", b"") == 4
    assert await store.get("/a", 4) == Record("/a", b"", 4, 4)
    assert await store.get("/a", 3) is None


@pytest.mark.asyncio
async def test_record_with_a_ttl_is_deleted_when_it_has_passed(store: Engine, clock: SettableClock) -> None:
    await store.create("/short", b"", ttl=3600)
    await store.create("/long", b"", ttl=7200)
    await store.create("/ever", b"")
    watch = store.watch("/", 5)
    assert await store.expire_due() == 0
    clock.ahead = 3601
    assert await store.expire_due() == 1
    assert await keys(store, "/") == ["/ever", "/long"]
    (event,) = await drain(watch)
    assert (event.kind, event.record.key, event.revision) == (EventKind.DELETE, "/short", 5)
    clock.ahead = 100_000
    assert await store.expire_due() == 1
    assert await keys(store, "/") == ["/ever"]
    await watch.aclose()


@pytest.mark.asyncio
async def test_update_prolongs_an_expiry_only_when_it_says_so(store: Engine, clock: SettableClock) -> None:
    await store.create("/kept", b"", ttl=10)
    await store.create("/prolonged", b"", ttl=10)
    await store.create("/begun", b"")
    clock.ahead = 5
    await store.update("/kept", b"2", 0)
    await store.update("/prolonged", b"2", 0, ttl=10)
    await store.update("/begun", b"2", 0, ttl=3)
    clock.ahead = 11
    assert await store.expire_due() == 2
    assert await keys(store, "/") == ["/prolonged"]


@pytest.mark.asyncio
async def test_key_created_again_does_not_inherit_an_expiry(store: Engine, clock: SettableClock) -> None:
    await store.create("/a", b"", ttl=10)
    await store.delete("/a")
    await store.create("/a", b"")
    clock.ahead = 100
    assert await store.expire_due() == 0
    assert await keys(store, "/") == ["/a"]


@pytest.mark.asyncio
async def test_many_records_expire_together(store: Engine, clock: SettableClock) -> None:
    await asyncio.gather(*(store.create(f"/{number}", b"", ttl=1) for number in range(250)))
    clock.ahead = 2
    assert await store.expire_due() == 250
    assert await keys(store, "/") == []


@pytest.mark.asyncio
async def test_closed_store_answers_nothing_and_ends_its_watches(store: Store) -> None:
    await store.create("/a", b"")
    watch = store.watch("/", 3)
    assert await drain(watch) == []
    waiting = asyncio.create_task(watch.take())
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(Closed):
        await waiting
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.get("/a"),
        lambda: store.list("/"),
        lambda: store.create("/b", b""),
        lambda: store.revision(),
        lambda: store.compact(1),
    ]
    for call in calls:
        with pytest.raises(Closed):
            await call()
    with pytest.raises(Closed):
        store.watch("/", 1)
    await store.close()


@pytest.mark.asyncio
async def test_writes_asked_for_before_closing_are_done_or_refused_never_left_waiting(store: Store) -> None:
    writes = [asyncio.create_task(store.create(f"/{number}", b"")) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(10):
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(result, int | Closed) for result in results)
    assert any(isinstance(result, int) for result in results)


@pytest.mark.asyncio
async def test_watch_ends_when_its_reader_closes_it(store: Store) -> None:
    watch = store.watch("/", 2)
    assert await drain(watch) == []
    waiting = asyncio.create_task(watch.take())
    await asyncio.sleep(0)
    await watch.aclose()
    assert await waiting == ()
    assert [item async for item in watch] == []
    await store.create("/a", b"")
