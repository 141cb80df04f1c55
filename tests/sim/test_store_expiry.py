"""Expiry and its timing under virtual time, on the store in memory."""

from __future__ import annotations

import pytest

from aio import virtual
from aio.clock import VirtualClock
from controlplane.store.errors import NoSpace
from controlplane.store.expiry import PAUSE_SECONDS, Due, Expiry
from controlplane.store.memory import MemoryStore

pytestmark = pytest.mark.sim


def test_event_with_a_ttl_of_an_hour_is_gone_seconds_after_it() -> None:
    async def scenario(clock: VirtualClock) -> None:
        store = MemoryStore(clock=clock)
        await store.create("/events/a", b"", ttl=3600)
        await store.create("/pods/a", b"")
        await clock.sleep(3599)
        assert len((await store.list("/")).records) == 2
        await clock.sleep(1 + 2 * PAUSE_SECONDS)
        assert [record.key for record in (await store.list("/")).records] == ["/pods/a"]
        await store.close()

    virtual.run(scenario)


def test_expiry_noted_later_but_due_earlier_is_not_missed() -> None:
    async def scenario(clock: VirtualClock) -> None:
        store = MemoryStore(clock=clock)
        await store.create("/late", b"", ttl=100_000)
        await clock.sleep(60)
        await store.create("/early", b"", ttl=20)
        await clock.sleep(20 + 2 * PAUSE_SECONDS)
        assert [record.key for record in (await store.list("/")).records] == ["/late"]
        await store.close()

    virtual.run(scenario)


def test_records_without_a_ttl_cause_no_work() -> None:
    async def scenario(clock: VirtualClock) -> None:
        asked = 0

        async def find_due(now: float, limit: int) -> Due:
            nonlocal asked
            asked += 1
            return Due((), None)

        store = MemoryStore(clock=clock)
        store._expiry._find_due = find_due
        await store.create("/a", b"")
        await clock.sleep(86_400)
        assert asked == 1
        await store.close()

    virtual.run(scenario)


def test_expiry_that_meets_a_full_disk_tries_again() -> None:
    async def scenario(clock: VirtualClock) -> None:
        store = MemoryStore(clock=clock)
        await store.create("/a", b"", ttl=10)
        failures = 3

        async def delete(key: str, revision: int) -> object:
            nonlocal failures
            if failures:
                failures -= 1
                raise NoSpace("full")
            return await store.delete(key, revision)

        assert isinstance(store._expiry, Expiry)
        store._expiry._delete = delete
        await clock.sleep(10 + 5 * PAUSE_SECONDS)
        assert failures == 0
        assert await store.get("/a") is None
        await store.close()

    virtual.run(scenario)
