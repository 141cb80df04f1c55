"""Read a JSON text, remembering the line of every field and every key that is written twice.

`json` and msgspec tell neither. Values are scanned with the standard library's own scanners; only the walk
over objects and arrays is here, with a limit on nesting. Duplicates are errors of the document, not of the
parse: the first value stands, and the rest of the document is still read.
"""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from kube.errors import ErrorKind, FieldError, InvalidObject

# No API object is deeper than a few dozen; Python's own stack allows a thousand.
MAX_DEPTH = 100

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LITERALS = {"true": True, "false": False, "null": None}
_MOST_DIGITS = 400


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a manifest: its JSON value, the line (from 1) of each field by path, and what is wrong
    with its text but can be read over. A map's fields are under `a.b` and under `a[b]`."""

    value: Any
    lines: dict[str, int] = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()


def join_key(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def decode_utf8(data: bytes | str) -> str:
    """Text of a file; InvalidObject with the line of the first byte that is not UTF-8."""
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"cannot read text: because byte {data[error.start]:#04x} is not UTF-8"
        raise InvalidObject([FieldError("", message, ErrorKind.DECODE, line)]) from error


def load(text: str) -> Document:
    """One JSON value. InvalidObject, with the line, when it is not JSON or more follows."""
    reader = _Reader(text)
    try:
        at = reader.skip(0)
        reader.lines[""] = reader.line(at)
        value, at = reader.value(at, "", 0)
    except json.JSONDecodeError as error:
        raise reader.refused(error.msg, error.pos) from error
    at = reader.skip(at)
    if at != len(text):
        raise reader.refused("there is more after the end of the value", at)
    return Document(value, reader.lines, tuple(reader.errors))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.breaks = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[str, int] = {}
        self.errors: list[FieldError] = []

    def line(self, at: int) -> int:
        return bisect.bisect_left(self.breaks, at) + 1

    def refused(self, reason: str, at: int) -> InvalidObject:
        message = f"cannot read JSON: because {reason[:1].lower()}{reason[1:]}"
        return InvalidObject([FieldError("", message, ErrorKind.DECODE, self.line(at))])

    def skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def value(self, at: int, path: str, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise self.refused(f"nesting is deeper than {MAX_DEPTH}", at)
        first = self.text[at : at + 1]
        if first == "{":
            return self.mapping(at + 1, path, depth)
        if first == "[":
            return self.sequence(at + 1, path, depth)
        if first == '"':
            return self.string(at)
        for word, literal in _LITERALS.items():
            if self.text.startswith(word, at):
                return literal, at + len(word)
        return self.number(at)

    def string(self, at: int) -> tuple[str, int]:
        string, end = scanstring(self.text, at + 1, True)
        # An escaped half of a surrogate pair is legal JSON but no text; Go reads it as U+FFFD.
        return _SURROGATE.sub("\ufffd", string), end

    def number(self, at: int) -> tuple[int | float, int]:
        match = _NUMBER.match(self.text, at)
        if match is None:
            raise self.refused("a value is expected", at)
        if len(match[0]) > _MOST_DIGITS:
            raise self.refused("a number is too long", at)
        is_float = match[1] is not None or match[2] is not None
        number = float(match[0]) if is_float else int(match[0])
        if number in (float("inf"), float("-inf")):
            raise self.refused("a number is too large", at)
        return number, match.end()

    def sequence(self, at: int, path: str, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        at = self.skip(at)
        if self.text.startswith("]", at):
            return items, at + 1
        while True:
            item_path = f"{path}[{len(items)}]"
            self.lines[item_path] = self.line(at)
            item, at = self.value(at, item_path, depth + 1)
            items.append(item)
            at, more = self.after_item(at, "]")
            if not more:
                return items, at

    def mapping(self, at: int, path: str, depth: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        at = self.skip(at)
        if self.text.startswith("}", at):
            return items, at + 1
        while True:
            key, at = self.key(at, path, items)
            value, at = self.value(self.skip(at), join_key(path, key), depth + 1)
            items.setdefault(key, value)
            at, more = self.after_item(at, "}")
            if not more:
                return items, at

    def key(self, at: int, path: str, items: dict[str, Any]) -> tuple[str, int]:
        if not self.text.startswith('"', at):
            raise self.refused("a field name in double quotes is expected", at)
        start = at
        key, at = self.string(at)
        key_path, line = join_key(path, key), self.line(start)
        if key in items:
            message = f'duplicate field "{key_path}" (first on line {self.lines[key_path]})'
            self.errors.append(FieldError(key_path, message, ErrorKind.DUPLICATE_FIELD, line))
        self.lines[key_path] = self.lines[f"{path}[{key}]"] = line
        at = self.skip(at)
        if not self.text.startswith(":", at):
            raise self.refused(f"a colon is expected after {key!r}", at)
        return key, at + 1

    def after_item(self, at: int, end: str) -> tuple[int, bool]:
        at = self.skip(at)
        if self.text.startswith(end, at):
            return at + 1, False
        if not self.text.startswith(",", at):
            raise self.refused(f"a comma or {end!r} is expected", at)
        return self.skip(at + 1), True
