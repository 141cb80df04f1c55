"""ConfigMaps and Secrets as pods read them, and what can keep a pod from reading one. Pure.

An `ApiObject` is all of a ConfigMap or Secret that reaches a container: texts and bytes by key, decoded once.
Errors carry upstream's words (kubelet/util/manager/watch_based_manager.go, apierrors.NewNotFound).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from aio.errors import Retry
from kube import objects
from kube.client import resources
from kube.client.resources import Resource
from kube.objects.core_v1 import ConfigMap, Secret


class Kind(Enum):
    """The value is how messages name the kind."""

    CONFIG_MAP = "configmap"
    SECRET = "secret"

    @property
    def resource(self) -> Resource:
        return resources.CONFIG_MAPS if self is Kind.CONFIG_MAP else resources.SECRETS


@dataclass(frozen=True, slots=True)
class ObjectKey:
    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ApiObject:
    """`data` of a ConfigMap is in UTF-8; `binary_keys` names the keys that came as binaryData."""

    key: ObjectKey
    uid: str = ""
    version: str = ""
    data: Mapping[str, bytes] = field(default_factory=dict)
    binary_keys: frozenset[str] = frozenset()
    type: str = ""
    is_immutable: bool = False


class ObjectError(Retry):
    """The object cannot be read now; the message is what users see."""


class ObjectMissing(ObjectError):
    """There is none of that name; `optional` references forgive it."""

    def __init__(self, key: ObjectKey) -> None:
        super().__init__(f'{key.kind.value} "{key.name}" not found')
        self.key = key


class NotRegistered(ObjectError):
    """No pod that names the object is on this node (any more)."""

    def __init__(self, key: ObjectKey) -> None:
        super().__init__(f'object "{key.namespace}"/"{key.name}" not registered')


class ObjectUnread(ObjectError):
    """The server refused, or did not answer: `because` is its word, where there is one."""

    def __init__(self, key: ObjectKey, because: str = "") -> None:
        text = f"failed to sync {key.kind.value} cache: timed out waiting for the condition"
        super().__init__(f"{text}: {because}" if because else text)


def read_object(raw: bytes, kind: Kind) -> ApiObject:
    """Decode what the server sent. ValueError names the field that does not fit."""
    if kind is Kind.CONFIG_MAP:
        found = objects.decode(raw, ConfigMap)
        data = {name: text.encode("utf-8", "surrogateescape") for name, text in found.data.items()}
        data.update(found.binary_data)
        return _object(kind, found, data, binary=frozenset(found.binary_data))
    secret = objects.decode(raw, Secret)
    return _object(kind, secret, dict(secret.data), type_=secret.type or "")


def _object(
    kind: Kind,
    found: ConfigMap | Secret,
    data: Mapping[str, bytes],
    *,
    type_: str = "",
    binary: frozenset[str] = frozenset(),
) -> ApiObject:
    meta = found.metadata
    key = ObjectKey(kind, meta.namespace, meta.name)
    return ApiObject(key, meta.uid, meta.resource_version, data, binary, type_, bool(found.immutable))
