"""Semantic rules of metadata, pods, ConfigMaps and Secrets, and which fields an update may not change.

Messages and paths are upstream's (pkg/apis/core/validation). Metadata is checked for every kind with
the kind's own form of names.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

from kube import errors, objects
from kube.client import resources as r
from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.errors import FieldError
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kube.validation import names, validate_pod
from kube.validation.metadata import validate_metadata

DATA_MAX_BYTES = 1024 * 1024
# Names that are DNS labels; the RBAC kinds take any path segment; the rest are subdomains.
_LABEL_NAMED = frozenset((r.NAMESPACES, r.SERVICES))
_PATH_NAMED = frozenset((r.ROLES, r.ROLE_BINDINGS, r.CLUSTER_ROLES, r.CLUSTER_ROLE_BINDINGS))
_IMMUTABLE = "field is immutable"


def metadata(resource: Resource, value: JsonObject) -> Iterator[FieldError]:
    """What every object must keep to."""
    meta = objects.convert(value["metadata"], ObjectMeta)
    yield from validate_metadata(meta, namespaced=resource.namespaced, name=_form_of_name(resource))


def _form_of_name(resource: Resource) -> names.Check:
    if resource in _PATH_NAMED:
        return path_segment
    return names.dns_label if resource in _LABEL_NAMED else names.dns_subdomain


def path_segment(value: str) -> list[str]:
    """IsValidPathSegmentName: what may stand between two slashes."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{letter}'" for letter in "/%" if letter in value]


def immutable(value: Any, old: Any, path: str) -> Iterator[FieldError]:
    if value != old:
        yield errors.invalid(path, value, _IMMUTABLE)


# --- pods ---


def pod(value: JsonObject) -> Sequence[FieldError]:
    return validate_pod(objects.convert(value, Pod))


# --- configuration ---


def config_map(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_config_map(value))


def _config_map(value: JsonObject) -> Iterator[FieldError]:
    texts, blobs = value.get("data") or {}, value.get("binaryData") or {}
    for key in (*texts, *blobs):
        field = "data" if key in texts else "binaryData"
        yield from names.each(f"{field}[{key}]", key, names.config_key)
    for key in texts:
        if key in blobs:
            yield errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(text.encode()) for text in texts.values()) + sum(map(_decoded_size, blobs.values()))
    if size > DATA_MAX_BYTES:
        yield errors.too_long("", DATA_MAX_BYTES)


def secret(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_secret(value))


def _secret(value: JsonObject) -> Iterator[FieldError]:
    data = value.get("data") or {}
    for key in data:
        yield from names.each(f"data[{key}]", key, names.config_key)
    if sum(map(_decoded_size, data.values())) > DATA_MAX_BYTES:
        yield errors.too_long("data", DATA_MAX_BYTES)
    for key in _KEYS_OF_TYPE.get(value.get("type", ""), ()):
        if key not in data:
            yield errors.required(f"data[{key}]")
    if value.get("type") == _ACCOUNT_TOKEN and not (value["metadata"].get("annotations") or {}).get(_ACCOUNT):
        yield errors.required(f"metadata.annotations[{_ACCOUNT}]")


_ACCOUNT_TOKEN, _ACCOUNT = "kubernetes.io/service-account-token", "kubernetes.io/service-account.name"
_KEYS_OF_TYPE = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def _decoded_size(text: str) -> int:
    try:
        return len(base64.b64decode(text))
    except binascii.Error:
        return len(text)


def immutable_data(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """A ConfigMap or Secret that was marked immutable stays so, with what is in it."""
    return tuple(_immutable_data(value, old))


def _immutable_data(value: JsonObject, old: JsonObject) -> Iterator[FieldError]:
    if not old.get("immutable"):
        return
    if not value.get("immutable"):
        yield errors.forbidden("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if value.get(field) != old.get(field):
            yield errors.forbidden(field, "field is immutable when `immutable` is set")


def secret_update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    return (*immutable(value.get("type"), old.get("type"), "type"), *_immutable_data(value, old))
