"""What a call to a store may raise.

Three families: the caller's view is out of date or wrong (`Exists`, `NotFound`, `Conflict`, `Compacted`,
`FutureRevision`, `Invalid`, `TooLarge`), the store cannot serve now (`Unavailable`, `NoSpace`, both `Retry`),
and the store cannot be opened (`InUse`, `Corrupt`, `WrongVersion`). A refused write has changed nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aio.errors import Rejected, Retry, cannot

if TYPE_CHECKING:
    from controlplane.store.model import Record


class StoreError(Exception):
    """Base of all of them."""


class Exists(StoreError):
    """A key to be created is there already. `current` is what is stored now."""

    def __init__(self, key: str, current: Record) -> None:
        super().__init__(cannot(f'create "{key}"', f"it exists at revision {current.mod_revision}"))
        self.key = key
        self.current = current


class NotFound(StoreError):
    """No such key."""

    def __init__(self, key: str) -> None:
        super().__init__(f'"{key}" not found')
        self.key = key


class Conflict(StoreError):
    """The key is not at the expected revision. `current` is what is stored now, None when nothing is."""

    def __init__(self, key: str, expected_mod_revision: int, current: Record | None) -> None:
        found = "it does not exist" if current is None else f"it is at revision {current.mod_revision}"
        expected = f"at revision {expected_mod_revision}" if expected_mod_revision else "absent"
        super().__init__(cannot(f'write "{key}"', f"expected {expected}, {found}"))
        self.key = key
        self.expected_mod_revision = expected_mod_revision
        self.current = current


class Compacted(StoreError):
    """The revision asked for is no longer kept; list anew. Kubernetes' 410 Expired."""

    def __init__(self, requested: int, compacted: int) -> None:
        super().__init__(cannot(f"read revision {requested}", f"history up to {compacted} is compacted"))
        self.requested = requested
        self.compacted = compacted


class FutureRevision(StoreError):
    """The revision asked for does not exist yet."""

    def __init__(self, requested: int, current: int) -> None:
        super().__init__(cannot(f"read revision {requested}", f"the store is at {current}"))
        self.requested = requested
        self.current = current


class Invalid(StoreError, Rejected):
    """A key, prefix or transaction that no store takes."""


class TooLarge(StoreError, Rejected):
    """The value, or all values of a transaction together, are more than one request may carry."""


class Unavailable(StoreError, Retry):
    """The engine failed to read or write; what was asked is not done, unless the connection was lost."""


class NoSpace(Unavailable):
    """The disk, or the store's own limit, is full. Reads go on; writes do again once there is room."""


class Closed(StoreError):
    """The store was closed."""


class InUse(StoreError):
    """Another process has the store open."""


class Corrupt(StoreError):
    """The file is damaged or is not a store. It is left exactly as it is."""


class WrongVersion(StoreError):
    """The file was written by a newer version of this program."""
