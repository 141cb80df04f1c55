"""Why an apply is refused, with Kubernetes' words and causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kube.apply.owners import Owner
from kube.apply.paths import Path, shown


class ApplyError(ValueError):
    """The configuration cannot be told apart into fields; the text begins with the place."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that the configuration would change and another owns."""

    owner: Owner
    path: Path

    def cause(self) -> dict[str, str]:
        """As in a Status's details."""
        message = f"conflict with {self.owner.shown()}"
        return {"reason": "FieldManagerConflict", "message": message, "field": shown(self.path)}


class ApplyConflicts(Exception):
    """One or more; the message is that of fieldmanager's NewConflictError."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__(_message(self.conflicts))


def _message(conflicts: tuple[Conflict, ...]) -> str:
    if len(conflicts) == 1:
        only = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {only.owner.shown()}: {shown(only.path)}"
    by_owner: dict[str, list[str]] = {}
    for conflict in conflicts:
        by_owner.setdefault(conflict.owner.shown(), []).append(f"- {shown(conflict.path)}")
    parts = [f"conflicts with {owner}:\n" + "\n".join(by_owner[owner]) for owner in sorted(by_owner)]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(parts)
