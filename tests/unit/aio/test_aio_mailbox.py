from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from aio.mailbox import Mailbox, Slot

pytestmark = pytest.mark.pure


@dataclass(frozen=True)
class Wish:
    text: str
    stop_grace: int | None = None


def merge(old: Wish, new: Wish) -> Wish:
    """A stop is never replaced, and its grace only shrinks."""
    if old.stop_grace is None:
        return new
    grace = old.stop_grace if new.stop_grace is None else min(old.stop_grace, new.stop_grace)
    return Wish(old.text, grace)


def test_newest_value_replaces_one_that_nobody_took() -> None:
    slot: Slot[str] = Slot()
    slot.put("old")
    slot.put("new")
    assert slot.peek() == "new"
    assert slot.take() == "new"
    assert slot.take() is None


def test_stop_is_never_replaced_and_its_grace_only_shrinks() -> None:
    slot = Slot(merge)
    slot.put(Wish("stop", 30))
    slot.put(Wish("run again"))
    slot.put(Wish("stop", 60))
    assert slot.peek() == Wish("stop", 30)
    slot.put(Wish("stop", 5))
    assert slot.take() == Wish("stop", 5)


@pytest.mark.asyncio
async def test_events_are_kept_in_order_beside_the_newest_desired_value() -> None:
    box: Mailbox[str, int] = Mailbox()
    for number in range(3):
        box.post_event(number)
        box.post_desired(f"v{number}")
    assert len(box) == 4
    delivery = await box.receive()
    assert (delivery.desired, delivery.events) == ("v2", (0, 1, 2))
    assert not box.take()


@pytest.mark.asyncio
async def test_receive_wakes_for_either_and_times_out_empty() -> None:
    box: Mailbox[str, int] = Mailbox()
    loop = asyncio.get_running_loop()
    loop.call_soon(box.post_event, 7)
    assert (await box.receive()).events == (7,)
    loop.call_soon(box.post_desired, "now")
    assert (await box.receive(5)).desired == "now"
    assert not await box.receive(0.001)


@pytest.mark.asyncio
async def test_cancelled_receive_loses_nothing() -> None:
    box: Mailbox[str, int] = Mailbox()
    reader = asyncio.create_task(box.receive())
    await asyncio.sleep(0)
    box.post_event(1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert box.take().events == (1,)
