"""How klog writes one log entry, as text and as JSON: functions from `Entry` to a string (pure).

Text is `I1120 22:15:00.123456    1234 file.py:88] "Message" key="value" n=3`, where strings are quoted as Go
quotes them and a value of several lines is set in `<` … ` >`. Source: k8s.io/klog v2, header and
internal/serialize; JSON keys ts (milliseconds), caller, msg, v, err: k8s.io/component-base/logs/json.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f-\uffff\U00010000-\U0010ffff]*')


@dataclass(frozen=True, slots=True)
class Entry:
    """`severity` is one of I W E F, `wall` Unix seconds, `level` the verbosity it was written at."""

    severity: str
    wall: float
    thread: int
    caller: str
    message: str
    values: Mapping[str, object]
    err: object = None
    level: int = 0


def quote(text: str) -> str:
    """As Go's strconv.Quote."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(_quote_char, text)) + '"'


def _quote_char(char: str) -> str:
    escaped = _ESCAPES.get(char)
    if escaped is not None:
        return escaped
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def format_text(entry: Entry) -> str:
    """One entry without its final line break; in local time, as klog does."""
    seconds, fraction = divmod(entry.wall, 1)
    moment = datetime.datetime.fromtimestamp(seconds).astimezone()
    head = f"{entry.severity}{moment:%m%d %H:%M:%S}.{int(fraction * 1e6):06d} {entry.thread:7d}"
    parts = [f"{head} {entry.caller}] {quote(entry.message)}"]
    if entry.err is not None:
        parts.append("err" + _text_value(entry.err))
    parts += [key + _text_value(value) for key, value in entry.values.items()]
    return " ".join(parts)


def _text_value(value: object) -> str:
    """`=` and the value in klog's form."""
    if isinstance(value, BaseException):
        value = describe(value)
    if isinstance(value, str):
        return _text_string(value)
    if value is None:
        return "=<nil>"
    if isinstance(value, bool):
        return "=true" if value else "=false"
    if isinstance(value, int | float):
        return f"={value}"
    if isinstance(value, dict | list | tuple | set | frozenset):
        return "=" + _json(value)
    return _text_string(str(value))


def _text_string(text: str) -> str:
    if "\n" not in text:
        return "=" + quote(text)
    lines = text.removesuffix("\n").split("\n")
    return "=<\n" + "".join(f"\t{line}\n" for line in lines) + " >"


def format_json(entry: Entry) -> str:
    record: dict[str, object] = {
        "ts": round(entry.wall * 1000, 3),
        "caller": entry.caller,
        "msg": entry.message,
    }
    if entry.severity == "I":
        record["v"] = entry.level
    record.update(entry.values)
    if entry.err is not None:
        record["err"] = entry.err
    return _json(record)


def describe(error: BaseException) -> str:
    """An exception in one phrase; its class where it says nothing itself."""
    return str(error) or type(error).__name__


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_fallback)


def _json_fallback(value: object) -> object:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, BaseException):
        return describe(value)
    return str(value)
