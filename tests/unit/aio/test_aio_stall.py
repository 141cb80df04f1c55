from __future__ import annotations

import asyncio
import threading
import time

import pytest

from aio.stall import Stall, StallMonitor

pytestmark = pytest.mark.pure


def hold_up_the_loop() -> None:
    time.sleep(0.06)


@pytest.mark.asyncio
async def test_stall_is_reported_with_its_length_and_who_was_running() -> None:
    reported: list[Stall] = []
    arrived = threading.Event()

    def report(stall: Stall) -> None:
        reported.append(stall)
        arrived.set()

    monitor = StallMonitor(threshold=0.02, interval=0.002, report=report)
    monitor.start()
    await asyncio.sleep(0.02)
    hold_up_the_loop()
    async with asyncio.timeout(5):
        while not reported:
            await asyncio.sleep(0.005)
    monitor.stop()
    worst = max(reported, key=lambda stall: stall.seconds)
    assert worst.seconds >= 0.02
    assert any("hold_up_the_loop" in line for stall in reported for line in stall.stack)
    assert list(monitor.stalls) == reported


@pytest.mark.asyncio
async def test_watchdog_thread_ends_after_stop() -> None:
    monitor = StallMonitor(interval=0.001)
    monitor.start()
    monitor.stop()
    async with asyncio.timeout(5):
        while any(thread.name == "stall-monitor" for thread in threading.enumerate()):
            await asyncio.sleep(0.002)
