"""What `up` and `down` say while they work: one line per step with the time it took.

Steps may go on side by side. On a terminal the last line shows those under way, and each is replaced by its
own line when it is over; elsewhere only finished steps are written, as plain lines.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_MARGIN = "  ...      "


class Step:
    """The step under way; `note` replaces what its line will say when it is done."""

    def __init__(self, text: str, progress: Progress) -> None:
        self.text = text
        self.shown = text
        self._progress = progress

    def note(self, text: str) -> None:
        self.text = text

    def doing(self, text: str) -> None:
        """Show how far it is; only a terminal sees it."""
        self.shown = text
        self._progress.show()


class Progress:
    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._is_terminal = self._out.isatty()
        self._started = time.monotonic()
        self._under_way: list[Step] = []

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """A step that is over at the end of the block; its line says so, or that it failed. One that was only
        given up, since another failed, has no line."""
        began = time.monotonic()
        step = Step(text, self)
        self._under_way.append(step)
        self.show()
        try:
            yield step
        except asyncio.CancelledError:
            self._under_way.remove(step)
            raise
        except BaseException:
            self._finish("failed", began, step)
            raise
        self._finish("ok", began, step)

    def say(self, text: str) -> None:
        self._clear()
        self._out.write(text + "\n")
        self._out.flush()
        self.show()

    def show(self) -> None:
        """The line of what is under way, which the next one replaces."""
        if self._is_terminal and self._under_way:
            self._clear()
            text = _MARGIN + "; ".join(step.shown for step in self._under_way)
            # A line that wraps could not be replaced.
            self._out.write(text[: shutil.get_terminal_size().columns - 1])
            self._out.flush()

    def _finish(self, how: str, began: float, step: Step) -> None:
        self._under_way.remove(step)
        took = time.monotonic() - began
        mark = f"{took:6.2f} s" if how == "ok" else "  failed"
        self.say(f"{mark}  {step.text}")

    def _clear(self) -> None:
        if self._is_terminal:
            self._out.write("\r\x1b[K")
