"""JSON merge patch (RFC 7386): objects merge, null deletes, anything else replaces; and how to make one."""

from __future__ import annotations

from typing import Any

from kube.patch.errors import BAD_REQUEST, PatchError
from kube.patch.values import Json, clone, same


def apply(original: Json, patch: Any) -> Json:
    """The patched object; neither argument is changed or shared. PatchError (400) for no object."""
    if not isinstance(patch, dict):
        raise PatchError("Invalid JSON Patch", BAD_REQUEST)
    merged: Json = _merge(clone(original), patch)
    return merged


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return clone(patch)
    if not isinstance(target, dict):
        target = {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = _merge(target.get(key), value)
    return target


def diff(current: Json, modified: Json, last_applied: Json | None = None) -> Json:
    """The patch that turns `current` into `modified`; {} when there is nothing to do.

    With `last_applied`, the object as its author wrote it the last time, only what the author dropped since
    is deleted and what others added stays (the three-way patch of `kubectl apply`). `modified` has no nulls.
    """
    return _diff(current, modified, current if last_applied is None else last_applied)


def _diff(current: Json, modified: Json, base: Json) -> Json:
    patch: Json = {}
    for key, value in modified.items():
        now = current.get(key)
        if isinstance(value, dict) and isinstance(now, dict):
            was = base.get(key)
            inner = _diff(now, value, was if isinstance(was, dict) else {})
            if inner:
                patch[key] = inner
        elif key not in current or not same(now, value):
            patch[key] = clone(value)
    for key in base:
        if key not in modified and key in current:
            patch[key] = None
    return patch
