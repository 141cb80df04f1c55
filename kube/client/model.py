"""What one says to an API server and what comes back, as values; and `Client`, the protocol of whoever talks.

Objects go out as JSON values (`dict`) and come back as JSON values where there is one, as the bytes they came
in where there may be many (lists and watches): the reader chooses what to decode, and memory stays small.
`HttpClient` (kube.client.http) and `FakeClient` (kube.fake) pass one conformance suite.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from kube import objects
from kube.client.resources import Resource
from kube.objects.base import Object

JsonObject = dict[str, Any]
T = TypeVar("T", bound=Object)
View = type[T]

# Marks the bookmark that ends the initial events of a streaming list (meta/v1 InitialEventsAnnotationKey).
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class EventType(StrEnum):
    """What a watch says of an object. An ERROR never reaches a caller: it is raised as a StatusError."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class PatchKind(Enum):
    """How a patch body is meant; the value is its content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _Head(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


_HEAD = msgspec.json.Decoder(_Head)


def copy(value: JsonObject) -> JsonObject:
    """A value of its own, exactly as it would come over the wire."""
    copied: JsonObject = msgspec.json.decode(msgspec.json.encode(value))
    return copied


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an object is, read from its bytes without decoding the rest."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    is_initial_events_end: bool = False

    @property
    def key(self) -> str:
        """`namespace/name`, or the bare name where there is no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def identify(raw: bytes) -> Identity:
    """The identity of an encoded object. ValueError (msgspec's) when it is not JSON or has no such shape."""
    meta = _HEAD.decode(raw).metadata
    ends = meta.annotations is not None and meta.annotations.get(INITIAL_EVENTS_END) == "true"
    return Identity(meta.namespace, meta.name, meta.uid, meta.resource_version, ends)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. `raw` is the object as the server sent it (of a DELETED, its last state)."""

    type: EventType
    raw: bytes

    def json(self) -> JsonObject:
        found: JsonObject = msgspec.json.decode(self.raw)
        return found

    def read(self, type_: View[T]) -> T:
        return objects.decode(self.raw, type_)

    @property
    def identity(self) -> Identity:
        return identify(self.raw)


@dataclass(frozen=True, slots=True)
class ObjectList:
    """One page of a list. Items of a real server's lists carry no `kind` and `apiVersion` of their own."""

    items: tuple[bytes, ...]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None

    def json(self) -> tuple[JsonObject, ...]:
        return tuple(msgspec.json.decode(item) for item in self.items)

    def read(self, type_: View[T]) -> tuple[T, ...]:
        return tuple(objects.decode(item, type_) for item in self.items)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """`limit` 0 = all at once; `resource_version` "" = the newest, "0" = whatever the server has at hand."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`resource_version` "" or "0" begins with ADDED events of what exists; else only what came after it.
    `initial_events` asks for a streaming list: ADDED events, the bookmark that ends them, then changes.
    `timeout_seconds` 0 leaves the length of the stream to the server."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    bookmarks: bool = True
    initial_events: bool = False
    timeout_seconds: int = 0


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`field_validation` is "", "Ignore", "Warn" or "Strict"; `force` takes over fields in an apply."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """`grace_period_seconds` None = the object's own; `propagation` is "", "Background", "Foreground" or
    "Orphan"; `uid` and `resource_version` are preconditions."""

    grace_period_seconds: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    def to_json(self) -> JsonObject:
        """The body of a DELETE (meta/v1 DeleteOptions)."""
        body: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if self.grace_period_seconds is not None:
            body["gracePeriodSeconds"] = self.grace_period_seconds
        if self.propagation:
            body["propagationPolicy"] = self.propagation
        wanted = {"uid": self.uid, "resourceVersion": self.resource_version}
        if preconditions := {name: value for name, value in wanted.items() if value}:
            body["preconditions"] = preconditions
        if self.dry_run:
            body["dryRun"] = ["All"]
        return body


DEFAULT_LIST = ListOptions()
DEFAULT_WATCH = WatchOptions()
DEFAULT_WRITE = WriteOptions()
DEFAULT_DELETE = DeleteOptions()


@dataclass(frozen=True, slots=True)
class Call:
    """A request outside the usual verbs: `path` is absolute ("/version"), `query` unencoded."""

    path: str
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """All calls raise StatusError (see kube.status for its kinds) when the server refused, and
    `Unreachable` (a Retry) when there was no answer. An empty namespace on a namespaced kind means all of
    them when reading collections."""

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> JsonObject: ...

    async def list(
        self, resource: Resource, *, namespace: str = "", options: ListOptions = DEFAULT_LIST
    ) -> ObjectList:
        """One page; `kube.client.paging` reads all of them."""
        ...

    def watch(
        self, resource: Resource, *, namespace: str = "", options: WatchOptions = DEFAULT_WATCH
    ) -> AsyncGenerator[WatchEvent, None]:
        """One stream, until the server ends it. Raises Expired when the version is too old. Close the
        iterator (`contextlib.aclosing`) to end it early. `kube.client.follow` goes on over several."""
        ...

    async def create(
        self, resource: Resource, body: JsonObject, *, namespace: str = "", name: str = "",
        subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        """The namespace defaults to the body's; `name` is for subresources (binding, eviction, token)."""
        ...

    async def update(
        self, resource: Resource, body: JsonObject, *, name: str = "", namespace: str = "",
        subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        """Name and namespace default to the body's; a body with a resourceVersion is compare-and-swap."""
        ...

    async def patch(
        self, resource: Resource, name: str, patch: Any, *, kind: PatchKind = PatchKind.MERGE,
        namespace: str = "", subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject: ...  # fmt: skip

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", options: DeleteOptions = DEFAULT_DELETE
    ) -> JsonObject:
        """The object where it still exists, else a Status of success."""
        ...

    async def delete_collection(
        self, resource: Resource, *, namespace: str = "", selection: ListOptions = DEFAULT_LIST,
        options: DeleteOptions = DEFAULT_DELETE,
    ) -> None: ...  # fmt: skip

    async def call(self, call: Call) -> bytes:
        """Anything else (`/version`, `/healthz`, a pod's log): the body of a 2xx answer."""
        ...

    def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """The same, chunk by chunk as it comes (a log that is followed)."""
        ...

    async def close(self) -> None: ...
