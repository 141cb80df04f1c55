"""Eviction signals and thresholds: what is measured, and how the configuration says where the line is (pure).

Amounts are whole numbers: bytes, inodes, processes. Rules and texts: kubernetes 1.36
pkg/kubelet/eviction/helpers.go and api/types.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from kube import quantity
from kube.go_duration import parse_duration
from kube.quantity import Format, QuantityError, from_int
from kubelet.node.resources import threshold_amount

ENFORCE_PODS = "pods"  # the entry of enforceNodeAllocatable that gives pods a limit of their own


class Signal(StrEnum):
    MEMORY = "memory.available"
    ALLOCATABLE_MEMORY = "allocatableMemory.available"
    NODE_FS = "nodefs.available"
    NODE_FS_INODES = "nodefs.inodesFree"
    IMAGE_FS = "imagefs.available"
    IMAGE_FS_INODES = "imagefs.inodesFree"
    CONTAINER_FS = "containerfs.available"
    CONTAINER_FS_INODES = "containerfs.inodesFree"
    PIDS = "pid.available"


class Condition(StrEnum):
    """Node conditions that signals turn on."""

    MEMORY = "MemoryPressure"
    DISK = "DiskPressure"
    PID = "PIDPressure"


class Resource(StrEnum):
    """What is short, as messages and annotations name it."""

    MEMORY = "memory"
    STORAGE = "ephemeral-storage"
    INODES = "inodes"
    PIDS = "pids"


class Layout(Enum):
    """Which filesystems the node has (KubeletSeparateDiskGC)."""

    SINGLE = "one filesystem"
    IMAGES_APART = "images and containers on one of their own"
    SPLIT = "images on one of their own, containers with the node"


_DISK = {
    Signal.NODE_FS: Resource.STORAGE,
    Signal.IMAGE_FS: Resource.STORAGE,
    Signal.CONTAINER_FS: Resource.STORAGE,
    Signal.NODE_FS_INODES: Resource.INODES,
    Signal.IMAGE_FS_INODES: Resource.INODES,
    Signal.CONTAINER_FS_INODES: Resource.INODES,
}
RESOURCE_OF: Mapping[Signal, Resource] = {
    Signal.MEMORY: Resource.MEMORY,
    Signal.ALLOCATABLE_MEMORY: Resource.MEMORY,
    Signal.PIDS: Resource.PIDS,
    **_DISK,
}
CONDITION_OF: Mapping[Signal, Condition] = {
    Signal.MEMORY: Condition.MEMORY,
    Signal.ALLOCATABLE_MEMORY: Condition.MEMORY,
    Signal.PIDS: Condition.PID,
    **dict.fromkeys(_DISK, Condition.DISK),
}


class BadThreshold(ValueError):
    """The configuration's thresholds cannot be used; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount, or a share of the capacity: the configuration's text, e.g. "100Mi" or "10%"."""

    text: str

    def of(self, capacity: int) -> int:
        """In whole units. Shares are 32-bit floats, as upstream keeps them."""
        return threshold_amount(self.text, from_int(capacity)).to_int()

    def shown(self, capacity: int) -> str:
        """As messages have it."""
        return str(from_int(self.of(capacity), Format.BINARY_SI)) if "%" in self.text else self.text


@dataclass(frozen=True, slots=True)
class Threshold:
    """The line: met when less than `limit` is available. Hard without a grace period (seconds)."""

    signal: Signal
    limit: Limit
    grace_seconds: float = 0.0
    min_reclaim: Limit | None = None

    @property
    def is_hard(self) -> bool:
        return self.grace_seconds == 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One measurement. `at`: when it was taken, in monotonic seconds."""

    available: int
    capacity: int
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class ThresholdTexts:
    """The maps of KubeletConfiguration, by signal."""

    hard: Mapping[str, str]
    soft: Mapping[str, str]
    soft_grace: Mapping[str, str]
    min_reclaim: Mapping[str, str]


def parse_thresholds(texts: ThresholdTexts, enforced: Iterable[str] = ()) -> tuple[Threshold, ...]:
    """All thresholds, hard ones first. `enforced`: enforceNodeAllocatable. BadThreshold.

    With pods limited as a whole, the hard memory line holds for that limit too.
    """
    reclaim = {_signal(name): _reclaim(name, text) for name, text in texts.min_reclaim.items()}
    grace = {_signal(name): _grace(name, text) for name, text in texts.soft_grace.items()}
    found = [Threshold(signal, limit) for signal, limit in _limits(texts.hard)]
    for signal, limit in _limits(texts.soft):
        if signal not in grace:
            raise BadThreshold(f"grace period must be specified for the soft eviction threshold {signal}")
        found.append(Threshold(signal, limit, grace[signal]))
    found = [replace(one, min_reclaim=reclaim.get(one.signal)) for one in found]
    if ENFORCE_PODS in enforced:
        found.extend(
            replace(one, signal=Signal.ALLOCATABLE_MEMORY)
            for one in list(found)
            if one.signal is Signal.MEMORY and one.is_hard
        )
    return tuple(found)


def with_container_fs(thresholds: Iterable[Threshold], layout: Layout) -> tuple[Threshold, ...]:
    """The lines of the containers' filesystem: those of the one it is on. Configured ones do not count."""
    kept = [one for one in thresholds if not one.signal.startswith("containerfs.")]
    prefix = "imagefs." if layout is Layout.IMAGES_APART else "nodefs."
    copies = [
        replace(one, signal=Signal("containerfs." + one.signal.removeprefix(prefix)))
        for one in kept
        if one.signal.startswith(prefix)
    ]
    return (*kept, *copies)


def _limits(texts: Mapping[str, str]) -> list[tuple[Signal, Limit]]:
    found = []
    for name, text in texts.items():
        signal = _signal(name)
        limit = _limit(signal, text)
        if limit is not None:
            found.append((signal, limit))
    return found


def _signal(name: str) -> Signal:
    if name not in set(Signal):
        raise BadThreshold(f"unsupported eviction signal {name}")
    return Signal(name)


def _limit(signal: Signal, text: str) -> Limit | None:
    """None: switched off by 0% or 100%."""
    if text.endswith("%"):
        share = _percent(text)
        if share < 0:
            raise BadThreshold(f"eviction percentage threshold {signal} must be >= 0%: {text}")
        if share > 100:
            raise BadThreshold(f"eviction percentage threshold {signal} must be <= 100%: {text}")
        return None if share in (0.0, 100.0) else Limit(text)
    if _amount(text) <= 0:
        raise BadThreshold(f"eviction threshold {signal} must be positive: {text}")
    return Limit(text)


def _reclaim(name: str, text: str) -> Limit:
    if text.endswith("%"):
        if not 0 < _percent(text) <= 100:
            raise BadThreshold(f"eviction percentage minimum reclaim {name} must be > 0% and <= 100%: {text}")
    elif _amount(text) < 0:
        raise BadThreshold(f"negative eviction minimum reclaim specified for {name}")
    return Limit(text)


def _grace(name: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise BadThreshold(f"invalid eviction grace period for {name}: {error}") from error
    if seconds < 0:
        raise BadThreshold(f"invalid eviction grace period specified: {text}, must be a positive value")
    return seconds


def _percent(text: str) -> float:
    try:
        share = float(text.removesuffix("%"))
    except ValueError as error:
        raise BadThreshold(f"cannot read {text} as a percentage: {error}") from error
    if not math.isfinite(share):
        raise BadThreshold(f"cannot read {text} as a percentage: not a finite number")
    return share


def _amount(text: str) -> int:
    try:
        return quantity.parse(text).to_int()
    except QuantityError as error:
        raise BadThreshold(str(error)) from error
