"""Check a JSON value against the schema facts: every unknown field and wrong type, all in one pass.

What comes out beside the errors is the value as Go would have decoded it: without nulls and unknown fields,
numbers of quantities as strings, required fields present (empty, when they were left out, so that validation
says `Required value` in the same breath as everything else). A field that is wrong is left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kube import errors, meta, quantity, schema
from kube.errors import ErrorKind, FieldError
from kube.json_text import join_key
from kube.schema import TypeRef

_INT_BITS = {"int32": 32, "int64": 64}
_ZERO: dict[str, Callable[[], Any]] = {
    "string": str, "bool": bool, "int32": int, "int64": int, "double": float, "bytes": str,
    "Quantity": lambda: "0", "Time": str, "MicroTime": str, "IntOrString": int, "any": dict, "object": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    value: Any
    errors: tuple[FieldError, ...]


class _Wrong(Exception):
    """The value does not fit and has been reported."""


def check(value: Any, type_name: str, path: str = "") -> Checked:
    """Check `value` as a `file.Type` of the schema ("core_v1.Pod"); `path` goes before every field's."""
    walk = _Walk()
    try:
        clean = walk.value(value, TypeRef(type_name), path)
    except _Wrong:
        clean = zero(TypeRef(type_name))
    return Checked(clean, tuple(walk.errors))


def zero(ref: TypeRef) -> Any:
    """What a required field holds when nobody set it."""
    if ref.wrap:
        return [] if ref.wrap[0] == "list" else {}
    if ref.is_scalar:
        return _ZERO[ref.name]()
    fields = schema.load(ref.name).fields.values()
    return {fact.name: zero(fact.type) for fact in fields if fact.required}


class _Walk:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def wrong(self, path: str, message: str) -> _Wrong:
        self.errors.append(FieldError(path, message, ErrorKind.TYPE_INVALID))
        return _Wrong()

    def value(self, value: Any, ref: TypeRef, path: str) -> Any:
        if ref.wrap:
            return self.list(value, ref, path) if ref.wrap[0] == "list" else self.map(value, ref, path)
        return self.scalar(value, ref.name, path) if ref.is_scalar else self.object(value, ref, path)

    def list(self, value: Any, ref: TypeRef, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.wrong(path, "must be a list")
        items = []
        for index, item in enumerate(value):
            try:
                items.append(self.value(item, ref.inner(), f"{path}[{index}]"))
            except _Wrong:
                # Keeps the places of the items after it, for their paths.
                items.append(zero(ref.inner()))
        return items

    def map(self, value: Any, ref: TypeRef, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(path, "must be a map")
        clean = {}
        for key, item in value.items():
            try:
                inner = ref.inner()
                known = zero(inner) if item is None else self.value(item, inner, join_key(path, key))
                clean[key] = known
            except _Wrong:
                continue
        return clean

    def object(self, value: Any, ref: TypeRef, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(path, "must be an object")
        fields = schema.load(ref.name).fields
        clean: dict[str, Any] = {}
        for key, item in value.items():
            field_path = join_key(path, key)
            if key not in fields:
                message = f'unknown field "{field_path}"'
                self.errors.append(FieldError(field_path, message, ErrorKind.UNKNOWN_FIELD))
            elif item is not None:
                try:
                    clean[key] = self.value(item, fields[key].type, field_path)
                except _Wrong:
                    continue
        for fact in fields.values():
            if fact.required and fact.name not in clean:
                clean[fact.name] = zero(fact.type)
        return clean

    def scalar(self, value: Any, name: str, path: str) -> Any:
        if name in _INT_BITS:
            return self.integer(value, _INT_BITS[name], path)
        if name == "string":
            return self.string(value, path)
        if name in ("any", "object"):
            return self.free(value, name, path)
        return _SCALARS[name](self, value, path)

    def integer(self, value: Any, bits: int, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(path, "must be an integer")
        edge = 1 << (bits - 1)
        if not -edge <= value < edge:
            raise self.wrong(path, f"must be an integer between {-edge} and {edge - 1}")
        return value

    def string(self, value: Any, path: str) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            written = str(value).lower() if isinstance(value, bool) else value
            raise self.wrong(path, f'must be a string: write "{written}", in quotes')
        raise self.wrong(path, "must be a string")

    def free(self, value: Any, name: str, path: str) -> Any:
        if name == "object" and not isinstance(value, dict):
            raise self.wrong(path, "must be an object")
        return value

    def boolean(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(path, "must be true or false")
        return value

    def number(self, value: Any, path: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < float("inf"):
            raise self.wrong(path, "must be a number")
        return value

    def int_or_string(self, value: Any, path: str) -> int | str:
        if isinstance(value, str):
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(path, "must be an integer or a string")
        return self.integer(value, 32, path)

    def quantity(self, value: Any, path: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.wrong(path, "must be a quantity, such as 500m or 1Gi")
        text = str(value)
        try:
            quantity.parse(text)
        except quantity.QuantityError as error:
            raise self.wrong(path, errors.invalid(path, value, str(error)).message) from error
        return text

    def time(self, value: Any, path: str) -> str:
        text = self.string(value, path)
        try:
            if text:
                meta.parse_time(text)
        except ValueError as error:
            raise self.wrong(path, 'must be a time, such as "2006-01-02T15:04:05Z"') from error
        return text

    def bytes(self, value: Any, path: str) -> str:
        text = self.string(value, path)
        try:
            base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise self.wrong(path, "must be base64") from error
        return text


_SCALARS: dict[str, Callable[[_Walk, Any, str], Any]] = {
    "bool": _Walk.boolean,
    "double": _Walk.number,
    "bytes": _Walk.bytes,
    "Quantity": _Walk.quantity,
    "Time": _Walk.time,
    "MicroTime": _Walk.time,
    "IntOrString": _Walk.int_or_string,
}
