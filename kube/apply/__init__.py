"""Server-side apply: who owns which field of an object, and what an applied configuration makes of it.

    outcome = apply(live, config, owners, request)       # a new value and new owners, or ApplyConflicts
    owners = update(old, new, owners, update_request)    # after any other write

Pure functions over JSON values. `shape` reads list types and keys from the schema, `paths` is sets of fields
and their FieldsV1 form, `walk` compares, merges and prunes, `owners` is the managedFields list, `ownership`
decides.
"""

from __future__ import annotations

from kube.apply.errors import ApplyConflicts, ApplyError, Conflict
from kube.apply.owners import BEFORE_FIRST_APPLY, CLIENT_SIDE, Owner, Owners, decode, encode, is_reset
from kube.apply.ownership import Applied, Change, apply, untracked, update

__all__ = [
    "BEFORE_FIRST_APPLY", "CLIENT_SIDE", "Applied", "ApplyConflicts", "ApplyError", "Change",
    "Conflict", "Owner", "Owners", "apply", "decode", "encode", "is_reset", "untracked", "update",
]  # fmt: skip
