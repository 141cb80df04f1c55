"""Which form of an answer a client accepts: the object, its metadata alone (PartialObjectMetadata), or rows
for people (Table).

Clauses of an Accept header are tried in order; one that cannot be met is passed over, so that a client which
would like protobuf gets JSON when it also takes that. Long lists are turned piece by piece, so that other
requests are answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

from controlplane.api import codec
from controlplane.api.model import JSON, Request, Response
from controlplane.api.printers import Printer
from kube import status
from kube.errors import Status

_TAKES_JSON = (JSON, "application/*", "*/*")
_PARTIAL = ("PartialObjectMetadata", "PartialObjectMetadataList")
_META = "meta.k8s.io"
_INCLUDE = ("None", "Metadata", "Object")
_AT_ONCE = 50
"""Objects turned before others get their turn; well below 10 ms."""
_REMEMBERED_CHARACTERS = 1024
"""Of an Accept header; longer ones are read each time, so that what is remembered stays small."""


class Form(Enum):
    OBJECT = "object"
    METADATA = "metadata"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`version` is the Table's; `include` what each row says of its object: None, Metadata or Object."""

    form: Form
    version: str = "v1"
    include: str = "Metadata"


class _Body(msgspec.Struct):
    """An object or a list, opened no further than necessary."""

    kind: str
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_read_body = msgspec.json.Decoder(_Body).decode
_read_event = msgspec.json.Decoder(_Event).decode


def wanted_of(request: Request, *, has_forms: bool = True) -> Wanted:
    """NotAcceptable when no clause can be met, BadRequest for another `includeObject`. What is not stored has
    no other forms."""
    accept = request.headers.get("accept", "")
    read = _first if len(accept) > _REMEMBERED_CHARACTERS else _remembered
    found = read(accept, has_forms=has_forms)
    if found.form is not Form.TABLE:
        return found
    include = request.one("includeObject") or "Metadata"
    if include not in _INCLUDE:
        message = (
            f"includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        )
        raise status.bad_request(message)
    return replace(found, include=include)


def _first(accept: str, *, has_forms: bool) -> Wanted:
    clauses = [clause for clause in (part.strip() for part in accept.split(",")) if clause]
    for clause in clauses:
        type_, *rest = (part.strip() for part in clause.split(";"))
        if type_.lower() not in _TAKES_JSON:
            continue
        parameters = dict(part.partition("=")[::2] for part in rest)
        form, group, version = (parameters.get(key, "") for key in ("as", "g", "v"))
        if not form:
            return Wanted(Form.OBJECT)
        if not has_forms:
            continue
        if form in _PARTIAL and (group, version) == (_META, "v1"):
            return Wanted(Form.METADATA)
        if form == "Table" and group == _META and version in ("v1", "v1beta1"):
            return Wanted(Form.TABLE, version)
    if not clauses:
        return Wanted(Form.OBJECT)
    message = f"only the following media types are accepted: {JSON}"
    raise status.error_of(Status(406, "NotAcceptable", message))


_remembered = lru_cache(maxsize=256)(_first)


async def in_form(
    answer: Response, wanted: Wanted, printer: Printer, now: Callable[[], datetime]
) -> Response:
    """The answer as it was asked for; a Status stays what it is."""
    if wanted.form is Form.OBJECT:
        return answer
    turn: _Turn = _Table(wanted, printer, now) if wanted.form is Form.TABLE else _Metadata()
    if answer.stream is not None:
        return replace(answer, stream=_events(answer.stream, turn))
    return replace(answer, body=await _whole(answer.body, turn))


class _Metadata:
    async def list(self, body: _Body) -> bytes:
        items = await _each(body.items or (), self._item)
        head = {"kind": "PartialObjectMetadataList", "apiVersion": f"{_META}/v1", "metadata": body.metadata}
        return codec.encode({**head, "items": items})

    def one(self, raw: bytes, *, is_first: bool) -> bytes:
        return codec.encode(self._item(raw))

    def bookmark(self, raw: bytes) -> bytes:
        return self.one(raw, is_first=False)

    def _item(self, raw: bytes | msgspec.Raw) -> Any:
        return _partial(_read_body(raw).metadata)


class _Table:
    def __init__(self, wanted: Wanted, printer: Printer, now: Callable[[], datetime]) -> None:
        self._wanted = wanted
        self._printer = printer
        self._now = now

    async def list(self, body: _Body) -> bytes:
        now = self._now()
        rows = await _each(body.items or (), lambda raw: self._row(raw, now))
        return self._encode(body.metadata, rows, with_columns=True)

    def one(self, raw: bytes, *, is_first: bool) -> bytes:
        """In a watch, only the first event tells the columns."""
        version = codec.decode(raw)["metadata"].get("resourceVersion", "")
        row = self._row(raw, self._now())
        return self._encode({"resourceVersion": version}, [row], with_columns=is_first)

    def bookmark(self, raw: bytes) -> bytes:
        return self._encode(_read_body(raw).metadata, [], with_columns=False)

    def _encode(self, metadata: Any, rows: Sequence[Any], *, with_columns: bool) -> bytes:
        columns = [column.to_json() for column in self._printer.columns] if with_columns else None
        return codec.encode({
            "kind": "Table", "apiVersion": f"{_META}/{self._wanted.version}", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })  # fmt: skip

    def _row(self, raw: bytes | msgspec.Raw, now: datetime) -> Any:
        value = msgspec.json.decode(raw)
        row: dict[str, Any] = {"cells": self._printer.cells(value, now)}
        if self._printer.conditions is not None and (conditions := self._printer.conditions(value)):
            row["conditions"] = conditions
        if self._wanted.include == "Object":
            row["object"] = msgspec.Raw(raw)
        else:
            row["object"] = _partial(value["metadata"]) if self._wanted.include == "Metadata" else None
        return row


_Turn = _Metadata | _Table


def _partial(metadata: Any) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{_META}/v1", "metadata": metadata}


async def _each(items: Sequence[msgspec.Raw], turn: Callable[[msgspec.Raw], Any]) -> list[Any]:
    made = []
    for start in range(0, len(items), _AT_ONCE):
        made += [turn(item) for item in items[start : start + _AT_ONCE]]
        if len(items) > _AT_ONCE:
            await asyncio.sleep(0)
    return made


async def _whole(raw: bytes, turn: _Turn) -> bytes:
    body = _read_body(raw)
    if body.kind == "Status":
        return raw
    return turn.one(raw, is_first=True) if body.items is None else await turn.list(body)


async def _events(stream: AsyncIterator[bytes], turn: _Turn) -> AsyncGenerator[bytes, None]:
    is_first = True
    try:
        async for piece in stream:
            lines: list[bytes] = []
            for line in piece.splitlines():
                event = _read_event(line)
                if event.type == "BOOKMARK":
                    turned = turn.bookmark(bytes(event.object))
                elif event.type == "ERROR":
                    turned = bytes(event.object)
                else:
                    turned = turn.one(bytes(event.object), is_first=is_first)
                    is_first = False
                lines.append(b'{"type":"%b","object":%b}\n' % (event.type.encode(), turned))
                if len(lines) >= _AT_ONCE:
                    yield b"".join(lines)
                    lines = []
                    await asyncio.sleep(0)
            # An empty piece is passed on too: it sends the headers.
            yield b"".join(lines)
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
