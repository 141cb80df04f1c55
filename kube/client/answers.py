"""Bytes of answers to values (pure): objects, lists, watch events, and the Status of a refusal."""

from __future__ import annotations

from typing import Any

import msgspec

from kube import status
from kube.client.model import EventType, JsonObject, ObjectList, WatchEvent
from kube.errors import StatusError


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


_LIST = msgspec.json.Decoder(_List)
_EVENT = msgspec.json.Decoder(_Event)
_TYPES = {str(kind): kind for kind in EventType}


class Unreadable(ValueError):
    """An answer that is not what the API promises."""


def read_object(body: bytes) -> JsonObject:
    value = _json(body)
    if not isinstance(value, dict):
        raise Unreadable("the answer is not an object")
    return value


def read_list(body: bytes) -> ObjectList:
    """Each item keeps bytes of its own, so that one kept item does not hold the whole answer."""
    try:
        found = _LIST.decode(body)
    except msgspec.DecodeError as error:
        raise Unreadable(f"the answer is not a list: {error}") from error
    meta = found.metadata
    return ObjectList(
        items=tuple(bytes(item) for item in found.items or ()),
        resource_version=meta.resource_version,
        continue_token=meta.continue_,
        remaining=meta.remaining_item_count,
    )


def read_event(line: bytes) -> WatchEvent:
    """One line of a watch. An ERROR event is raised as what its Status says."""
    try:
        event = _EVENT.decode(line)
    except msgspec.DecodeError as error:
        raise Unreadable(f"a watch event is not readable: {error}") from error
    if event.type == "ERROR":
        raise read_refusal(500, bytes(event.object))
    kind = _TYPES.get(event.type)
    if kind is None:
        raise Unreadable(f'a watch event has the unknown type "{event.type}"')
    return WatchEvent(kind, bytes(event.object))


def read_refusal(code: int, body: bytes) -> StatusError:
    """The exception for an answer that is not 2xx, or for the object of an ERROR event."""
    try:
        found = status.of_json(msgspec.json.decode(body), code) if body else None
    except msgspec.DecodeError:
        found = None
    return status.error_of(found or status.of_code(code, body[:1000].decode(errors="replace")))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Unreadable(f"the answer is not JSON: {error}") from error
