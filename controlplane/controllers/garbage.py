"""Garbage collection: what belongs only to things that are gone goes too.

Three ways for an owner to go. Background: it is gone, and its dependents follow, each checked against the
server before it is deleted. Foreground: it waits, with the finalizer "foregroundDeletion", until every
dependent that blocks it has gone. Orphan: its dependents lose the reference, then the finalizer "orphan"
goes. An owner of a kind that is not known here is taken to exist: nothing is deleted for want of knowledge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from kube import status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
# Events are never owners or owned, and there are many.
KINDS = tuple(kind for kind in r.STORED if kind != r.EVENTS)


class Owner(Enum):
    SOLID = "exists"
    WAITING = "waits for its dependents"
    GONE = "is gone"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`drop`: uids of references to take away; `delete`: how the object goes, "" = it stays."""

    drop: frozenset[str] = frozenset()
    delete: str = ""


def judge(states: Sequence[tuple[JsonObject, Owner]], *, has_dependents: bool) -> Verdict:
    """What becomes of an object with these owner references (attemptToDeleteItem)."""
    if not states:
        return Verdict()
    rest = frozenset(reference["uid"] for reference, state in states if state is not Owner.SOLID)
    if any(state is Owner.SOLID for _, state in states):
        return Verdict(drop=rest)
    is_awaited = any(state is Owner.WAITING for _, state in states)
    return Verdict(delete="Foreground" if is_awaited and has_dependents else "Background")


def state_of(owner: JsonObject | None, reference: JsonObject) -> Owner:
    """`owner` is what is found under the name of the reference."""
    if owner is None or owner["metadata"]["uid"] != reference["uid"]:
        return Owner.GONE
    return Owner.WAITING if awaits_dependents(owner) else Owner.SOLID


def is_going(value: JsonObject) -> bool:
    return "deletionTimestamp" in value["metadata"]


def awaits_dependents(value: JsonObject) -> bool:
    return is_going(value) and FOREGROUND in finalizers_of(value)


def finalizers_of(value: JsonObject) -> list[str]:
    return value["metadata"].get("finalizers") or []


def references_of(value: JsonObject) -> list[JsonObject]:
    return value["metadata"].get("ownerReferences") or []


def blocks(dependent: JsonObject, owner_uid: str) -> bool:
    references = references_of(dependent)
    return any(item["uid"] == owner_uid and item.get("blockOwnerDeletion") for item in references)


class GarbageCollector:
    """`kinds` are all kinds that may own or be owned."""

    name = "garbage-collector-controller"

    def __init__(self, kinds: Sequence[Resource] = KINDS) -> None:
        self.reads = self.writes = tuple(kinds)
        self._by_name = {kind.qualified: kind for kind in kinds}
        self._by_kind = {(kind.group, kind.kind): kind for kind in kinds}

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        """Itself, what depends on it if it goes or is gone, and an owner that may wait for it to go.

        Most changes are of things that stay and whose owners do: they concern nobody else."""
        if references_of(value) or is_going(value):
            yield self._key(resource, value)
        if is_going(value) or not _is_there(resource, value, view):
            for kind, dependent in self._dependents(value, view):
                yield self._key(kind, dependent)
        for reference in references_of(value):
            kind_ = self._kind_of(reference)
            if kind_ is not None:
                place = _owner_key(kind_, reference, value)
                owner = view.get(kind_, place)
                if owner is not None and is_going(owner):
                    yield f"{kind_.qualified}|{place}"

    def _key(self, resource: Resource, value: JsonObject) -> str:
        return f"{resource.qualified}|{key_of(value)}"

    def _kind_of(self, reference: JsonObject) -> Resource | None:
        """By group and kind: the version may be another one."""
        group, _, _ = reference["apiVersion"].rpartition("/")
        return self._by_kind.get((group, reference["kind"]))

    def _dependents(self, value: JsonObject, view: View) -> Iterator[tuple[Resource, JsonObject]]:
        for kind in self.reads:
            for dependent in view.owned_by(kind, value["metadata"]["uid"]):
                yield kind, dependent

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        name, _, place = key.partition("|")
        resource = self._by_name[name]
        value = view.get(resource, place)
        if value is None:
            return DONE
        try:
            if not is_going(value):
                await self._check_owners(resource, value, view, api)
            elif ORPHAN in finalizers_of(value):
                await self._orphan(resource, value, view, api)
            elif FOREGROUND in finalizers_of(value):
                await self._delete_dependents(resource, value, view, api)
        except status.NotFound:
            return DONE  # it went by itself
        return DONE

    async def _check_owners(self, resource: Resource, value: JsonObject, view: View, api: Writer) -> None:
        references = references_of(value)
        states = [(item, await self._look(resource, value, item, view, api)) for item in references]
        if all(state is Owner.SOLID for _, state in states):
            return
        dependents = [dependent for _, dependent in self._dependents(value, view)]
        verdict = judge(states, has_dependents=bool(dependents))
        if verdict.drop:
            await self._drop_references(resource, value, verdict.drop, api)
        elif verdict.delete:
            if verdict.delete == "Foreground" and any(awaits_dependents(one) for one in dependents):
                await self._unblock(resource, value, api)
            await api.delete(resource, value, propagation=verdict.delete)

    async def _look(
        self, resource: Resource, value: JsonObject, reference: JsonObject, view: View, api: Writer
    ) -> Owner:
        """The copy suffices to see that an owner exists; that it is gone the server must say."""
        kind = self._kind_of(reference)
        if kind is None or (kind.namespaced and not resource.namespaced):
            return Owner.SOLID
        place = _owner_key(kind, reference, value)
        found = state_of(view.get(kind, place), reference)
        if found is not Owner.GONE:
            return found
        try:
            return state_of(await api.get(kind, place), reference)
        except status.NotFound:
            return Owner.GONE

    async def _orphan(self, resource: Resource, value: JsonObject, view: View, api: Writer) -> None:
        uid = value["metadata"]["uid"]
        for kind, dependent in list(self._dependents(value, view)):
            await self._drop_references(kind, dependent, frozenset((uid,)), api)
        await self._drop_finalizer(resource, value, ORPHAN, api)

    async def _delete_dependents(
        self, resource: Resource, value: JsonObject, view: View, api: Writer
    ) -> None:
        uid = value["metadata"]["uid"]
        dependents = list(self._dependents(value, view))
        if not any(blocks(dependent, uid) for _, dependent in dependents):
            await self._drop_finalizer(resource, value, FOREGROUND, api)
            return
        for kind, dependent in dependents:
            if not is_going(dependent):
                try:
                    await self._check_owners(kind, dependent, view, api)
                except status.NotFound:
                    continue

    async def _unblock(self, resource: Resource, value: JsonObject, api: Writer) -> None:
        """A dependent that waits for its own dependents may be an owner too: in such a circle each would wait
        for the next for ever, so this one holds its owners no longer."""
        kept = [{**item, "blockOwnerDeletion": False} for item in references_of(value)]
        await api.patch(resource, value, {"metadata": {"ownerReferences": kept}}, strict=True)

    async def _drop_references(
        self, resource: Resource, value: JsonObject, uids: frozenset[str], api: Writer
    ) -> None:
        kept = [item for item in references_of(value) if item["uid"] not in uids]
        await api.patch(resource, value, {"metadata": {"ownerReferences": kept}}, strict=True)

    async def _drop_finalizer(self, resource: Resource, value: JsonObject, name: str, api: Writer) -> None:
        kept = [item for item in finalizers_of(value) if item != name]
        await api.patch(resource, value, {"metadata": {"finalizers": kept}}, strict=True)


def _is_there(resource: Resource, value: JsonObject, view: View) -> bool:
    """Whether the copy has this very object, whatever its state."""
    found = view.get(resource, key_of(value))
    return found is not None and found["metadata"]["uid"] == value["metadata"]["uid"]


def _owner_key(kind: Resource, reference: JsonObject, dependent: JsonObject) -> str:
    namespace = dependent["metadata"].get("namespace", "") if kind.namespaced else ""
    name: str = reference["name"]
    return f"{namespace}/{name}" if namespace else name
