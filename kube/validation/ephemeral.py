"""Validate the ephemeral containers of a pod (core validation, validateEphemeralContainers), on the JSON
value after the structure check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kube import errors
from kube.errors import FieldError
from kube.validation import names
from kube.validation.volumes import PULL_POLICIES

Json = dict[str, Any]
_NOT_FOR_THEM = "cannot be set for an Ephemeral Container"
_FORBIDDEN = (
    "ports", "resources", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy",
    "restartPolicy",
)  # fmt: skip


def ephemeral_containers(spec: Json) -> Iterator[FieldError]:
    path = "spec.ephemeralContainers"
    others = [
        item.get("name") for field in ("containers", "initContainers") for item in spec.get(field) or ()
    ]
    seen = set(others)
    for index, item in enumerate(spec.get("ephemeralContainers") or ()):
        at = f"{path}[{index}]"
        name = item.get("name") or ""
        yield from names.required_name(f"{at}.name", name, names.dns_label)
        if name in seen:
            yield errors.duplicate(f"{at}.name", name)
        seen.add(name)
        if not item.get("image"):
            yield errors.required(f"{at}.image")
        if item.get("imagePullPolicy"):
            yield from names.one_of(f"{at}.imagePullPolicy", item["imagePullPolicy"], PULL_POLICIES)
        target = item.get("targetContainerName")
        if target and target not in others:
            yield errors.not_found(f"{at}.targetContainerName", target)
        for field in _FORBIDDEN:
            if item.get(field):
                yield errors.forbidden(f"{at}.{field}", _NOT_FOR_THEM)
        yield from _mounts(item, spec, at)


def _mounts(item: Json, spec: Json, at: str) -> Iterator[FieldError]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for index, mount in enumerate(item.get("volumeMounts") or ()):
        path = f"{at}.volumeMounts[{index}]"
        if not mount.get("mountPath"):
            yield errors.required(f"{path}.mountPath")
        if mount.get("name") not in volumes:
            yield errors.not_found(f"{path}.name", mount.get("name", ""))
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield errors.forbidden(f"{path}.{field}", _NOT_FOR_THEM)
