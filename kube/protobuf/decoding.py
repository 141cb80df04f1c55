"""Protobuf messages to the JSON value Go would have made of them: one loop over tags, one small reader a
type.

The loop looks a tag up (number and wire type together), so a field costs one dictionary access and one call.
Nothing is looked up that the body does not hold, and a type's table is made when it is first met. Unknown
fields are skipped, as Go does: a newer client may know more. Recursion is as deep as the types are, none of
which holds itself.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from kube.protobuf import tables
from kube.protobuf.errors import Broken, ProtobufError
from kube.schema import TypeRef

Json = dict[str, Any]
# Reads buffer[start:end] of a length-delimited value; `None` stands for an absent one.
ReadValue = Callable[[bytes, int, int], Any]
# Reads one into the object that has the field.
ReadField = Callable[[bytes, int, int, Json, "Entry"], None]

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
_WIRE_NAMES = {
    VARINT: "a varint",
    FIXED64: "eight bytes",
    DELIMITED: "length-delimited",
    FIXED32: "four bytes",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """What to do with one tag: `read` for length-delimited values (None is a string, the most frequent),
    `number` for numbers; `table` of the message inside; `keep` as in tables.Field; `repeated` of a list."""

    read: ReadField | None
    name: str
    keep: bool
    table: Table | None = None
    value: ReadValue | None = None
    number: Callable[[int], Any] | None = None
    repeated: bool = False


class Table:
    """Entries by tag of one message, made when first used."""

    __slots__ = ("_entries", "_make")

    def __init__(self, make: Callable[[], dict[int, Entry]]) -> None:
        self._make = make
        self._entries: dict[int, Entry] | None = None

    def entries(self) -> dict[int, Entry]:
        if self._entries is None:
            self._entries = self._make()
        return self._entries


def decode_message(data: bytes, type_name: str) -> Json:
    """The JSON object of one message of a schema type ("core_v1.Pod"), without apiVersion and kind.
    ProtobufError says at which field the data is cut or of another type."""
    out: Json = {}
    try:
        read_message(data, 0, len(data), _table(tables.message(type_name)), out)
    except Broken as error:
        raise ProtobufError(error.reason, error.dotted()) from error
    return out


def read_message(buffer: bytes, at: int, stop: int, table: Table, out: Json) -> None:
    """Read the fields of buffer[at:stop] into `out`. Broken, with the path, when it cannot be."""
    entries = table._entries or table.entries()
    entry: Entry | None = None
    try:
        while at < stop:
            tag = buffer[at]
            at += 1
            if tag > 127:
                entry = None
                tag, at = _varint(buffer, at - 1, stop)
            entry = entries.get(tag)
            if entry is None:
                at = _skip(buffer, at, stop, tag, entries)
            elif tag & 7 == DELIMITED:
                size = buffer[at]
                at += 1
                if size > 127:
                    size, at = _varint(buffer, at - 1, stop)
                end = at + size
                if end > stop:
                    raise Broken(f"{end - stop} bytes are missing")
                if entry[0] is not None:
                    entry[0](buffer, at, end, out, entry)
                elif size or entry[2]:
                    out[entry[1]] = buffer[at:end].decode()
                at = end
            elif tag & 7 == VARINT:
                value, at = _varint(buffer, at, stop)
                _set_number(out, entry, value)
            else:
                at = _fixed64(buffer, at, stop, out, entry)
    except IndexError:
        raise _at(entry, out, Broken("the body ends too soon")) from None
    except UnicodeDecodeError as error:
        raise _at(entry, out, Broken(f"it is not UTF-8: {error.reason}")) from None
    except Broken as error:
        raise _at(entry, out, error) from None


def _at(entry: Entry | None, out: Json, error: Broken) -> Broken:
    if entry is not None and entry.repeated and isinstance(items := out.get(entry.name, []), list):
        # The item in the making is not in the list yet.
        error.inside(f"[{len(items)}]")
    if entry is not None:
        error.inside(entry.name)
    return error


def _varint(buffer: bytes, at: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= stop:
            raise Broken("the body ends too soon")
        byte = buffer[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise Broken("a number is longer than ten bytes")


def _skip(buffer: bytes, at: int, stop: int, tag: int, entries: dict[int, Entry]) -> int:
    number, wire = tag >> 3, tag & 7
    if wire not in _WIRE_NAMES or not number:
        raise Broken(f"{tag:#x} is no tag of a field")
    for known, entry in entries.items():
        if known >> 3 == number:
            raise _at(entry._replace(repeated=False), {}, Broken(f"it cannot be {_WIRE_NAMES[wire]}"))
    if wire == VARINT:
        return _varint(buffer, at, stop)[1]
    size = 8 if wire == FIXED64 else 4
    if wire == DELIMITED:
        size, at = _varint(buffer, at, stop)
    if at + size > stop:
        raise Broken(f"{at + size - stop} bytes are missing")
    return at + size


# Numbers


def _set_number(out: Json, entry: Entry, value: int) -> None:
    assert entry.number is not None
    number = entry.number(value)
    if entry.repeated:
        out.setdefault(entry.name, []).append(number)
    elif value or entry.keep:
        out[entry.name] = number
    else:
        out.pop(entry.name, None)


def _fixed64(buffer: bytes, at: int, stop: int, out: Json, entry: Entry) -> int:
    if at + 8 > stop:
        raise Broken("the body ends too soon")
    (number,) = struct.unpack_from("<d", buffer, at)
    if not isfinite(number):
        raise Broken("JSON has no such number")
    if number or entry.keep:
        out[entry.name] = number
    return at + 8


def _int64(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _int32(value: int) -> int:
    low = value & 0xFFFF_FFFF
    return low - (1 << 32) if low >> 31 else low


def _packed(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    while at < end:
        value, at = _varint(buffer, at, end)
        _set_number(out, entry, value)


# Length-delimited values


def _object(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    # A field that comes twice is one message cut in two.
    inner = out.get(entry[1])
    if inner is None:
        inner = {}
    read_message(buffer, at, end, entry[3], inner)  # type: ignore[arg-type]
    if inner or entry[2]:
        out[entry[1]] = inner


def _objects(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    items = out.get(entry[1])
    if items is None:
        items = out[entry[1]] = []
    inner: Json = {}
    read_message(buffer, at, end, entry[3], inner)  # type: ignore[arg-type]
    items.append(inner)


def _inline(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    read_message(buffer, at, end, entry[3], out)  # type: ignore[arg-type]


def _strings(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    text = buffer[at:end].decode()
    items = out.get(entry[1])
    if items is None:
        out[entry[1]] = [text]
    else:
        items.append(text)


def _map(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    pair: Json = {}
    read_message(buffer, at, end, entry[3], pair)  # type: ignore[arg-type]
    items = out.get(entry[1])
    if items is None:
        items = out[entry[1]] = {}
    value = pair.get("value")
    if value is None:
        value = entry[4](b"", 0, 0)  # type: ignore[misc]
    items[pair.get("key", "")] = value


def _special(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    value = entry[4](buffer, at, end)  # type: ignore[misc]
    # "0" is the zero of a Quantity; Go's zero time is never written as JSON.
    if value is not None if entry[2] else value not in (None, 0, "", "0"):
        out[entry[1]] = value


def _specials(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    out.setdefault(entry[1], []).append(entry[4](buffer, at, end))  # type: ignore[misc]


def _text(buffer: bytes, at: int, end: int) -> str:
    return buffer[at:end].decode()


def _base64(buffer: bytes, at: int, end: int) -> str:
    return base64.b64encode(buffer[at:end]).decode()


def _parts(buffer: bytes, at: int, end: int, table: Table) -> Json:
    parts: Json = {}
    read_message(buffer, at, end, table, parts)
    return parts


def _quantity(buffer: bytes, at: int, end: int) -> str:
    return _parts(buffer, at, end, _QUANTITY).get("") or "0"


def _moment(parts: Json) -> datetime | None:
    if not parts:
        # Go's zero time, which JSON has as null.
        return None
    try:
        return _EPOCH + timedelta(seconds=parts.get("s", 0), microseconds=parts.get("n", 0) // 1000)
    except OverflowError:
        raise Broken("the time is out of range") from None


def _time(buffer: bytes, at: int, end: int) -> str | None:
    moment = _moment(_parts(buffer, at, end, _TIMESTAMP))
    # Whole seconds, as JSON holds no more of a Time.
    return moment.isoformat()[:19] + "Z" if moment else None


def _micro_time(buffer: bytes, at: int, end: int) -> str | None:
    moment = _moment(_parts(buffer, at, end, _TIMESTAMP))
    return moment.isoformat(timespec="microseconds")[:26] + "Z" if moment else None


def _int_or_string(buffer: bytes, at: int, end: int) -> int | str:
    parts = _parts(buffer, at, end, _INT_OR_STRING)
    value: int | str = parts.get("string", "") if parts.get("type", 0) else parts.get("int", 0)
    return value


def _json(buffer: bytes, at: int, end: int) -> Any:
    raw = _parts(buffer, at, end, _RAW).get("raw")
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Broken(f"it holds no JSON: {error}") from error


def _raw(buffer: bytes, at: int, end: int, out: Json, entry: Entry) -> None:
    out[entry.name] = buffer[at:end]


def _string_list(buffer: bytes, at: int, end: int) -> list[str]:
    items: list[str] = _parts(buffer, at, end, _ITEMS).get("items", [])
    return items


def _fixed(*entries: tuple[int, Entry]) -> Table:
    return Table(lambda: dict(entries))


# Messages of apimachinery that JSON holds as one value, by tag.
_QUANTITY = _fixed((0x0A, Entry(None, "", keep=False)))
_TIMESTAMP = _fixed(
    (0x08, Entry(None, "s", keep=False, number=_int64)), (0x10, Entry(None, "n", keep=False, number=_int32))
)
_INT_OR_STRING = _fixed(
    (0x08, Entry(None, "type", keep=False, number=_int64)),
    (0x10, Entry(None, "int", keep=False, number=_int32)),
    (0x1A, Entry(None, "string", keep=False)),
)
_RAW = _fixed((0x0A, Entry(_raw, "raw", keep=False)))
# runtime.Unknown, whose typeMeta (1: apiVersion, 2: kind) is read into the same object.
_TYPE_META = _fixed((0x0A, Entry(None, "apiVersion", keep=False)), (0x12, Entry(None, "kind", keep=False)))
UNKNOWN = _fixed(
    (0x0A, Entry(_inline, "", keep=False, table=_TYPE_META)),
    (0x12, Entry(_raw, "raw", keep=False)),
    (0x1A, Entry(None, "contentEncoding", keep=False)),
    (0x22, Entry(None, "contentType", keep=False)),
)
_ITEMS = _fixed((0x0A, Entry(_strings, "items", keep=True, repeated=True)))

_SPECIAL: dict[str, ReadValue] = {
    "bytes": _base64, "Quantity": _quantity, "Time": _time, "MicroTime": _micro_time,
    "IntOrString": _int_or_string, "object": _json, "any": _json,
}  # fmt: skip
_NUMBERS: dict[str, Callable[[int], Any]] = {"int32": _int32, "int64": _int64, "bool": bool}


# Tables


def _table(message: tables.Message) -> Table:
    key = f"{message.file}.{message.name}"
    return _named(key) if not message.outer else Table(lambda: _entries(message.fields))


@cache
def _named(type_name: str) -> Table:
    return Table(lambda: _entries(tables.message(type_name).fields))


def _entries(fields: tuple[tables.Field, ...]) -> dict[int, Entry]:
    return {tag: entry for field in fields for tag, entry in _entry(field)}


def _entry(field: tables.Field) -> list[tuple[int, Entry]]:
    delimited = field.number << 3 | DELIMITED
    if field.inline is not None:
        return [(delimited, Entry(_inline, "", keep=False, table=_table(field.inline)))]
    ref = field.type
    if ref.wrap[:1] == ("map",):
        return [(delimited, _map_entry(field, ref.inner()))]
    repeated = bool(ref.wrap)
    if ref.name in _NUMBERS:
        packed = _packed if repeated else None
        entry = Entry(packed, field.name, field.keep, number=_NUMBERS[ref.name], repeated=repeated)
        return [(field.number << 3, entry)] + ([(delimited, entry)] if repeated else [])
    if ref.name == "double":
        return [(field.number << 3 | FIXED64, Entry(None, field.name, field.keep))]
    if ref.name == "string":
        return [(delimited, Entry(_strings if repeated else None, field.name, field.keep, repeated=repeated))]
    if ref.name in _SPECIAL:
        read = _specials if repeated else _special
        return [(delimited, Entry(read, field.name, field.keep, value=_SPECIAL[ref.name], repeated=repeated))]
    read = _objects if repeated else _object
    return [(delimited, Entry(read, field.name, field.keep, table=_named(ref.name), repeated=repeated))]


def _map_entry(field: tables.Field, ref: TypeRef) -> Entry:
    """Of a map: its entries are messages of a key (1) and a value (2)."""
    if ref.wrap:
        value: Entry = Entry(_special, "value", keep=True, value=_string_list)
        zero: ReadValue = _string_list
    elif ref.name == "string":
        value, zero = Entry(None, "value", keep=True), _text
    elif ref.name in _SPECIAL:
        value, zero = Entry(_special, "value", keep=True, value=_SPECIAL[ref.name]), _SPECIAL[ref.name]
    else:
        value = Entry(_object, "value", keep=True, table=_named(ref.name))
        zero = _empty_object
    table = _fixed((0x0A, Entry(None, "key", keep=True)), (0x12, value))
    return Entry(_map, field.name, field.keep, table=table, value=zero)


def _empty_object(buffer: bytes, at: int, end: int) -> Json:
    return {}
