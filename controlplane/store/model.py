"""The `Store` protocol and its values: keys, bytes, one global revision, as etcd v3 has them.

Every transaction that writes takes the next revision, and all its writes share it. An empty store is at
revision 1. A record knows the revision that created it and the one that wrote it last; a key that is deleted
and created again starts anew. Reads may ask for an older revision until it is compacted. Nobody reads a
revision before its events are published to the watches, and a returned write is on stable storage (where the
engine has one). Keys are ordered by their UTF-8 bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import msgspec

FIRST_REVISION = 1
"""Of a store that was never written, as in etcd; 0 stays free to mean "the latest"."""
MAX_REQUEST_BYTES = 3 * 512 * 1024
"""All values of one transaction: etcd's default request limit of 1.5 MiB."""
MAX_OPERATIONS = 128
"""Of one transaction: etcd's default --max-txn-ops."""
MAX_KEY_BYTES = 4096


class Record(msgspec.Struct, frozen=True, gc=False):
    """One key at one revision."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


class EventKind(enum.Enum):
    PUT = "PUT"
    DELETE = "DELETE"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One write. `record` is the state it made, or for a deletion the one it ended (then also `previous`).

    `previous` is the state before, None when the write created the key. `revision` is the write's own: for a
    PUT `record.mod_revision`, for a DELETE later than it. Events of one transaction share it.
    """

    kind: EventKind
    record: Record
    previous: Record | None
    revision: int


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Every event of this watch up to and including `revision` has been delivered."""

    revision: int


class Page(msgspec.Struct, frozen=True):
    """Part of a listing, in key order, as of `revision`. `remaining` keys follow; `more` is `remaining > 0`.

    The next page starts at `continue_key(page)` and is to be read at the same `revision`.
    """

    records: tuple[Record, ...]
    revision: int
    more: bool = False
    remaining: int = 0


class Create(msgspec.Struct, frozen=True):
    """The key must not exist. `ttl` in seconds: deleted by the store some time after it has passed."""

    key: str
    value: bytes
    ttl: float | None = None


class Update(msgspec.Struct, frozen=True):
    """The key must exist, at `expected_mod_revision` unless that is 0. `ttl` None leaves its expiry alone."""

    key: str
    value: bytes
    expected_mod_revision: int
    ttl: float | None = None


class Delete(msgspec.Struct, frozen=True):
    """The key must exist, at `expected_mod_revision` unless that is 0."""

    key: str
    expected_mod_revision: int = 0


class Check(msgspec.Struct, frozen=True):
    """A condition alone: the key is at `expected_mod_revision`; 0 means that it does not exist."""

    key: str
    expected_mod_revision: int


Operation = Create | Update | Delete | Check


class Committed(msgspec.Struct, frozen=True):
    """What a transaction did: one event per writing operation, in their order."""

    revision: int
    events: tuple[Event, ...]


class Deleted(msgspec.Struct, frozen=True):
    """What was deleted, and the revision of the deletion."""

    record: Record
    revision: int


class Watch(Protocol):
    """Events of one prefix in revision order, none missing, none twice. One reader. Close it when done.

    Reading raises `Compacted` when the events wanted next are no longer kept (also in the middle, for a
    reader that has fallen that far behind) and `Closed` when the store closes; after `aclose` the iteration
    ends. A cancelled read loses nothing.
    """

    def __aiter__(self) -> Watch: ...

    async def __anext__(self) -> Event | Progress: ...

    async def take(self) -> Sequence[Event | Progress]:
        """Everything that is ready, at least one; waits for that one. Empty only after `aclose`."""
        ...

    def request_progress(self) -> None:
        """Deliver a `Progress` once all events up to now are delivered; several requests may share one.

        The first one, when the watch has caught up with the present, comes unasked.
        """
        ...

    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Watch: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Any call may raise `Unavailable` and `Closed`; a `key` that is no key raises `Invalid`."""

    async def get(self, key: str, revision: int = 0) -> Record | None:
        """The key as of `revision`, 0 being the latest. `Compacted`, `FutureRevision`."""
        ...

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Keys beginning with `prefix`, from `start` on (inclusive), `limit` of them (0: all), in order.

        All as of `revision` (0: the latest). `Compacted`, `FutureRevision`.
        """
        ...

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> int:
        """Returns the new revision. `Exists`, `TooLarge`, `NoSpace`."""
        ...

    async def update(
        self, key: str, value: bytes, expected_mod_revision: int, *, ttl: float | None = None
    ) -> int:
        """Returns the new revision. 0 expects any. `NotFound`, `Conflict`, `TooLarge`, `NoSpace`."""
        ...

    async def delete(self, key: str, expected_mod_revision: int = 0) -> Deleted:
        """0 expects any. `NotFound`, `Conflict`, `NoSpace`."""
        ...

    async def transact(self, operations: Sequence[Operation]) -> Committed:
        """All or nothing, at one revision. Raises what the first operation that cannot be done raises.

        A key may occur once (`Invalid`). Conditions alone take no revision: the present one is returned.
        """
        ...

    def watch(self, prefix: str, from_revision: int) -> Watch:
        """Events under `prefix` with revisions >= `from_revision` (1 or more; a future one is waited for).

        After a listing that is `page.revision + 1`.
        """
        ...

    async def revision(self) -> int:
        """The latest revision whose events are published; at least that of every write that has returned."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget states before `revision` and events up to it. `FutureRevision`; an old one has no effect."""
        ...

    async def close(self) -> None:
        """End watches, finish what was asked before, release everything. May be called again."""
        ...


def continue_key(page: Page) -> str:
    """The `start` of the page after this one: the smallest key after its last."""
    return page.records[-1].key + "\0"


def prefix_end(prefix: str) -> str | None:
    """The first string after all that begin with `prefix`, in code point order; None when there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1  # surrogates are not characters
            return prefix[:index] + chr(following)
    return None
