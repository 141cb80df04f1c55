"""The three kinds of patch of the Kubernetes API, as functions over JSON values.

    patched = apply(STRATEGIC_MERGE, deployment, patch, "apps_v1.Deployment")

A patch is already parsed; it and the object stay as they were, and the result shares nothing with them.
PatchError carries the HTTP code and Kubernetes' words. `strategic.diff` and `merge.diff` make patches,
two-way and three-way. A patch of megabytes belongs in a thread.
"""

from __future__ import annotations

from typing import Any

from kube.patch import jsonpatch, merge, strategic
from kube.patch.errors import BAD_REQUEST, UNSUPPORTED, PatchError

__all__ = ["JSON_PATCH", "MERGE", "STRATEGIC_MERGE", "PatchError", "apply", "jsonpatch", "merge", "strategic"]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"


def apply(content_type: str, original: dict[str, Any], patch: Any, type_name: str = "") -> dict[str, Any]:
    """The patched object, for one of the three content types. `type_name` is the object's in the schema
    ("core_v1.Pod"); without one a strategic merge is refused (415), as it is for custom resources."""
    try:
        if content_type == JSON_PATCH:
            return jsonpatch.apply(original, patch)
        if content_type == MERGE:
            return merge.apply(original, patch)
        if content_type == STRATEGIC_MERGE and type_name:
            return strategic.apply(original, patch, type_name)
    except RecursionError:
        raise PatchError("cannot read patch: because it is nested too deep", BAD_REQUEST) from None
    supported = ", ".join((JSON_PATCH, MERGE, STRATEGIC_MERGE) if type_name else (JSON_PATCH, MERGE))
    message = "the body of the request was in an unknown format - accepted media types include: "
    raise PatchError(message + supported, UNSUPPORTED)
