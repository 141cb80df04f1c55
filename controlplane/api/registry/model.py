"""One kind's declaration, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from controlplane.api.printers.model import PLAIN, Printer
from kube import rules, schema
from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.errors import FieldError

Default = Callable[[JsonObject], object]
Validate = Callable[[JsonObject], Sequence[FieldError]]
ValidateUpdate = Callable[[JsonObject, JsonObject], Sequence[FieldError]]

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def _nothing(value: JsonObject) -> object:
    return None


def _nothing_wrong(value: JsonObject) -> Sequence[FieldError]:
    return ()


def _no_change_wrong(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    return ()


@dataclass(frozen=True, slots=True)
class Kind:
    """`default` fills in what was left out, in place. `validate` looks at the whole object of a create or an
    update, `validate_update` at what may not change; both come after the metadata's own rules.
    `complete` writes into a new object, once it is valid, what the server makes of it.
    `printer` says what kubectl shows.
    `ttl_seconds` after each write the object goes by itself; 0 keeps it. A kind that is not stored is
    answered by a handler alone."""

    resource: Resource
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    default: Default = _nothing
    complete: Default = _nothing
    validate: Validate = _nothing_wrong
    validate_update: ValidateUpdate = _no_change_wrong
    printer: Printer = PLAIN
    ttl_seconds: float = 0
    is_stored: bool = True

    @property
    def type_name(self) -> str:
        """Its name in the schema, as "core_v1.Pod"."""
        found = schema.find_kind(self.resource.api_version, self.resource.kind)
        if found is None:
            raise KeyError(f"no schema for {self.resource.api_version}/{self.resource.kind}")
        return found

    @property
    def singular(self) -> str:
        return self.resource.kind.lower()

    @property
    def has_status(self) -> bool:
        return self.resource in rules.WITH_STATUS

    @property
    def prefix(self) -> str:
        """Of its keys in the store; objects follow as `NAMESPACE/NAME`, or `NAME` in the cluster's."""
        return f"/registry/{self.resource.group or 'core'}/{self.resource.plural}/"

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.resource.namespaced else f"{self.prefix}{name}"


class Registry:
    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._by_path = {(k.resource.group, k.resource.version, k.resource.plural): k for k in kinds}
        self._by_resource = {k.resource: k for k in kinds}
        self._by_prefix = {k.prefix: k for k in kinds}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_resource.values())

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def of(self, resource: Resource) -> Kind:
        """KeyError for a resource that is not served."""
        return self._by_resource[resource]

    def of_key(self, key: str) -> Kind | None:
        """Whose key of the store this is."""
        group_end = key.find("/", len("/registry/"))
        return self._by_prefix.get(key[: key.find("/", group_end + 1) + 1])
