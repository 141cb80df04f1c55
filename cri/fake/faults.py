"""Faults on demand, and the record of calls: every call of the fake runtime passes through here.

A fault is a value: which call, how often, what happens. `before` the call has an effect or `after` it (the
answer is lost), an error, a delay, or a hang that only cancelling ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aio.clock import Clock
from cri.errors import CriError, Unavailable, Unimplemented

ALWAYS = -1


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its name (as in the protocol), positional arguments and the clock's monotonic time."""

    name: str
    args: tuple[Any, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Fault:
    """`times` counts down to none; ALWAYS never ends. `matches` sees the call's arguments."""

    call: str
    error: CriError | None = None
    delay_seconds: float = 0.0
    is_hang: bool = False
    is_answer_lost: bool = False
    times: int = ALWAYS
    matches: Callable[..., bool] = lambda *_: True


class Faults:
    """What is to go wrong, and what was called. Shared by the runtime and its image service."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._planned: list[Fault] = []
        self.calls: list[Call] = []
        self.in_flight: Counter[str] = Counter()
        self.most_in_flight: Counter[str] = Counter()
        self.unimplemented: set[str] = set()
        self.is_down = False

    def plan(self, fault: Fault) -> None:
        self._planned.append(fault)

    def clear(self) -> None:
        self._planned.clear()

    def count(self, name: str) -> int:
        """How often a call was made."""
        return sum(1 for call in self.calls if call.name == name)

    @asynccontextmanager
    async def call(
        self, name: str, *args: Any, is_late: bool = False
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Around a call's effect: record it, then whatever was planned for it.

        With `is_late` the body itself awaits what this yields, at the moment when trouble is to strike.
        """
        self.calls.append(Call(name, args, self._clock.monotonic()))
        self.in_flight[name] += 1
        self.most_in_flight[name] = max(self.most_in_flight[name], self.in_flight[name])
        try:
            self.refuse_if_away(name)
            fault = self._take(name, args) if self._planned else None

            async def strike() -> None:
                if fault is not None:
                    await self._suffer(fault)
                    self.refuse_if_away(name)

            if not is_late:
                await strike()
            yield strike
            if fault is not None and fault.is_answer_lost and fault.error is not None:
                raise fault.error
        finally:
            self.in_flight[name] -= 1

    def refuse_if_away(self, name: str) -> None:
        if self.is_down:
            raise Unavailable("connection refused", call=name)
        if name in self.unimplemented:
            raise Unimplemented(f"unknown method {name} for service", call=name)

    def _take(self, name: str, args: tuple[Any, ...]) -> Fault | None:
        for index, fault in enumerate(self._planned):
            if fault.call == name and fault.matches(*args):
                if fault.times == 1:
                    del self._planned[index]
                elif fault.times != ALWAYS:
                    self._planned[index] = replace(fault, times=fault.times - 1)
                return fault
        return None

    async def _suffer(self, fault: Fault) -> None:
        if fault.delay_seconds:
            await self._clock.sleep(fault.delay_seconds)
        if fault.is_hang:
            await asyncio.Event().wait()
        if fault.error is not None and not fault.is_answer_lost:
            raise fault.error
