"""Typed, frozen read views of API objects (`core_v1`, `meta_v1`, `cluster_v1`), and how to decode them.

`decode` and `convert` read what an API server or our own defaulting produced. Go writes `null` for an empty
list or map and some clients leave it so; a body that has one is read a second, slower time with the nulls
taken out, as Go reads it. Unknown fields are dropped: never store an object through these views.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from kube.objects.base import Object

T = TypeVar("T", bound=Object)


@cache
def _decoder(type_: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def decode(body: bytes | str, type_: type[T]) -> T:
    """JSON -> object. msgspec.ValidationError names the path of a field that does not fit,
    msgspec.DecodeError a body that is not JSON (both are ValueErrors)."""
    try:
        decoded: T = _decoder(type_).decode(body)
        return decoded
    except msgspec.ValidationError:
        value = msgspec.json.decode(body)
        without = drop_nulls(value)
        return convert(without, type_)


def convert(value: Any, type_: type[T]) -> T:
    """A JSON value already in memory -> object; errors as for `decode`."""
    return msgspec.convert(drop_nulls(value), type_)


def encode(value: Object) -> bytes:
    """Object -> JSON; optional fields at their default are left out."""
    return msgspec.json.encode(value)


def to_json(value: Object) -> dict[str, Any]:
    """Object -> JSON value in memory, for patches and templates."""
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return built


def drop_nulls(value: Any) -> Any:
    """The same JSON value without fields that are null; a null inside a list stays."""
    if isinstance(value, dict):
        return {key: drop_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [drop_nulls(item) for item in value]
    return value
