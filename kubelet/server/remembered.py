"""Answers kept for a while: a bounded map whose entries expire (pure)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

MAX_ENTRIES = 4096


class Remembered(Generic[V]):
    """`now` is monotonic seconds. At most `most` entries: the oldest one makes room."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now: float) -> V | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found[0] <= now:
            del self._entries[key]
            return None
        return found[1]

    def put(self, key: Hashable, value: V, now: float, seconds: float) -> None:
        """Nothing is kept for zero seconds."""
        self._entries.pop(key, None)
        if seconds <= 0:
            return
        self._entries[key] = (now + seconds, value)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
