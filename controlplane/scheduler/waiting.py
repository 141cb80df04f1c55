"""The pods that wait for a node: the next by priority, the failed by back-off, the hopeless until something
changes that could help them (pure; the rules of scheduling_queue.go).

A pod that found no node waits in the unschedulable set. An event that one of the plugins that objected cares
about takes it out: at once when its back-off has passed, else when it has. What never gets such an event is
tried again after five minutes all the same. All moments are monotonic seconds that the caller gives.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from enum import Enum

FIRST_BACKOFF_SECONDS = 1.0
MOST_BACKOFF_SECONDS = 10.0
# unschedulable pods are flushed after this long
LEFT_OVER_SECONDS = 300.0


class Happened(Enum):
    """What may help a pod that found no node."""

    NODE_ADDED = "node added"
    NODE_CHANGED = "node changed"
    POD_PLACED = "pod placed"
    POD_CHANGED = "labels of a placed pod changed"
    POD_GONE = "pod gone"
    NAMESPACE_CHANGED = "namespace changed"


_NODE = frozenset((Happened.NODE_ADDED, Happened.NODE_CHANGED))
_PODS = frozenset((Happened.POD_PLACED, Happened.POD_CHANGED, Happened.POD_GONE))
# EventsToRegister of each plugin.
HELPED_BY: dict[str, frozenset[Happened]] = {
    "SchedulingGates": frozenset(),
    "NodeUnschedulable": _NODE,
    "NodeName": frozenset((Happened.NODE_ADDED,)),
    "TaintToleration": _NODE,
    "NodeAffinity": _NODE,
    "NodePorts": _NODE | {Happened.POD_GONE},
    "NodeResourcesFit": _NODE | {Happened.POD_GONE},
    "PodTopologySpread": _NODE | _PODS,
    "InterPodAffinity": _NODE | _PODS | {Happened.NAMESPACE_CHANGED},
}


@dataclass(slots=True)
class _Waiting:
    priority: int
    since: float
    attempts: int = 0
    ready_at: float = 0.0
    failed_at: float = 0.0
    plugins: frozenset[str] = frozenset()
    turn: int = 0


class WaitingPods:
    """Keys of pods. A key popped belongs to the caller until `failed` or `forget` says how it went."""

    def __init__(self) -> None:
        self._known: dict[str, _Waiting] = {}
        self._active: list[tuple[int, float, int, str]] = []
        self._backing_off: list[tuple[float, int, str]] = []
        self._hopeless: set[str] = set()
        self._in_hand: set[str] = set()
        self._again: set[str] = set()
        self._missed: dict[str, set[Happened]] = {}
        self._turns = itertools.count(1)

    def add(self, key: str, priority: int, now: float) -> None:
        """A pod without a node, new or changed: to be tried as soon as its back-off allows."""
        known = self._known.get(key)
        if known is None:
            self._known[key] = _Waiting(priority, now)
            self._activate(key)
        else:
            known.priority = priority
            if key in self._hopeless:
                self._requeue(key, now)
            elif key in self._in_hand:
                self._again.add(key)

    def forget(self, key: str) -> None:
        """Placed or gone."""
        self._known.pop(key, None)
        self._hopeless.discard(key)
        self._in_hand.discard(key)
        self._again.discard(key)
        self._missed.pop(key, None)

    def pop(self, now: float) -> str | None:
        """The pod to try next: highest priority, then longest waiting. None when none is due."""
        self._flush(now)
        while self._active:
            _, _, turn, key = heapq.heappop(self._active)
            known = self._known.get(key)
            if known is not None and known.turn == turn:
                known.attempts += 1
                known.turn = 0
                self._in_hand.add(key)
                self._missed[key] = set()
                return key
        return None

    def failed(self, key: str, plugins: frozenset[str], now: float, *, hopeless: bool = True) -> None:
        """No node for it; `plugins` objected. Not `hopeless` is a failure that may pass by itself."""
        known = self._known.get(key)
        if known is None or key not in self._in_hand:
            return
        self._in_hand.discard(key)
        missed = self._missed.pop(key, set())
        known.plugins, known.failed_at = plugins, now
        known.ready_at = now + backoff_seconds(known.attempts)
        self._hopeless.add(key)
        # An event during the attempt may be the one it now waits for.
        again = key in self._again
        self._again.discard(key)
        if again or not hopeless or any(_helps(happened, plugins) for happened in missed):
            self._requeue(key, now)

    def happened(self, what: Happened, now: float) -> None:
        for missed in self._missed.values():
            missed.add(what)
        for key in [key for key in self._hopeless if _helps(what, self._known[key].plugins)]:
            self._requeue(key, now)

    def next_at(self) -> float | None:
        """When `pop` may have something it has not now; None while only events can help."""
        moments = [self._known[key].failed_at + LEFT_OVER_SECONDS for key in self._hopeless]
        if self._backing_off:
            moments.append(self._backing_off[0][0])
        return min(moments, default=None)

    def __len__(self) -> int:
        return len(self._known)

    def _requeue(self, key: str, now: float) -> None:
        self._hopeless.discard(key)
        known = self._known[key]
        if known.ready_at <= now:
            self._activate(key)
        else:
            known.turn = next(self._turns)
            heapq.heappush(self._backing_off, (known.ready_at, known.turn, key))

    def _activate(self, key: str) -> None:
        known = self._known[key]
        known.turn = next(self._turns)
        heapq.heappush(self._active, (-known.priority, known.since, known.turn, key))

    def _flush(self, now: float) -> None:
        while self._backing_off and self._backing_off[0][0] <= now:
            _, turn, key = heapq.heappop(self._backing_off)
            known = self._known.get(key)
            if known is not None and known.turn == turn:
                self._activate(key)
        due = [key for key in self._hopeless if self._known[key].failed_at + LEFT_OVER_SECONDS <= now]
        for key in due:
            self._requeue(key, now)


def backoff_seconds(attempts: int) -> float:
    """1, 2, 4, 8, then 10 s after each failed attempt."""
    return float(min(FIRST_BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 10), MOST_BACKOFF_SECONDS))


def _helps(what: Happened, plugins: frozenset[str]) -> bool:
    """Without a plugin (no node at all, say) anything that concerns nodes may help."""
    if not plugins:
        return what in _NODE
    return any(what in HELPED_BY[plugin] for plugin in plugins)
