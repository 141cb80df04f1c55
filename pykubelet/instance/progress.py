"""What `up` and `down` say while they work: one line per step with the time it took.

On a terminal the line of the step under way is shown and then replaced; elsewhere only finished steps are
written, as plain lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Step:
    """The step under way; `note` replaces what its line will say when it is done."""

    def __init__(self, text: str, progress: Progress) -> None:
        self.text = text
        self._progress = progress

    def note(self, text: str) -> None:
        self.text = text

    def doing(self, text: str) -> None:
        """Show how far it is; only a terminal sees it."""
        self._progress.show(text)


class Progress:
    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._is_terminal = self._out.isatty()
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """A step that is over at the end of the block; its line says so, or that it failed."""
        began = time.monotonic()
        step = Step(text, self)
        self.show(text)
        try:
            yield step
        except BaseException:
            self._finish("failed", began, step.text)
            raise
        self._finish("ok", began, step.text)

    def say(self, text: str) -> None:
        self._clear()
        self._out.write(text + "\n")
        self._out.flush()

    def show(self, text: str) -> None:
        """A line that the next one replaces."""
        if self._is_terminal:
            self._clear()
            self._out.write(f"  ...      {text}")
            self._out.flush()

    def _finish(self, how: str, began: float, text: str) -> None:
        took = time.monotonic() - began
        mark = f"{took:6.2f} s" if how == "ok" else "  failed"
        self.say(f"{mark}  {text}")

    def _clear(self) -> None:
        if self._is_terminal:
            self._out.write("\r\x1b[K")
