"""Which transactions are done and what they change: pure, and the same for every engine.

`check` looks at the request alone; `decide` at what is stored, and either raises what the first operation
that cannot be done deserves or gives the changes, one per writing operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from controlplane.store.errors import Conflict, Exists, Invalid, NotFound, TooLarge
from controlplane.store.model import (
    MAX_KEY_BYTES,
    MAX_OPERATIONS,
    MAX_REQUEST_BYTES,
    Check,
    Create,
    Delete,
    Event,
    EventKind,
    Operation,
    Record,
    Update,
)


class Standing(NamedTuple):
    """What is stored under a key: the record, and when it expires (unix seconds)."""

    record: Record | None = None
    expires: float | None = None


class Change(NamedTuple):
    """One write: its event, and when the record it made expires (unix seconds)."""

    event: Event
    expires: float | None


def check_key(key: str) -> None:
    """Raises `Invalid` unless `key` is text of 1 to MAX_KEY_BYTES bytes without NUL."""
    if not key or "\0" in key:
        raise Invalid(f'cannot use "{key!a}" as a key: it must be non-empty and hold no NUL')
    check_text(key)


def check_text(text: str) -> None:
    """Raises `Invalid` unless `text` can be a key, or part of one, or the start of a page."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError as problem:
        raise Invalid(f"cannot use {text!a} as a key: {problem.reason}") from None
    if length > MAX_KEY_BYTES + 1:
        raise Invalid(f"cannot use a key of {length} bytes: the limit is {MAX_KEY_BYTES}")


def check(operations: Sequence[Operation]) -> None:
    """Raises `Invalid` or `TooLarge` for a transaction that no store takes, whatever it holds."""
    if len(operations) > MAX_OPERATIONS:
        raise Invalid(f"cannot do {len(operations)} operations at once: the limit is {MAX_OPERATIONS}")
    size = 0
    for operation in operations:
        check_key(operation.key)
        if isinstance(operation, Create | Update):
            size += len(operation.value)
        if not isinstance(operation, Create) and operation.expected_mod_revision < 0:
            raise Invalid(f'cannot expect "{operation.key}" at revision {operation.expected_mod_revision}')
    if len({operation.key for operation in operations}) < len(operations):
        raise Invalid("cannot do a transaction: a key occurs twice in it")
    if size > MAX_REQUEST_BYTES:
        raise TooLarge(f"cannot write {size} bytes at once: the limit is {MAX_REQUEST_BYTES}")


def check_revision(requested: int) -> None:
    if requested < 0:
        raise Invalid(f"cannot read revision {requested}: revisions are not negative")


def check_watch(prefix: str, from_revision: int) -> None:
    check_text(prefix)
    if from_revision < 1:
        raise Invalid(f"cannot watch from revision {from_revision}: the first one is 1")


def decide(
    operations: Sequence[Operation], standing: Callable[[str], Standing], revision: int, now: float
) -> list[Change]:
    """The changes of a transaction that takes `revision`, at unix time `now`.

    Raises `Exists`, `NotFound` or `Conflict`; nothing may have been written before this has returned.
    """
    changes = []
    for operation in operations:
        held = standing(operation.key)
        refuse(operation, held.record)
        if not isinstance(operation, Check):
            changes.append(_change(operation, held, revision, now))
    return changes


def refuse(operation: Operation, record: Record | None) -> None:
    """Raise if `operation` cannot be done where `record` is stored."""
    key = operation.key
    if isinstance(operation, Create):
        if record is not None:
            raise Exists(key, record)
        return
    expected = operation.expected_mod_revision
    if isinstance(operation, Check):
        if expected != (0 if record is None else record.mod_revision):
            raise Conflict(key, expected, record)
        return
    if record is None:
        raise NotFound(key)
    if expected and expected != record.mod_revision:
        raise Conflict(key, expected, record)


def _change(operation: Create | Update | Delete, held: Standing, revision: int, now: float) -> Change:
    previous = held.record
    if isinstance(operation, Delete):
        assert previous is not None
        return Change(Event(EventKind.DELETE, previous, previous, revision), None)
    created = revision if previous is None else previous.create_revision
    record = Record(operation.key, operation.value, created, revision)
    expires = held.expires if operation.ttl is None else now + operation.ttl
    return Change(Event(EventKind.PUT, record, previous, revision), expires)
