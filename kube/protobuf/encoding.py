"""JSON values to protobuf messages, in the order of field numbers, as Go's encoder writes them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from kube import meta
from kube.protobuf import tables
from kube.protobuf.errors import Broken, ProtobufError
from kube.schema import TypeRef

Json = dict[str, Any]
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_message(value: Json, type_name: str, *, go_zeros: bool = False) -> bytes:
    """The message of a JSON object that fits a schema type ("core_v1.Pod"), without apiVersion and kind.
    With `go_zeros`, fields that are values in Go are written also when they are not set, as Go clients do.
    ProtobufError names the first field that does not fit; unknown fields are left out."""
    try:
        return _Writer(go_zeros=go_zeros).message(value, tables.message(type_name))
    except Broken as error:
        raise ProtobufError(error.reason, error.dotted(), doing="write") from error


def unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    """runtime.Unknown, the envelope; Go writes its encoding and type, empty, as well."""
    type_meta = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return delimited(1, type_meta) + delimited(2, raw) + delimited(3, b"") + delimited(4, b"")


def varint(value: int) -> bytes:
    value &= _MASK
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


class _Writer:
    def __init__(self, *, go_zeros: bool) -> None:
        self.go_zeros = go_zeros

    def message(self, value: Json, message: tables.Message) -> bytes:
        if not isinstance(value, dict):
            raise Broken("it must be an object")
        return b"".join(self.field(value, field) for field in message.fields)

    def field(self, outer: Json, field: tables.Field) -> bytes:
        if field.inline is not None:
            inner = self.message(outer, field.inline)
            return delimited(field.number, inner) if inner or self.go_zeros else b""
        value = outer.get(field.name)
        try:
            if value is not None:
                return b"".join(self.values(value, field.number, field.type))
            if self.go_zeros and not field.pointer and not field.type.wrap:
                return self.zero(field)
        except Broken as error:
            error.inside(field.name)
            raise
        except (TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
            broken = Broken(f"it does not fit: {error}")
            broken.inside(field.name)
            raise broken from error
        return b""

    def values(self, value: Any, number: int, ref: TypeRef) -> Iterable[bytes]:
        if not ref.wrap:
            yield self.one(value, number, ref.name)
        elif ref.wrap[0] == "list":
            for index, item in enumerate(value):
                yield self.item(item, number, ref.name, f"[{index}]")
        else:
            for key in sorted(value):
                yield delimited(number, delimited(1, key.encode()) + self.map_value(value[key], ref.inner()))

    def item(self, value: Any, number: int, name: str, place: str) -> bytes:
        try:
            return self.one(value, number, name)
        except Broken as error:
            error.inside(place)
            raise

    def map_value(self, value: Any, ref: TypeRef) -> bytes:
        if ref.wrap:
            return delimited(2, b"".join(delimited(1, item.encode()) for item in value))
        return self.one(value, 2, ref.name)

    def one(self, value: Any, number: int, name: str) -> bytes:
        if name in _VARINTS:
            return varint(number << 3) + varint(_VARINTS[name](value))
        if name == "double":
            return varint(number << 3 | 1) + struct.pack("<d", value)
        special = _SPECIAL.get(name)
        if special is not None:
            return delimited(number, special(value))
        return delimited(number, self.message(value, tables.message(name)))

    def zero(self, field: tables.Field) -> bytes:
        name = field.type.name
        if name in _VARINTS:
            return varint(field.number << 3) + b"\0"
        if name == "double":
            return varint(field.number << 3 | 1) + bytes(8)
        if name == "bytes":
            return b""
        if "." in name:
            return delimited(field.number, self.message({}, tables.message(name)))
        return delimited(field.number, _ZERO.get(name, b""))


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value


def _timestamp(text: str) -> bytes:
    # Go leaves the zero time empty.
    if not text:
        return b""
    elapsed = meta.parse_time(text) - _EPOCH
    seconds = elapsed.days * 86400 + elapsed.seconds
    return b"\x08" + varint(seconds) + b"\x10" + varint(elapsed.microseconds * 1000)


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + delimited(3, value.encode())
    return b"\x08\x00\x10" + varint(_integer(value)) + b"\x1a\x00"


_VARINTS: dict[str, Callable[[Any], int]] = {"int32": _integer, "int64": _integer, "bool": _integer}
_SPECIAL: dict[str, Callable[[Any], bytes]] = {
    "string": lambda text: text.encode(),
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "Quantity": lambda text: delimited(1, str(text).encode()),
    "Time": _timestamp,
    "MicroTime": _timestamp,
    "IntOrString": _int_or_string,
    "object": lambda value: delimited(1, msgspec.json.encode(value)),
    "any": lambda value: delimited(1, msgspec.json.encode(value)),
}
# What is inside a zero value of Go's; of the other types nothing is.
_ZERO = {"Quantity": b"\x0a\x010", "IntOrString": b"\x08\x00\x10\x00\x1a\x00"}
