"""SQLite's errors in the store's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from aio.errors import cannot
from controlplane.store.errors import Corrupt, NoSpace, StoreError, Unavailable


def translated(what: str, error: apsw.Error) -> StoreError:
    """The store's error for SQLite's `error`, met when trying to `what`."""
    if isinstance(error, apsw.FullError):
        return NoSpace(cannot(what, "the disk or the store is full"))
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return Corrupt(cannot(what, f"the store is damaged ({error})"))
    return Unavailable(cannot(what, f"{type(error).__name__}: {error}"))


@contextmanager
def translating(what: str) -> Iterator[None]:
    """Raise the store's errors instead of SQLite's."""
    try:
        yield
    except (apsw.SQLError, apsw.MisuseError, apsw.BindingsError):
        raise  # a mistake of ours, to be seen as it is
    except apsw.Error as error:
        raise translated(what, error) from error
