"""What every controller is, and what it is given: a view to read from, a writer for what it declared.

Objects are JSON values here: they are written back as patches, never through a typed view. A value from the
view is shared and must not be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aio.errors import Bug
from controlplane.recorder import Note, Recorder, Subject
from kube.cache import Cache
from kube.client import Client, DeleteOptions, JsonObject, PatchKind
from kube.client.paging import list_all
from kube.client.resources import Resource

NAMESPACE = "namespace"
CONTROLLER = "controller"
OWNER = "owner"
NODE = "node"


@dataclass(frozen=True, slots=True)
class Result:
    """`after`: seconds until the key is looked at again without any change; None = only on a change."""

    after: float | None = None


DONE = Result()


def key_of(value: JsonObject) -> str:
    """ "namespace/name", or "name"."""
    found = value["metadata"]
    namespace = found.get("namespace", "")
    return f"{namespace}/{found['name']}" if namespace else found["name"]


def split(key: str) -> tuple[str, str]:
    """(namespace, name); the namespace is "" for what has none."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def controller_of(value: JsonObject) -> JsonObject | None:
    """The owner reference that controls it."""
    owners: list[JsonObject] = value["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def namespace_index(value: JsonObject) -> Iterable[str]:
    return (value["metadata"].get("namespace", ""),)


def controller_index(value: JsonObject) -> Iterable[str]:
    owner = controller_of(value)
    return (owner["uid"],) if owner is not None else ()


def owner_index(value: JsonObject) -> Iterable[str]:
    return [owner["uid"] for owner in value["metadata"].get("ownerReferences") or []]


def node_index(value: JsonObject) -> Iterable[str]:
    name = (value.get("spec") or {}).get("nodeName")
    return (name,) if name else ()


INDEXES = {
    NAMESPACE: namespace_index, CONTROLLER: controller_index, OWNER: owner_index, NODE: node_index,
}  # fmt: skip


class View:
    """The local copies of what some controllers read."""

    def __init__(self, caches: Mapping[Resource, Cache[JsonObject]]) -> None:
        self._caches = caches

    def get(self, resource: Resource, key: str) -> JsonObject | None:
        return self._caches[resource].get(key)

    def all(self, resource: Resource) -> Iterator[JsonObject]:
        """Do not await while iterating."""
        return self._caches[resource].values()

    def in_namespace(self, resource: Resource, namespace: str) -> tuple[JsonObject, ...]:
        return self._caches[resource].by_index(NAMESPACE, namespace)

    def controlled_by(self, resource: Resource, uid: str) -> tuple[JsonObject, ...]:
        return self._caches[resource].by_index(CONTROLLER, uid)

    def owned_by(self, resource: Resource, uid: str) -> tuple[JsonObject, ...]:
        """Everything that names it as an owner, controller or not."""
        return self._caches[resource].by_index(OWNER, uid)

    def on_node(self, resource: Resource, node: str) -> tuple[JsonObject, ...]:
        return self._caches[resource].by_index(NODE, node)

    def has_reached(self, resource: Resource, version: int) -> bool:
        """Whether the copy shows a write that was answered with this version."""
        return int(self._caches[resource].version or 0) >= version


class Writer:
    """The API for one reconcile. Raises Bug for a kind that was not declared. `written` is the newest version
    per kind that a write was answered with."""

    def __init__(
        self, client: Client, recorder: Recorder, reads: Iterable[Resource], writes: Iterable[Resource]
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._writes = frozenset(writes)
        self._reads = frozenset(reads) | self._writes
        self.written: dict[Resource, int] = {}

    async def get(self, resource: Resource, key: str) -> JsonObject:
        """From the server, not from the copy."""
        if resource not in self._reads:
            raise Bug(f"read of {resource.qualified}, which this controller does not declare")
        namespace, name = split(key)
        return await self._client.get(resource, name, namespace=namespace)

    async def create(self, resource: Resource, body: JsonObject) -> JsonObject:
        """apiVersion and kind are set here."""
        self._must_write(resource)
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return self._note(resource, await self._client.create(resource, full))

    async def ask(
        self, resource: Resource, value: JsonObject, subresource: str, body: JsonObject
    ) -> JsonObject:
        """POST to a subresource that stores nothing (a ServiceAccount's token); `body` is whole."""
        self._must_write(resource)
        found = value["metadata"]
        return await self._client.create(
            resource, body, namespace=found.get("namespace", ""), name=found["name"], subresource=subresource
        )

    async def patch(
        self,
        resource: Resource,
        value: JsonObject,
        change: JsonObject,
        *,
        subresource: str = "",
        strict: bool = False,
    ) -> JsonObject:
        """A merge patch of the very object that was seen; `strict` = only while it is at the version seen
        (Conflict otherwise), which a patch that replaces a list needs."""
        self._must_write(resource)
        found = value["metadata"]
        guard = {"uid": found["uid"]}
        if strict:
            guard["resourceVersion"] = found["resourceVersion"]
        body = {**change, "metadata": {**change.get("metadata", {}), **guard}}
        answer = await self._client.patch(
            resource, found["name"], body, kind=PatchKind.MERGE,
            namespace=found.get("namespace", ""), subresource=subresource,
        )  # fmt: skip
        return self._note(resource, answer)

    async def update(self, resource: Resource, body: JsonObject, *, subresource: str = "") -> JsonObject:
        self._must_write(resource)
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return self._note(resource, await self._client.update(resource, full, subresource=subresource))

    async def delete(
        self, resource: Resource, value: JsonObject, *, propagation: str = "", grace: int | None = None
    ) -> None:
        """The very object that was seen; NotFound and Conflict when it is another one by now."""
        self._must_write(resource)
        found = value["metadata"]
        options = DeleteOptions(grace_period_seconds=grace, propagation=propagation, uid=found["uid"])
        answer = await self._client.delete(
            resource, found["name"], namespace=found.get("namespace", ""), options=options
        )
        self._note(resource, answer)

    async def list_live(self, resource: Resource, namespace: str) -> list[JsonObject]:
        """From the server, whatever the copies hold; for kinds it may write."""
        self._must_write(resource)
        return list((await list_all(self._client, resource, namespace=namespace)).json())

    async def delete_all(self, resource: Resource, namespace: str) -> None:
        self._must_write(resource)
        options = DeleteOptions(propagation="Background")
        await self._client.delete_collection(resource, namespace=namespace, options=options)

    def tell(self, resource: Resource, value: JsonObject, note: Note) -> None:
        """An Event, written in a while; a failure to write it is only logged."""
        about = {"apiVersion": resource.api_version, "kind": resource.kind, **value}
        self._recorder.record(Subject.of(about), note)

    def _must_write(self, resource: Resource) -> None:
        if resource not in self._writes:
            raise Bug(f"write of {resource.qualified}, which this controller does not declare")

    def _note(self, resource: Resource, answer: JsonObject) -> JsonObject:
        version: Any = (answer.get("metadata") or {}).get("resourceVersion") or "0"
        self.written[resource] = max(self.written.get(resource, 0), int(version))
        return answer


class Controller(Protocol):
    """`reads` are copied locally; `writes` is all it may change."""

    @property
    def name(self) -> str: ...
    @property
    def reads(self) -> tuple[Resource, ...]: ...
    @property
    def writes(self) -> tuple[Resource, ...]: ...

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        """Which keys to look at when `value` changed; called for its old and its new state."""
        ...

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        """StatusError and Unreachable mean: again, after a back-off."""
        ...
