"""How a Node of the API is: Ready or not and why, and whether that was said lately (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeState:
    """`why` is a sentence for one that is not ready."""

    is_ready: bool
    why: str = ""


def node_state(node: Json | None, lease: Json | None = None, since: datetime | None = None) -> NodeState:
    """`node` and its `lease` as the API has them, None for what is not there. With `since`, the agent must
    have said so then or later: a node that was ended keeps its last words in the store."""
    if node is None:
        return NodeState(False, "it is not registered")
    ready = next((one for one in _conditions(node) if one.get("type") == "Ready"), None)
    if ready is None:
        return NodeState(False, "it has said nothing of itself")
    if since is not None and not _was_heard(ready, lease, since):
        return NodeState(False, "nothing was heard of it since it was started")
    if ready.get("status") != "True":
        parts = (str(ready.get("reason") or ""), str(ready.get("message") or ""))
        return NodeState(False, ": ".join(part for part in parts if part) or "it does not say why")
    return NodeState(True)


def _conditions(node: Json) -> list[Json]:
    found: list[Json] = (node.get("status") or {}).get("conditions") or []
    return found


def _was_heard(ready: Json, lease: Json | None, since: datetime) -> bool:
    # Condition times are whole seconds, the lease's are microseconds.
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    if renewed and datetime.fromisoformat(renewed) >= since:
        return True
    beat = ready.get("lastHeartbeatTime")
    return beat is not None and datetime.fromisoformat(beat) >= since.replace(microsecond=0)
