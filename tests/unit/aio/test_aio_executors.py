"""Executors with real threads: what hangs confines itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from aio.errors import Bug, Retry
from aio.executors import Executors, PoolLimits

pytestmark = pytest.mark.pure


class Gate:
    """Calls that hang until they are let go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)

    def hang(self) -> str:
        self.entered.release()
        self.opened.wait(20)
        return "released"


@pytest.mark.asyncio
async def test_result_and_exception_reach_the_caller() -> None:
    executors = Executors()
    assert await executors.run("walk", divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await executors.run("walk", divmod, 7, 0)


@pytest.mark.asyncio
async def test_unknown_kind_of_work_is_a_bug() -> None:
    with pytest.raises(Bug, match='"nap"'):
        await Executors().run("nap", int)


@pytest.mark.asyncio
async def test_no_more_calls_run_at_once_than_threads() -> None:
    executors = Executors({"walk": PoolLimits(threads=2)})
    lock, now, peak = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    await asyncio.gather(*(executors.run("walk", work) for _ in range(12)))
    assert peak == 2
    assert executors.stats()["walk"].threads == 2


@pytest.mark.asyncio
async def test_hung_pod_takes_its_own_slots_only() -> None:
    executors = Executors({"mount": PoolLimits(threads=2, per_key=1)})
    gate = Gate()
    hung = asyncio.create_task(executors.run("mount", gate.hang, key="pod-a"))
    second = asyncio.create_task(executors.run("mount", int, "1", key="pod-a"))
    assert await executors.run("mount", int, "2", key="pod-b") == 2
    assert not second.done()
    gate.opened.set()
    assert await hung == "released"
    assert await second == 1


@pytest.mark.asyncio
async def test_call_given_up_by_timeout_is_replaced_by_an_extra_thread() -> None:
    executors = Executors({"mount": PoolLimits(threads=1, per_key=1)})
    gate = Gate()
    with pytest.raises(TimeoutError):
        await executors.run("mount", gate.hang, key="pod-a", timeout=0.02)
    assert await executors.run("mount", int, "3", key="pod-b") == 3
    stats = executors.stats()["mount"]
    assert stats.threads == 2
    assert [(call.key, call.function) for call in stats.hung] == [("pod-a", "Gate.hang")]
    gate.opened.set()
    async with asyncio.timeout(5):
        while executors.stats()["mount"].running:
            await asyncio.sleep(0.002)
    assert executors.stats()["mount"].threads == 1
    assert executors.stats()["mount"].hung == ()


@pytest.mark.asyncio
async def test_waiting_call_gets_a_thread_once_the_running_one_counts_as_hung() -> None:
    executors = Executors({"walk": PoolLimits(threads=1, hung_after_seconds=0.03)})
    gate = Gate()
    hung = asyncio.create_task(executors.run("walk", gate.hang, key="a"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await executors.run("walk", int, "4", key="b") == 4
    assert not hung.done()
    gate.opened.set()
    await hung


@pytest.mark.asyncio
async def test_timed_out_call_that_never_started_is_dropped() -> None:
    executors = Executors({"walk": PoolLimits(threads=1)})
    gate = Gate()
    hung = asyncio.create_task(executors.run("walk", gate.hang))
    await asyncio.sleep(0)
    ran = threading.Event()
    with pytest.raises(TimeoutError):
        await executors.run("walk", ran.set, timeout=0.02)
    gate.opened.set()
    await hung
    assert executors.stats()["walk"].queued == 0
    assert not ran.is_set()


@pytest.mark.asyncio
async def test_too_many_hung_calls_refuse_new_ones_instead_of_piling_up_threads() -> None:
    executors = Executors({"walk": PoolLimits(threads=1, max_hung=2)})
    gate = Gate()
    for key in "ab":
        with pytest.raises(TimeoutError):
            await executors.run("walk", gate.hang, key=key, timeout=0.02)
    with pytest.raises(Retry, match="2 calls hang"):
        await executors.run("walk", int, key="c")
    gate.opened.set()


@pytest.mark.asyncio
async def test_cancelled_caller_frees_its_slot() -> None:
    executors = Executors({"walk": PoolLimits(threads=1)})
    gate = Gate()
    task = asyncio.create_task(executors.run("walk", gate.hang))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        assert await executors.run("walk", int, "5") == 5
    gate.opened.set()


STOP_WITH_A_HUNG_FILE = """
import asyncio, os, sys, tempfile
from aio.executors import Executors

async def main():
    with tempfile.TemporaryDirectory() as directory:
        fifo = os.path.join(directory, "nobody-writes")
        os.mkfifo(fifo)
        try:
            await Executors().run("log", lambda: open(fifo).read(), timeout=0.05)
        except TimeoutError:
            print("timed out", flush=True)

asyncio.run(main())
"""


def test_process_exits_although_a_file_never_answers() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STOP_WITH_A_HUNG_FILE], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "timed out\n"
    assert done.stderr == ""
    assert time.monotonic() - started < 5
