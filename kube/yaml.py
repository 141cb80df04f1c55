"""Read YAML and JSON manifests as Kubernetes reads them, remembering the line of every field.

YAML means what it means to Go's sigs.k8s.io/yaml, on which every Kubernetes tool stands: YAML 1.1 booleans
(`yes`, `on`, `y`), `0777` and `0o777` octal, `1e3` a number, but dates and `12:30:45` plain strings; map keys
become strings. A key written twice is an error of the document, and so is an alias that grows beyond bounds.

The parser's events are put together here rather than by PyYAML's composer, which recurses in C and dies on
ten thousand open brackets; nesting, aliases and keys are checked on the way, each with its line.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from kube import json_text
from kube.errors import ErrorKind, FieldError, InvalidObject
from kube.json_text import MAX_DEPTH, Document, join_key

# Values made by aliases: a manifest has a few hundred, a "billion laughs" has a billion.
MAX_ALIASED_VALUES = 20_000

_TRUE = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_NULL = ("", "~", "null", "Null", "NULL")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(_TRUE, True),
    **dict.fromkeys(_FALSE, False),
    **dict.fromkeys(_NULL, None),
}
_INFINITIES = {
    sign + word: -math.inf if sign == "-" else math.inf
    for sign in ("", "+", "-")
    for word in (".inf", ".Inf", ".INF")
}
_NANS = frozenset((".nan", ".NaN", ".NAN"))

_INTEGER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_TAG = "tag:yaml.org,2002:"
_MOST_DIGITS = 400


class _Parser(yaml.CSafeLoader):
    """libyaml's event parser; nothing of PyYAML's own resolving or constructing is used."""


@dataclass(slots=True)
class _Anchor:
    value: Any
    size: int


@dataclass(slots=True)
class _Builder:
    """Builds one document from events. `size` counts values, those of aliases as often as they are used."""

    parser: _Parser
    lines: dict[str, int] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)
    anchors: dict[str, _Anchor] = field(default_factory=dict)
    size: int = 0
    aliased: int = 0

    def value(self, event: Any, path: str, depth: int) -> Any:
        self.size += 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise _refused(f"nesting is deeper than {MAX_DEPTH}", event)
        before = self.size
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(value, self.size - before + 1)
        return value

    def _alias(self, event: Any) -> Any:
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            raise _refused(f'alias "{event.anchor}" has no anchor', event)
        self.size += anchor.size
        self.aliased += anchor.size
        if self.aliased > MAX_ALIASED_VALUES:
            raise _refused("aliases expand to too many values", event)
        return anchor.value

    def _sequence(self, path: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self.parser.get_event(), yaml.SequenceEndEvent):
            item_path = f"{path}[{len(items)}]"
            self.lines[item_path] = _line(event)
            items.append(self.value(event, item_path, depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(found := self.parser.get_event(), yaml.MappingEndEvent):
            event: Any = found
            key = self._key(event)
            line = _line(event)
            merge = key == "<<" and event.implicit[0] and not isinstance(event, yaml.AliasEvent)
            key_path = path if merge else join_key(path, key)
            known = self.lines.get(key_path) if key in own else None
            if not merge:
                self.lines[key_path] = line
                self.lines[f"{path}[{key}]"] = line
            value = self.value(self.parser.get_event(), key_path, depth + 1)
            if merge:
                merged = {**_merge_source(value, line), **merged}
            elif key in own:
                self.errors.append(_duplicate(key_path, line, known or line))
            else:
                own[key] = value
        return {**merged, **own} if merged else own

    def _key(self, event: Any) -> str:
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = _Anchor(value, 1)
        else:
            raise _refused("a map key must be a plain value", event)
        if isinstance(value, dict | list):
            raise _refused("a map key must be a plain value", event)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "null" if value is None else str(value)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        tag = event.tag
        if tag is None or tag == "!":
            value = resolve(text) if event.implicit[0] and tag is None else text
        else:
            try:
                value = _tagged(tag.removeprefix(_TAG), text)
            except ValueError as error:
                raise _refused(f"{text!r} is {error}", event) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(f"{text!r} is no number that JSON has", event)
        return value


def load_all(data: bytes | str) -> tuple[Document, ...]:
    """Every document that is not empty. A text that begins like JSON and is JSON is read as JSON.
    InvalidObject, with the line, when it is neither."""
    text = json_text.decode_utf8(data)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return (json_text.load(text),)
        except InvalidObject as error:
            try:
                return tuple(_documents(text))
            except InvalidObject:
                # Which of the two it was meant to be: flow-style YAML does not quote its first key.
                if text.lstrip()[1:].lstrip()[:1] in ('"', "}", ""):
                    raise error from None
                raise
    return tuple(_documents(text))


def resolve(text: str) -> Any:
    """A plain (unquoted, untagged) scalar as Go sees it: None, a boolean, a number or the text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text in _INFINITIES:
        return _INFINITIES[text]
    if text in _NANS:
        return math.nan
    digits = text.replace("_", "")
    if len(digits) > _MOST_DIGITS:
        return text
    match = _INTEGER.fullmatch(digits)
    if match:
        number = _integer(match[1], match[2])
        # Go tries int64, then uint64; what fits in neither is a float.
        return number if -(2**63) <= number < 2**64 else _plain_number(float(number))
    if _FLOAT.fullmatch(digits):
        return _plain_number(float(digits))
    return text


def _integer(sign: str, digits: str) -> int:
    lower = digits.lower()
    if len(lower) > 1 and lower[0] == "0" and lower[1] in "01234567":
        lower = "0o" + lower[1:]
    number = int(lower, 0)
    return -number if sign == "-" else number


def _plain_number(number: float) -> int | float:
    """JSON has one kind of number, and Go writes 1000.0 into it as 1000."""
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def _tagged(tag: str, text: str) -> Any:
    if tag == "binary":
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
        except binascii.Error as error:
            raise ValueError("not base64") from error
    kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    if tag not in kinds:
        return text
    value = resolve(text)
    if not isinstance(value, kinds[tag]) or (tag in ("int", "float") and isinstance(value, bool)):  # type: ignore[arg-type]
        raise ValueError(f"not !!{tag}")
    return value


def _merge_source(value: Any, line: int) -> dict[str, Any]:
    """What `<<` brings in: a map, or a list of maps of which earlier ones win."""
    sources = value if isinstance(value, list) else [value]
    merged: dict[str, Any] = {}
    for source in sources:
        if not isinstance(source, dict):
            raise InvalidObject([_syntax("map merge requires map or sequence of maps as the value", line)])
        merged = {**source, **merged}
    return merged


def _documents(text: str) -> Iterator[Document]:
    try:
        parser = _Parser(text)
        yield from _read(parser)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidObject([_syntax(_reason(error), mark.line + 1 if mark else 0)]) from error
    except yaml.reader.ReaderError as error:
        # libyaml counts in bytes of UTF-8, whatever it was given.
        line = text.encode("utf-8")[: error.position].count(b"\n") + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise InvalidObject([_syntax(f"{error.reason} (character U+{code:04X})", line)]) from error
    except yaml.YAMLError as error:
        raise InvalidObject([_syntax(" ".join(str(error).split()), 0)]) from error


def _read(parser: _Parser) -> Iterator[Document]:
    while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
        if isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent):
            continue
        builder = _Builder(parser)
        line = _line(event)
        value = builder.value(event, "", 0)
        if value is not None:
            yield Document(value, {"": line, **builder.lines}, tuple(builder.errors))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)


def _syntax(reason: str, line: int) -> FieldError:
    return FieldError("", f"cannot read YAML: because {reason}", ErrorKind.DECODE, line)


def _refused(reason: str, event: Any) -> InvalidObject:
    return InvalidObject([_syntax(reason, _line(event))])


def _duplicate(path: str, line: int, first: int) -> FieldError:
    message = f'duplicate field "{path}" (first on line {first})'
    return FieldError(path, message, ErrorKind.DUPLICATE_FIELD, line)
