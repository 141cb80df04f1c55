"""Named points in the life of the agent at which a test may end it.

The executor passes a point before and after every action (`before:RunSandbox`,
`after:RunSandbox`). Normally a point does nothing. With `KUBELET_CRASH_AT=before:RunSandbox` in
the environment the agent kills itself with SIGKILL at the first such point, with `…#3` at the
third: the crash-safety tests end it once at every point there is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

ENVIRONMENT_NAME = "KUBELET_CRASH_AT"

Point = Callable[[str], None]


def no_points(_name: str) -> None:
    """The normal case: nothing happens at any point."""


class CrashPoint:
    """Kills the process when the point named has been passed `count` times."""

    def __init__(self, spec: str) -> None:
        name, _, count = spec.partition("#")
        self._name = name
        self._left = int(count) if count else 1

    def __call__(self, name: str) -> None:
        if name != self._name:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def from_environment(environment: Mapping[str, str]) -> Point:
    spec = environment.get(ENVIRONMENT_NAME, "")
    return CrashPoint(spec) if spec else no_points
