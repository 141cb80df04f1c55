"""Named points in the life of the agent at which a test may end or halt it.

The executor passes a point before and after every action (`before:RunSandbox`,
`after:RunSandbox`). Normally a point does nothing. With `KUBELET_CRASH_AT=before:RunSandbox` in
the environment the agent kills itself with SIGKILL at the first such point, with `…#3` at the
third: the crash-safety tests end it once at every point there is. `KUBELET_HALT_AT` is the same
with SIGSTOP: whoever continues it has had the time to break something else first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

CRASH_NAME = "KUBELET_CRASH_AT"
HALT_NAME = "KUBELET_HALT_AT"
_SIGNALS = {CRASH_NAME: signal.SIGKILL, HALT_NAME: signal.SIGSTOP}

Point = Callable[[str], None]


def no_points(_name: str) -> None:
    """The normal case: nothing happens at any point."""


class SignalPoint:
    """Sends this process a signal when the point named has been passed `count` times."""

    def __init__(self, spec: str, number: signal.Signals) -> None:
        name, _, count = spec.partition("#")
        self._name = name
        self._left = int(count) if count else 1
        self._number = number

    def __call__(self, name: str) -> None:
        if name != self._name:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def from_environment(environment: Mapping[str, str]) -> Point:
    """The point asked for; a crash wins over a halt."""
    for variable, number in _SIGNALS.items():
        if environment.get(variable):
            return SignalPoint(environment[variable], number)
    return no_points
