"""Columns, and how to fill them: a printer is the declaration of one kind's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kube import meta

Json = Mapping[str, Any]
Cells = list[Any]
NONE, UNKNOWN = "<none>", "<unknown>"


@dataclass(frozen=True, slots=True)
class Column:
    """`wide` columns are shown by -o wide alone. `type` and `format` are OpenAPI's."""

    name: str
    type: str = "string"
    description: str = ""
    format: str = ""
    wide: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "type": self.type, "format": self.format, "description": self.description,
            "priority": 1 if self.wide else 0,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Printer:
    """`cells` has one value per column. `conditions` are those of the row (a pod that is done)."""

    columns: Sequence[Column]
    cells: Callable[[Json, datetime], Cells]
    conditions: Callable[[Json], list[dict[str, str]]] | None = None


NAME = Column("Name", description="Name must be unique within a namespace.", format="name")
AGE = Column("Age", description="How long ago the object was made.")
CREATED_AT = Column("Created At", "date", "When the object was made.")


def wide(name: str, description: str = "", type_: str = "string") -> Column:
    return Column(name, type_, description, wide=True)


def name_of(item: Json) -> str:
    return str(item["metadata"].get("name", ""))


def age_of(item: Json, now: datetime) -> str:
    return since(item["metadata"].get("creationTimestamp"), now)


def since(stamp: str | None, now: datetime) -> str:
    """How long ago that was, as people say it; `<unknown>` for no time."""
    return short(now - meta.parse_time(stamp)) if stamp else UNKNOWN


def short(length: timedelta) -> str:
    """Two units at most, and the smaller one only while it matters (util/duration.HumanDuration)."""
    seconds = int(length.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, its_unit: str, small: int, unit: str) -> str:
    return f"{large}{its_unit}{small}{unit}" if small else f"{large}{its_unit}"


def labels_text(labels: Json | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Json | None) -> str:
    """A LabelSelector as kubectl writes it (FormatLabelSelector)."""
    found = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((found.get("matchLabels") or {}).items())]
    for term in found.get("matchExpressions") or ():
        key, values = term.get("key", ""), ",".join(sorted(term.get("values") or ()))
        text = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key,
                "DoesNotExist": f"!{key}"}  # fmt: skip
        parts.append(text.get(term.get("operator", ""), "<error>"))
    return ",".join(parts) or NONE


def containers_text(spec: Json) -> tuple[str, str]:
    """Names and images of a pod template's containers."""
    containers = (((spec.get("template") or {}).get("spec")) or {}).get("containers") or ()
    names = ",".join(item.get("name", "") for item in containers)
    return names, ",".join(item.get("image", "") for item in containers)


def shortened(texts: Sequence[str], nothing: str) -> str:
    """The first three, and how many more there are."""
    if len(texts) > _SHOWN:
        return f"{','.join(texts[:_SHOWN])} + {len(texts) - _SHOWN} more..."
    return ",".join(texts) or nothing


_SHOWN = 3


def _plain(item: Json, now: datetime) -> Cells:
    return [name_of(item), item["metadata"].get("creationTimestamp")]


PLAIN = Printer((NAME, CREATED_AT), _plain)
"""Of a kind that has no columns of its own."""
