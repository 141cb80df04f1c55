"""The wait for a component that was started: it goes on, or tells what became of it by the end of its log."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from pykubelet.errors import CommandError
from pykubelet.instance.facts import LOOPBACK
from pykubelet.instance.layout import Layout
from pykubelet.instance.processes import all_processes
from pykubelet.instance.record import Component
from pykubelet.instance.starting import LOG_TAIL_BYTES, LOG_TAIL_LINES, Start, choose_port, log_tail

pytestmark = pytest.mark.sim


def own_process() -> Component:
    return Component(name="x", pid=os.getpid(), started_ticks=all_processes()[os.getpid()].started_ticks)


def test_one_that_lives_and_has_time_is_looked_at_again(tmp_path: Path) -> None:
    async def main(_: VirtualClock) -> None:
        began = asyncio.get_running_loop().time()
        await Start.now("it", own_process(), tmp_path / "log", 1000.0).look_again()
        assert asyncio.get_running_loop().time() > began

    virtual.run(main)


@pytest.mark.parametrize(("is_alive", "how"), [(True, "was not ready in -1 s"), (False, "ended")])
def test_one_that_ended_or_is_late_is_told_with_the_end_of_its_log(
    tmp_path: Path, is_alive: bool, how: str
) -> None:
    log = tmp_path / "log"
    log.write_text("first\nlast\n")
    gone = Component(name="x", pid=os.getpid(), started_ticks=1)

    async def main(_: VirtualClock) -> None:
        start = Start.now("the part", own_process() if is_alive else gone, log, -1.0)
        with pytest.raises(CommandError) as told:
            await start.look_again()
        assert str(told.value) == (
            f"cannot start the part: because it {how}; the end of its log:\n  first\n  last"
        )

    virtual.run(main)


def test_of_a_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == f'  (there is no "{log}")'
    log.write_text("x" * 2 * LOG_TAIL_BYTES + "\n" + "".join(f"{number}\n" for number in range(100)))
    assert log_tail(log).split() == [str(number) for number in range(100 - LOG_TAIL_LINES, 100)]
    log.write_bytes(b"\xff" + b"y" * 2 * LOG_TAIL_BYTES)
    assert len(log_tail(log)) == LOG_TAIL_BYTES + 2


def test_a_port_that_somebody_has_taken_meanwhile_is_not_chosen_again() -> None:
    layout = Layout.of("/srv/other")
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose_port(layout, port, 0, LOOPBACK) not in (0, port)
