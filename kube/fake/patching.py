"""Patches on the fake: the media types it takes, and what they make of an object."""

from __future__ import annotations

from typing import Any

from kube import status
from kube.client.model import PatchKind
from kube.client.resources import Resource
from kube.fake.history import JsonObject, copy

_TAKEN = (PatchKind.JSON, PatchKind.MERGE, PatchKind.STRATEGIC)


def apply(resource: Resource, current: JsonObject, patch: Any, kind: PatchKind) -> JsonObject:
    """The object with the patch applied; `current` stays as it is."""
    if kind is PatchKind.MERGE:
        changed = merged(copy(current), patch)
        if isinstance(changed, dict):
            return changed
        raise status.bad_request("a merge patch must be an object")
    raise status.unsupported_media_type(kind.value, tuple(known.value for known in _TAKEN))


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386. `target` is changed in place."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merged(target.get(key), value)
    return target
