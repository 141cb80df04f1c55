"""All objects of the fake API server, and every change since the last compaction, in one order.

One revision counter for all resources. Stored values are never changed in place; an older state is found by
taking changes back. Reading before the compaction raises Expired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kube import status
from kube.client.model import JsonObject, copy
from kube.client.resources import Resource

# (namespace, name); the namespace of a cluster's object is "".
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `old` None = created, `new` None = removed. A removal's `last` is the final state, with the
    revision of the removal in it."""

    revision: int
    resource: Resource
    place: Place
    old: JsonObject | None
    new: JsonObject | None
    last: JsonObject


class History:
    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.changes: list[Change] = []
        self._objects: dict[Resource, dict[Place, JsonObject]] = {}

    def all(self, resource: Resource) -> Mapping[Place, JsonObject]:
        """What is stored now. Not to be changed, and not to be kept."""
        return self._objects.get(resource, {})

    def get(self, resource: Resource, place: Place) -> JsonObject:
        """NotFound when there is none."""
        found = self.all(resource).get(place)
        if found is None:
            raise status.not_found(resource, place[1])
        return found

    def write(self, resource: Resource, value: JsonObject) -> JsonObject:
        """Create or replace; the new revision is put into a copy, which is returned."""
        self.revision += 1
        stored = copy(value)
        stored["metadata"]["resourceVersion"] = str(self.revision)
        place = place_of(stored)
        objects = self._objects.setdefault(resource, {})
        old = objects.get(place)
        objects[place] = stored
        self.changes.append(Change(self.revision, resource, place, old, stored, stored))
        return stored

    def remove(self, resource: Resource, place: Place, last: JsonObject) -> JsonObject:
        """Take it away; `last` is its final state, returned with the revision of the removal."""
        old = self._objects[resource].pop(place)
        self.revision += 1
        gone = copy(last)
        gone["metadata"]["resourceVersion"] = str(self.revision)
        self.changes.append(Change(self.revision, resource, place, old, None, gone))
        return gone

    def at(self, resource: Resource, revision: int) -> dict[Place, JsonObject]:
        """The objects as they were right after `revision`. Expired when that is compacted."""
        self.must_know(revision)
        found = dict(self.all(resource))
        for change in reversed(self.changes):
            if change.revision <= revision:
                break
            if change.resource != resource:
                continue
            if change.old is None:
                del found[change.place]
            else:
                found[change.place] = change.old
        return found

    def after(self, revision: int) -> tuple[Change, ...]:
        """Changes after `revision`, oldest first. The reader has been let in by `must_know` and is counted in
        what `compact` keeps."""
        if revision >= self.revision:
            return ()
        # Revisions in the log have no gaps: the wanted ones are the last so many.
        return tuple(self.changes[revision - self.revision :])

    def compact(self, revision: int, slowest_reader: int) -> None:
        """Nobody can begin before `revision` from now on; what an open watch has not read yet is kept."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        kept_after = min(self.compacted, slowest_reader)
        self.changes = [change for change in self.changes if change.revision > kept_after]

    def must_know(self, revision: int) -> None:
        if revision < self.compacted:
            raise status.too_old(revision, self.compacted)


def place_of(value: JsonObject) -> Place:
    meta = value["metadata"]
    return meta.get("namespace", ""), meta["name"]
