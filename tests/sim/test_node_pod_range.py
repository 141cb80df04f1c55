"""The runtime hears of the node's pod ranges, once for every change."""

from __future__ import annotations

import asyncio

import pytest

from aio.clock import VirtualClock
from aio.virtual import run
from cri.fake import FakeRuntime
from kubelet.node.pod_range import PodRange

pytestmark = pytest.mark.sim


def told(runtime: FakeRuntime) -> int:
    return sum(call.name == "update_runtime_config" for call in runtime.calls)


def test_each_range_is_told_once_and_until_the_runtime_takes_it() -> None:
    async def main(clock: VirtualClock) -> None:
        runtime = FakeRuntime(clock)
        ranges = PodRange(runtime, clock)
        task = asyncio.ensure_future(ranges.run())
        ranges.set(())
        await clock.sleep(1)
        assert told(runtime) == 0
        for _ in range(3):
            ranges.set(("10.244.1.0/24", "fd00::/64"))
            await clock.sleep(1)
        assert (told(runtime), runtime.pod_cidr) == (1, "10.244.1.0/24,fd00::/64")
        runtime.go_down()
        ranges.set(("10.244.2.0/24",))
        await clock.sleep(5)
        runtime.come_up()
        await clock.sleep(10)
        assert runtime.pod_cidr == "10.244.2.0/24"
        calls = told(runtime)
        await clock.sleep(600)
        assert told(runtime) == calls
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main)
