"""How a strategic merge treats each field, from the schema: its strategy, its merge key, the type inside; and
what tells the items of its lists apart."""

from __future__ import annotations

from typing import Any, NamedTuple

from kube import schema
from kube.patch.errors import PatchError
from kube.schema import TypeRef

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_VALUES = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"


def is_directive(key: str) -> bool:
    """Whether a member of a patch is an instruction, no field."""
    return key in (DIRECTIVE, RETAIN_KEYS) or key.startswith((DELETE_VALUES, SET_ORDER))


class Rule(NamedTuple):
    """`merge`: a list merges item by item, by `key`, or as a set of plain values when there is no key.
    `replace`: an object is replaced as a whole. `retain_keys`: a patch names the keys to keep."""

    inner: TypeRef | None
    merge: bool = False
    replace: bool = False
    retain_keys: bool = False
    key: str = ""


# Of fields the schema does not know, and inside free-form objects: objects merge, lists are replaced.
FREE = Rule(None)


def rule(type_: TypeRef | None, field: str) -> Rule:
    """The rule of a field of an object of `type_`, which may be a map, free-form, or None."""
    if type_ is None or type_.is_scalar:
        return FREE
    if type_.wrap:
        return Rule(type_.inner()) if type_.wrap[0] == "map" else FREE
    fact = schema.load(type_.name).fields.get(field)
    if fact is None:
        return FREE
    inner = fact.type.inner() if fact.type.wrap[:1] == ("list",) else fact.type
    patch = fact.patch
    return Rule(inner, "merge" in patch, "replace" in patch, "retainKeys" in patch, fact.merge_key)


def identities(items: list[Any], key: str) -> list[str]:
    """Of every item; PatchError when one lacks the key."""
    return [identity_of(item, key) for item in items]


def identity_of(item: Any, key: str) -> str:
    """What an item of a list that merges is told apart by: its key's value, or the plain value itself."""
    if not key:
        return identity(item)
    if not isinstance(item, dict) or key not in item:
        raise PatchError(f"map: {item} does not contain declared merge key: {key}")
    return identity(item[key])


def identity(value: Any) -> str:
    """The value as Go prints it, which is what upstream compares."""
    return str(value).lower() if isinstance(value, bool) else str(value)
