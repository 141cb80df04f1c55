"""metadata.managedFields of what is written: kept for objects that were applied, and for no others.

An object that nobody applies costs nothing: it carries none, and a write of it looks no further than that.
From its first apply on every writer's changes are its own entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from controlplane.api.registry.model import Kind
from kube import apply as ssa
from kube import meta
from kube.apply import shape
from kube.client.model import JsonObject

FIELD = "managedFields"


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose write: the manager's name, and the subresource that was written."""

    manager: str
    subresource: str = ""


def is_tracked(value: JsonObject, old: JsonObject) -> bool:
    return FIELD in old["metadata"] or FIELD in value["metadata"]


def tracked(kind: Kind, value: JsonObject, old: JsonObject, origin: Origin, now: datetime) -> JsonObject:
    """An updated object with its owners as the write leaves them.

    Entries that come with the object are taken over, as long as they can be read and it was not a
    subresource that was written; the list `[{}]` makes an end of it (fieldmanager.decodeLiveOrNew).
    """
    asked = None if origin.subresource else value["metadata"].get(FIELD)
    if ssa.is_reset(asked):
        return with_owners(value, ())
    owners = ssa.decode(asked) or ssa.decode(old["metadata"].get(FIELD))
    if not owners:
        return with_owners(value, ())
    change = change_of(kind, origin, "Update", now)
    return with_owners(value, ssa.encode(ssa.update(old, value, owners, change)))


def settled(value: JsonObject, old: JsonObject) -> JsonObject:
    """The object as it was, when nothing but times of owners would change: such a write is none."""
    now, before = value["metadata"].get(FIELD), old["metadata"].get(FIELD)
    if now == before or not (now and before) or list(map(_timeless, now)) != list(map(_timeless, before)):
        return value
    kept = with_owners(value, before)
    return kept if kept == old else value


def _timeless(entry: JsonObject) -> JsonObject:
    return {key: item for key, item in entry.items() if key != "time"}


def change_of(kind: Kind, origin: Origin, operation: str, now: datetime) -> ssa.Change:
    version = kind.resource.api_version
    owner = ssa.Owner(origin.manager, operation, origin.subresource, version if operation == "Update" else "")
    return ssa.Change(owner, shape.of_type(kind.type_name), version, meta.format_time(now))


def with_owners(value: JsonObject, entries: Sequence[JsonObject]) -> JsonObject:
    metadata = {key: item for key, item in value["metadata"].items() if key != FIELD}
    if entries:
        metadata[FIELD] = list(entries)
    return {**value, "metadata": metadata}
