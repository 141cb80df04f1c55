"""What server-side apply sees in a type: leaves, and the three containers whose parts are owned one by one.

A field that the schema calls atomic is a leaf, whatever is in it; so are lists without a list type.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from kube import schema
from kube.schema import FieldFact, TypeRef

# Keys with a default in upstream's OpenAPI: an item may leave them out.
_KEY_DEFAULTS = {
    ("core_v1.ContainerPort", "protocol"): "TCP",
    ("cluster_v1.ServicePort", "protocol"): "TCP",
}  # fmt: skip


class Form(Enum):
    LEAF = "leaf"
    STRUCT = "struct"
    MAP = "map"
    KEYED = "keyed list"
    SET = "set"


@dataclass(frozen=True, slots=True)
class Shape:
    """`type_name` of a STRUCT; `keys` of a KEYED list; `inner` of what a map or list holds."""

    form: Form
    type_name: str = ""
    keys: tuple[str, ...] = ()
    inner: Shape | None = None

    def fits(self, value: Any) -> bool:
        """Whether the value is a container whose parts are told apart."""
        if self.form in (Form.STRUCT, Form.MAP):
            return isinstance(value, dict)
        return self.form is not Form.LEAF and isinstance(value, list)

    @property
    def is_list(self) -> bool:
        return self.form in (Form.KEYED, Form.SET)

    def child(self, element: str) -> Shape:
        """Of a part, by its path element ("f:name", "k:{...}", "v:..."). LEAF for what is unknown."""
        if self.form is Form.STRUCT and element.startswith("f:"):
            return _field(self.type_name, element[2:])
        return self.inner or LEAF

    def is_field(self, element: str) -> bool:
        """Whether the element is a declared field, rather than an entry of a map or an item."""
        return (
            self.form is Form.STRUCT
            and element.startswith("f:")
            and element[2:] in schema.load(self.type_name).fields
        )

    def element_of(self, item: Any) -> str | None:
        """An item's path element; None for an item that lacks a key and has no default for it."""
        if self.form is Form.SET:
            return None if isinstance(item, dict | list) else f"v:{_compact(item)}"
        if not isinstance(item, dict):
            return None
        found = {}
        for key in sorted(self.keys):
            value = item.get(key)
            if value is None:
                value = _KEY_DEFAULTS.get((self.inner.type_name if self.inner else "", key))
            if value is None:
                return None
            found[key] = value
        return f"k:{_compact(found)}"


LEAF = Shape(Form.LEAF)


def of_type(type_name: str) -> Shape:
    """Of a kind, as "apps_v1.Deployment". KeyError when there is none."""
    schema.load(type_name)
    return Shape(Form.STRUCT, type_name)


def _field(type_name: str, name: str) -> Shape:
    # Only what the schema has is remembered: a client may name any number of fields.
    return _known_field(type_name, name) if name in schema.load(type_name).fields else LEAF


@cache
def _known_field(type_name: str, name: str) -> Shape:
    return _of_fact(schema.load(type_name).fields[name])


def _of_fact(fact: FieldFact) -> Shape:
    if fact.list_type == "atomic":
        return LEAF
    if fact.type.wrap[:1] == ("list",):
        inner = _of_ref(fact.type.inner())
        if fact.list_type == "set":
            return Shape(Form.SET, inner=inner)
        return Shape(Form.KEYED, keys=fact.list_keys, inner=inner) if fact.list_type == "map" else LEAF
    return _of_ref(fact.type)


def _of_ref(ref: TypeRef) -> Shape:
    if ref.is_scalar or ref.wrap[:1] == ("list",):
        return LEAF
    if ref.wrap:
        return Shape(Form.MAP, inner=_of_ref(ref.inner()))
    return LEAF if schema.load(ref.name).atomic else Shape(Form.STRUCT, ref.name)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
