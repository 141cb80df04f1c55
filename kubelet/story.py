"""The story of one pod: a bounded list of what happened and what was done about it, and why.

It is kept in memory for `/debug/pods/UID` and for the report of a bug; it is neither the log nor
Kubernetes' events. Entries are values; text is made only when somebody asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from typing import Any

from kubelet import happened as h
from kubelet.actions import Action
from kubelet.model import Instant, Stage

STORY_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Chapter:
    at: Instant
    event: h.Happened
    stage: Stage
    actions: tuple[Action, ...]


class Story:
    """The newest `length` chapters; quiet wake-ups are not worth one."""

    def __init__(self, length: int = STORY_LENGTH) -> None:
        self._chapters: deque[Chapter] = deque(maxlen=length)

    def add(self, at: Instant, event: h.Happened, stage: Stage, actions: tuple[Action, ...]) -> None:
        if actions or not isinstance(event, h.Woke | h.RuntimeChanged):
            self._chapters.append(Chapter(at, event, stage, actions))

    def lines(self) -> tuple[str, ...]:
        """Oldest first: unix seconds, stage, event, then the actions it led to."""
        return tuple(_line(chapter) for chapter in self._chapters)

    def documents(self) -> list[dict[str, Any]]:
        """The same as JSON-ready objects."""
        return [
            {
                "at": round(chapter.at.wall, 3),
                "stage": chapter.stage.name,
                "event": describe(chapter.event),
                "actions": [describe(action) for action in chapter.actions],
            }
            for chapter in self._chapters
        ]


def _line(chapter: Chapter) -> str:
    actions = "; ".join(describe(action) for action in chapter.actions)
    arrow = f" -> {actions}" if actions else ""
    return f"{chapter.at.wall:.3f} {chapter.stage.name} {describe(chapter.event)}{arrow}"


_NOT_TOLD = frozenset({"pod", "result", "why", "image_id"})


def describe(value: h.Happened | Action) -> str:
    """One event or action in a line: its name, what it concerns, and why."""
    if isinstance(value, h.ActionDone | h.ActionCancelled):
        word = "done" if isinstance(value, h.ActionDone) else "cancelled"
        return f"{word}: {describe(value.action)}"
    if isinstance(value, h.ActionFailed):
        return f"failed: {describe(value.action)}: {value.failure.message}"
    parts = [
        f"{item.name}={_short(getattr(value, item.name))}"
        for item in fields(value)
        if item.name not in _NOT_TOLD and getattr(value, item.name) not in (None, "", frozenset())
    ]
    why = f": {value.why}" if isinstance(value, Action) else ""
    inside = f"({', '.join(parts)})" if parts else ""
    return f"{type(value).__name__}{inside}{why}"


def _short(value: Any) -> str:
    text = str(value)
    is_id = isinstance(value, str) and len(value) == 64
    return text[:13] if is_id else text
