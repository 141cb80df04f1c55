"""The user's own terminal: raw while a session lasts, its size told on every change, its input read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from cri.streaming import TerminalSize

READ_BYTES = 32 << 10


def is_terminal(descriptor: int) -> bool:
    return os.isatty(descriptor)


@contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Every key goes through, Ctrl-C included; the settings are put back whatever happens."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def terminal_sizes(descriptor: int) -> AsyncIterator[TerminalSize]:
    """The size now and after each SIGWINCH."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        while True:
            size = os.get_terminal_size(descriptor)
            yield TerminalSize(size.columns, size.lines)
            await changed.wait()
            changed.clear()
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def read_stdin(descriptor: int | None = None) -> AsyncIterator[bytes]:
    """What comes in until it ends. A regular file cannot be waited for, and is read in a thread."""
    source = sys.stdin.fileno() if descriptor is None else descriptor
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()

    def heard() -> None:
        # One reading per notice: a second one, still queued from before the reading, would block the loop.
        loop.remove_reader(source)
        ready.set()

    try:
        loop.add_reader(source, heard)
    except PermissionError:
        while data := await asyncio.to_thread(os.read, source, READ_BYTES):
            yield data
        return
    try:
        while True:
            await ready.wait()
            ready.clear()
            data = os.read(source, READ_BYTES)
            if not data:
                return
            yield data
            loop.add_reader(source, heard)
    finally:
        loop.remove_reader(source)
