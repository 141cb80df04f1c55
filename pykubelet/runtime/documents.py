"""CRI values as JSON documents, in the names of the CRI's own JSON form (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

NANOSECONDS_PER_SECOND = 1_000_000_000


def document(value: object) -> Any:
    """Dataclasses to maps with camelCase names, enums to their names, `..._at` times to RFC 3339."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = {}
        for item in fields(value):
            inner = getattr(value, item.name)
            is_time = item.name.endswith("_at") and isinstance(inner, int)
            shown[camel(item.name)] = rfc3339(inner) if is_time else document(inner)
        return shown
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return {str(key): document(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [document(inner) for inner in value]
    return value


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def rfc3339(nanoseconds: int) -> str:
    """ "" for 0, which is CRI's "not yet"."""
    if not nanoseconds:
        return ""
    seconds, rest = divmod(nanoseconds, NANOSECONDS_PER_SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}Z"


def unfold(info: Mapping[str, str]) -> dict[str, Any]:
    """A verbose answer's `info`: its values are texts, most of them JSON, which is opened."""
    opened: dict[str, Any] = {}
    for key, text in info.items():
        try:
            opened[key] = json.loads(text)
        except json.JSONDecodeError:
            opened[key] = text
    return opened
