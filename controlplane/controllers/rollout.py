"""The numbers of a Deployment: how far each of its ReplicaSets may go up or down now (pure).

All sizes are pods. The rules are those of pkg/controller/deployment (rolling.go, sync.go and
util/deployment_util.go): never more than replicas + maxSurge pods, never fewer than replicas -
maxUnavailable available ones by our doing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kube.client import JsonObject

PREFIX = "deployment.kubernetes.io/"
REVISION = f"{PREFIX}revision"
DESIRED = f"{PREFIX}desired-replicas"
MOST = f"{PREFIX}max-replicas"


@dataclass(frozen=True, slots=True)
class Set:
    """A ReplicaSet as the numbers see it; `size` is spec.replicas. `desired` and `most` are what its
    annotations say of the deployment when it was last scaled (None = nothing)."""

    name: str
    size: int
    available: int = 0
    current: int = 0
    created: str = ""
    desired: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    replicas: int
    surge: int
    unavailable: int
    is_rolling: bool = True

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def least_available(self) -> int:
        return self.replicas - self.unavailable


def read_set(value: JsonObject) -> Set:
    found, state = value["metadata"], value.get("status") or {}
    notes = found.get("annotations") or {}
    return Set(
        found["name"],
        value["spec"].get("replicas", 1),
        state.get("availableReplicas", 0),
        state.get("replicas", 0),
        found.get("creationTimestamp", ""),
        _number(notes.get(DESIRED)),
        _number(notes.get(MOST)),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def limits_of(deployment: JsonObject) -> Limits:
    """Percentages: surge rounds up, unavailable down; both zero would never move, so one is unavailable."""
    spec = deployment["spec"]
    replicas = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return Limits(replicas, 0, 0, is_rolling=False)
    rolling = strategy.get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """ "25%" of `total`, or the number itself."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if up else share // 100


def size_of_new(new: Set, olds: Iterable[Set], limits: Limits) -> int:
    """Where the newest set may go now (NewRSNewReplicas and reconcileNewReplicaSet)."""
    if not limits.is_rolling or new.size >= limits.replicas:
        return limits.replicas
    total = new.size + sum(old.size for old in olds)
    if total >= limits.most:
        return new.size
    return new.size + min(limits.most - total, limits.replicas - new.size)


def sizes_of_old(new: Set, olds: Sequence[Set], limits: Limits) -> dict[str, int]:
    """Sizes of the old sets that may shrink now: first by pods that are not available anyway, then as far as
    what is available allows, oldest first."""
    olds = sorted((old for old in olds if old.size), key=lambda old: (old.created, old.name))
    total = new.size + sum(old.size for old in olds)
    may_lose = total - limits.least_available - (new.size - new.available)
    if may_lose <= 0:
        return {}
    sizes = {old.name: old.size for old in olds}
    left = may_lose
    for old in olds:
        drop = min(left, max(old.size - old.available, 0))
        sizes[old.name] -= drop
        left -= drop
    spare = new.available + sum(old.available for old in olds) - limits.least_available
    for old in olds:
        drop = min(max(spare, 0), sizes[old.name])
        sizes[old.name] -= drop
        spare -= drop
    return {old.name: sizes[old.name] for old in olds if sizes[old.name] != old.size}


def is_scaling(sets: Iterable[Set], limits: Limits) -> bool:
    """Whether the deployment's size was changed since its sets were last scaled."""
    return any(item.size and item.desired is not None and item.desired != limits.replicas for item in sets)


def scale(new: Set | None, olds: Sequence[Set], limits: Limits, known_total: int) -> dict[str, int]:
    """Sizes after the deployment's own size changed, or while it is paused: every set in proportion to what
    it has. `known_total` is status.replicas, for sets that do not say what they were scaled for."""
    sets = [*([new] if new is not None else []), *olds]
    active = [item for item in sets if item.size]
    only = _only(new, olds, active)
    if only is not None:
        return {only.name: limits.replicas}
    if new is not None and new.size == new.desired == new.available == limits.replicas:
        return {old.name: 0 for old in olds if old.size}
    if not limits.is_rolling:
        return {}
    allowed = limits.most if limits.replicas > 0 else 0
    to_add = allowed - sum(item.size for item in active)
    ordered = sorted(active, key=lambda item: item.created, reverse=to_add > 0)
    ordered.sort(key=lambda item: -item.size)
    sizes: dict[str, int] = {}
    added = 0
    for item in ordered:
        share = _share(item, limits, to_add, added, known_total)
        sizes[item.name] = item.size + share
        added += share
    if ordered and to_add != added:
        first = ordered[0].name
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _only(new: Set | None, olds: Sequence[Set], active: Sequence[Set]) -> Set | None:
    """The one set with pods; with none, the newest there is (FindActiveOrLatest)."""
    if len(active) == 1:
        return active[0]
    if active:
        return None
    return new if new is not None else max(olds, key=lambda old: old.created, default=None)


def _share(item: Set, limits: Limits, to_add: int, added: int, known_total: int) -> int:
    if to_add in (0, added):
        return 0
    if limits.replicas == 0:
        fraction = -item.size
    else:
        before = item.most or known_total
        if not before:
            return 0
        fraction = _round(item.size * limits.most / before) - item.size
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _round(number: float) -> int:
    """Halves away from zero, as Go does; sizes are never negative."""
    return math.floor(number + 0.5)
