"""Conditions of pods and nodes: find one, and replace one without touching its transition time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from kube import meta
from kube.objects.core_v1 import Pod

TRUE = "True"
FALSE = "False"
UNKNOWN = "Unknown"


class Condition(Protocol):
    """What PodCondition, NodeCondition and meta/v1's Condition share."""

    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def last_transition_time(self) -> str | None: ...


C = TypeVar("C", bound=Condition)


def find(conditions: Iterable[C], type_: str) -> C | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[C], type_: str) -> bool:
    found = find(conditions, type_)
    return found is not None and found.status == TRUE


def is_ready(pod: Pod) -> bool:
    """Whether the pod's Ready condition is True."""
    return is_true(pod.status.conditions, "Ready")


def set_condition(conditions: Iterable[C], new: C, now: datetime) -> tuple[C, ...]:
    """`conditions` with `new` in the place of the one of its type, or at the end. The transition time is
    kept while the status stays the same, and is `now` when it changes or was never set."""
    conditions = tuple(conditions)
    old = find(conditions, new.type)
    since = old.last_transition_time if old is not None and old.status == new.status else None
    stamped = msgspec.structs.replace(new, last_transition_time=since or meta.format_time(now))  # type: ignore[type-var]
    if old is None:
        return (*conditions, stamped)
    return tuple(stamped if item is old else item for item in conditions)
