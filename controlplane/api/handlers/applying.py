"""PATCH with application/apply-patch+yaml: a request's configuration, applied to whatever is there.

The decisions are `kube.apply`'s; here a request is read, and refusals get Kubernetes' words and codes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from controlplane.api import codec, managed, options
from controlplane.api.managed import Origin
from controlplane.api.model import JSON, Request, RequestInfo, bare
from controlplane.api.registry.model import Kind
from controlplane.api.storage import Writer, note_strict
from kube import apply as ssa
from kube import rules, status, structure
from kube.apply import config as configs
from kube.apply.ownership import LAST_APPLIED, unchanged_since
from kube.apply.paths import NONE
from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.errors import Status, join_errors

CONTENT_TYPE = "application/apply-patch+yaml"
KUBECTL = "kubectl"
"""The manager that takes over from a `kubectl apply` of the older way (NewLastAppliedManager)."""
_ANNOTATION_MAX_BYTES = 256 * 1024
_BESIDE_STATUS = ("labels", "annotations", "finalizers")


def is_apply(request: Request) -> bool:
    return codec.media_type(options.content_type(request)) == CONTENT_TYPE


def readable(request: Request) -> Request:
    """The request with the type that its body is read as: JSON is YAML too, and read faster as what it is."""
    is_json = request.body.lstrip()[:1] == b"{"
    heads = {"content-type": JSON if is_json else codec.YAML}
    return Request(request.method, request.path, headers=heads, body=request.body)


class Applying:
    """One request. `change` may be called again when somebody writes in between; `entries` are the
    managedFields that belong to its last result."""

    def __init__(
        self, kind: Kind, config: JsonObject, writer: Writer, *, is_forced: bool,
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._kind = kind
        self.config = config
        self._origin = Origin(writer.manager, writer.info.subresource)
        self._is_forced = is_forced
        self._now = now
        self._entries: list[JsonObject] = []

    def entries(self) -> list[JsonObject]:
        return self._entries

    def change(self, live: JsonObject) -> JsonObject:
        """`live` is empty where there is no object. Conflict when others own what it would change."""
        change = managed.change_of(self._kind, self._origin, "Apply", self._now())
        metadata = bare(live.get("metadata"))
        last = _last_applied(metadata)
        owners = ssa.decode(metadata.get(managed.FIELD)) or {}
        if not owners and live:
            owners = ssa.untracked(live, last, change)
        allowed = NONE
        if last is not None and self._origin.manager == KUBECTL:
            allowed = unchanged_since(last, live, change.shape)
        try:
            made = ssa.apply(
                live, self.config, owners, change, is_forced=self._is_forced, allowed=allowed,
                complete=self._complete,
            )  # fmt: skip
        except ssa.ApplyConflicts as refused:
            causes = [conflict.cause() for conflict in refused.conflicts]
            raise status.error_of(Status(409, "Conflict", str(refused), {"causes": causes})) from refused
        except ssa.ApplyError as error:
            raise untyped(self._kind.resource, self.config, str(error)) from error
        self._entries = ssa.encode(made.owners)
        return self._with_annotation(made.value)

    def _complete(self, value: JsonObject) -> JsonObject:
        made: JsonObject = structure.check(value, self._kind.type_name).value
        self._kind.default(made)
        return made

    def _with_annotation(self, value: JsonObject) -> JsonObject:
        """The copy that `kubectl apply` without server-side compares with stays true, while there is one."""
        annotations = bare(bare(value.get("metadata")).get("annotations"))
        if self._origin.manager != KUBECTL or self._origin.subresource or LAST_APPLIED not in annotations:
            return value
        text = codec.encode(self.config).decode() + "\n"
        if len(text) > _ANNOTATION_MAX_BYTES:
            return value
        annotations = {**annotations, LAST_APPLIED: text}
        return {**value, "metadata": {**value["metadata"], "annotations": annotations}}


def _last_applied(metadata: JsonObject) -> JsonObject | None:
    text = bare(metadata.get("annotations")).get(LAST_APPLIED)
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # Anybody may write an annotation: it is then no copy.
    return value if isinstance(value, dict) else None


def read_config(kind: Kind, body: Any, info: RequestInfo, writer: Writer) -> JsonObject:
    """What the body says and its path may write. BadRequest for what is no configuration of this kind."""
    resource = kind.resource
    checked = _checked(resource, body, kind.type_name, writer)
    config = {**checked, "metadata": {**bare(checked.get("metadata")), "name": info.name}}
    if info.subresource == "status":
        beside = _BESIDE_STATUS if resource in rules.STATUS_WRITES_METADATA else ()
        return configs.status_alone(config, beside)
    return configs.without_status(config) if kind.has_status else config


def read_scale(kind: Kind, body: Any, resource: Resource, info: RequestInfo, writer: Writer) -> JsonObject:
    """A Scale's configuration, as the workload's."""
    checked = _checked(resource, body, "autoscaling_v1.Scale", writer)
    config: JsonObject = {
        "apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": {"name": info.name},
    }  # fmt: skip
    if version := bare(checked.get("metadata")).get("resourceVersion"):
        config["metadata"]["resourceVersion"] = version
    replicas = bare(checked.get("spec")).get("replicas")
    return config if replicas is None else {**config, "spec": {"replicas": replicas}}


def _checked(resource: Resource, body: Any, type_name: str, writer: Writer) -> JsonObject:
    if not isinstance(body, dict):
        raise status.bad_request("error decoding YAML: the body of the request is not an object")
    version = body.get("apiVersion")
    if body.get("kind") == resource.kind and version != resource.api_version:
        raise status.bad_request(
            "incorrect version specified in apply patch. "
            f"Specified patch version: {version}, expected: {resource.api_version}"
        )
    rules.check_type(resource, body)
    if bare(body.get("metadata")).get(managed.FIELD) is not None:
        raise status.bad_request("metadata.managedFields must be nil")
    config = configs.read(body, type_name)
    if config.wrong:
        raise untyped(resource, body, join_errors(config.wrong))
    if config.unknown and writer.field_validation == "Strict":
        told = "; ".join(f".{path}: field not declared in schema" for path in config.unknown)
        raise untyped(resource, body, told)
    note_strict([f'unknown field "{path}"' for path in config.unknown], writer)
    return config.value


def untyped(resource: Resource, body: JsonObject, because: str) -> Exception:
    metadata = bare(body.get("metadata"))
    place = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
    group_version = f"{resource.group}/{resource.version}"
    return status.bad_request(
        f"failed to create typed patch object ({place}; {group_version}, Kind={resource.kind}): {because}"
    )


def no_such_uid(resource: Resource, name: str, uid: str) -> Exception:
    """An apply to one object, which is gone, must not make another."""
    because = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    return status.conflict(resource, name, because)
