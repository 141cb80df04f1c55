"""From measurements to pressure: thresholds crossed, for how long, and what the node reports (pure).

A threshold that was acted on stays met until its minimum reclaim is available besides. A condition stays True
for the transition period after it was last seen. Rules: kubernetes 1.36 pkg/kubelet/eviction/helpers.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubelet.eviction.signals import CONDITION_OF, Condition, Observation, Signal, Threshold

DEFAULT_TRANSITION_SECONDS = 300.0

Observations = Mapping[Signal, Observation]
_MEMORY_FIRST = (Signal.MEMORY, Signal.ALLOCATABLE_MEMORY)


@dataclass(frozen=True, slots=True)
class PressureState:
    """What one pass leaves to the next. Times are monotonic seconds."""

    met: tuple[Threshold, ...] = ()
    first_seen: Mapping[Threshold, float] = field(default_factory=dict)
    last_seen: Mapping[Condition, float] = field(default_factory=dict)
    measured_at: Mapping[Signal, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pressure:
    """One pass: thresholds to act on, memory's first, and the conditions that are True."""

    act_on: tuple[Threshold, ...]
    conditions: frozenset[Condition]


def is_met(threshold: Threshold, seen: Observation, *, with_reclaim: bool = False) -> bool:
    """Whether too little is available; `with_reclaim`: for a threshold that is being acted on."""
    line = threshold.limit.of(seen.capacity)
    if with_reclaim and threshold.min_reclaim is not None:
        line += threshold.min_reclaim.of(seen.capacity)
    return seen.available < line


def crossed(
    thresholds: Iterable[Threshold], seen: Observations, *, with_reclaim: bool = False
) -> list[Threshold]:
    """Those that are met; a signal that was not measured meets none."""
    return [
        one
        for one in thresholds
        if one.signal in seen and is_met(one, seen[one.signal], with_reclaim=with_reclaim)
    ]


def observe(
    state: PressureState,
    thresholds: Iterable[Threshold],
    seen: Observations,
    now: float,
    transition_seconds: float = DEFAULT_TRANSITION_SECONDS,
) -> tuple[PressureState, Pressure]:
    """One pass over fresh measurements."""
    low = list(dict.fromkeys([*crossed(thresholds, seen), *crossed(state.met, seen, with_reclaim=True)]))
    first_seen = {one: state.first_seen.get(one, now) for one in low}
    last_seen = {**state.last_seen, **{CONDITION_OF[one.signal]: now for one in low}}
    last_seen = {name: at for name, at in last_seen.items() if now - at < transition_seconds or at == now}
    met = tuple(one for one in low if now - first_seen[one] >= one.grace_seconds)
    # A measurement that was acted on already says nothing about what the last eviction freed.
    fresh = [one for one in met if seen[one.signal].at > state.measured_at.get(one.signal, -1.0)]
    measured = {**state.measured_at, **{signal: one.at for signal, one in seen.items()}}
    act_on = tuple(sorted(fresh, key=lambda one: one.signal not in _MEMORY_FIRST))
    return (
        PressureState(met, first_seen, last_seen, measured),
        Pressure(act_on, frozenset(last_seen)),
    )
