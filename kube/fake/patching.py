"""Patches on the fake: `kube.patch`, with the object's type in the schema where it has one."""

from __future__ import annotations

from typing import Any

from kube import patch as patches
from kube import schema, status
from kube.client.model import JsonObject, PatchKind
from kube.errors import Status


def apply(current: JsonObject, patch: Any, kind: PatchKind) -> JsonObject:
    """The object with the patch applied; `current` stays as it is. Refusals as of the API server."""
    type_name = schema.find_kind(current["apiVersion"], current["kind"])
    try:
        return patches.apply(kind.value, current, patch, type_name or "")
    except patches.PatchError as error:
        reason = status.reason_of(error.code)
        raise status.error_of(Status(error.code, reason, str(error))) from error
