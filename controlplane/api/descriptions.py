"""The words of `kubectl explain`: a sentence for types and fields, from the text beside this module."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Words:
    """Of one type; `fields` by name."""

    text: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def of_type(name: str) -> Words:
    """`name` as in the schema ("core_v1.Pod"); fields that all kinds have are described for all."""
    return _load().get(name, _NONE)


def of_field(type_name: str, name: str) -> str:
    own = of_type(type_name).fields.get(name)
    return own if own is not None else _load()[_EVERYWHERE].fields.get(name, "")


_NONE = Words()


@cache
def _load() -> dict[str, Words]:
    path = Path(__file__).with_suffix(".txt")
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Words]:
    """ValueError for a line without words."""
    found: dict[str, Words] = {}
    current = _NONE
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        name, _, words = line.strip().partition("  ")
        if not words and name != _EVERYWHERE:
            raise ValueError(f"cannot read the descriptions, line {number}: because {name!r} has none")
        if line.startswith(" "):
            current.fields[name] = words
        else:
            current = found[name] = Words(words)
    return found
