"""Field numbers of every message, read lazily from the text files beside this module, one per group version.

A line is a message; types and list kinds are those of `kube.schema`, so only numbers are here:

    Container: 1 name, 2 image, 3 command, 10 livenessProbe*, 16 stdin
    Volume: 1 name, 2 =VolumeSource

Go's types are values or pointers, and Go's encoder writes a value even when it is zero. `*` marks a pointer:
what is on the wire was set, also when it is zero (`replicas: 0`, `emptyDir: {}`). Of the rest, a zero that
JSON would omit is nobody's wish, and is dropped, unless the schema requires the field. `=` is a message whose
fields JSON holds in the outer object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kube import schema
from kube.protobuf.errors import UnknownKind
from kube.schema import FieldFact, TypeRef


@dataclass(frozen=True, slots=True)
class Field:
    """`keep`: a zero on the wire counts. `pointer`: Go leaves it out when it is not set. `inline`: the
    message whose fields stand in the outer object, else None."""

    number: int
    name: str
    type: TypeRef
    keep: bool
    pointer: bool
    inline: Message | None = None


@dataclass(slots=True)
class Message:
    """One message type. `outer` is the schema type that holds the fields of an inline message."""

    file: str
    name: str
    outer: str = ""
    _fields: tuple[Field, ...] | None = field(default=None, repr=False)

    @property
    def fields(self) -> tuple[Field, ...]:
        if self._fields is None:
            self._fields = self._read()
        return self._fields

    def _read(self) -> tuple[Field, ...]:
        facts = schema.load(self.outer or f"{self.file}.{self.name}").fields
        words = _lines(self.file)[self.name].split(", ")
        return tuple(self._field(word, facts) for word in words if word)

    def _field(self, text: str, facts: dict[str, FieldFact]) -> Field:
        number, _, name = text.partition(" ")
        if name.startswith("="):
            inline = Message(self.file, name[1:], self.outer or f"{self.file}.{self.name}")
            return Field(int(number), "", TypeRef("object"), keep=False, pointer=False, inline=inline)
        pointer = name.endswith("*")
        fact = facts[name.removesuffix("*")]
        return Field(int(number), fact.name, fact.type, keep=pointer or fact.required, pointer=pointer)


@cache
def message(type_name: str) -> Message:
    """The message of a schema type ("core_v1.Pod"). UnknownKind when it has no protobuf form."""
    file, _, name = type_name.partition(".")
    if name not in _lines(file):
        raise UnknownKind(f"{type_name!r} has no protobuf form")
    return Message(file, name)


@cache
def _lines(file: str) -> dict[str, str]:
    path = Path(__file__).parent / f"{file}.txt"
    if not path.exists():
        return {}
    pairs = (line.partition(": ") for line in path.read_text(encoding="utf-8").splitlines())
    return {name.rstrip(":"): fields for name, _, fields in pairs}
