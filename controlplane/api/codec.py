"""Bodies of requests to JSON values, and objects to the canonical bytes that are stored and sent.

A stored object begins `{"apiVersion":...,"kind":...,"metadata":{"resourceVersion":"`, then a quote and the
rest: its version is known only once it is written, and is put in at that place without reading the rest. So
an object is encoded once, at its write, for every list, get and event that shows it.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from controlplane.api.model import JSON
from controlplane.api.registry.model import Kind
from kube import json_text, protobuf, status, yaml
from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.errors import InvalidObject, join_errors

YAML = "application/yaml"
ACCEPTED = (JSON, YAML, protobuf.CONTENT_TYPE)
_ENCODE = msgspec.json.Encoder().encode


def media_type(header: str) -> str:
    """Of a Content-Type, without its parameters; JSON when there is none."""
    return header.partition(";")[0].strip().lower() or JSON


def read_value(body: bytes, content_type: str) -> tuple[Any, tuple[str, ...]]:
    """The value of a body, and what is written twice in it (`duplicate field "a.b"`).
    BadRequest for one that cannot be read, UnsupportedMediaType for another form."""
    kind = media_type(content_type)
    if kind == JSON:
        return _read_json(body)
    if kind == YAML:
        return _read_yaml(body)
    if kind == protobuf.CONTENT_TYPE:
        try:
            return protobuf.decode(body), ()
        except protobuf.ProtobufError as error:
            raise status.bad_request(f"cannot read the body of the request: because {error}") from error
    raise status.unsupported_media_type(kind, ACCEPTED)


def _read_json(body: bytes) -> tuple[Any, tuple[str, ...]]:
    try:
        value = msgspec.json.decode(body)
        has_duplicates = _has_duplicates(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise status.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    except RecursionError as error:
        raise status.bad_request("couldn't get version/kind; json parse error: nested too deep") from error
    if not has_duplicates:
        return value, ()
    try:
        document = json_text.load(json_text.decode_utf8(body))
    except InvalidObject as error:
        raise status.bad_request(join_errors(error.errors)) from error
    return value, _duplicates(document)


def _has_duplicates(body: bytes) -> bool:
    """The standard library's scanner calls back per object and is C for the rest: cheap for each write."""
    found = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        made = dict(items)
        found = found or len(made) != len(items)
        return made

    json.loads(body, object_pairs_hook=pairs)
    return found


def _read_yaml(body: bytes) -> tuple[Any, tuple[str, ...]]:
    try:
        documents = yaml.load_all(body)
    except InvalidObject as error:
        raise status.bad_request(f"error converting YAML to JSON: {join_errors(error.errors)}") from error
    if len(documents) != 1:
        raise status.bad_request("the body of the request must be one YAML document")
    return documents[0].value, _duplicates(documents[0])


def _duplicates(document: json_text.Document) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f'duplicate field "{error.path}"' for error in document.errors))


def head(resource: Resource) -> bytes:
    """How each stored object of a resource begins, up to its version."""
    start = _ENCODE({"apiVersion": resource.api_version, "kind": resource.kind})
    return start[:-1] + b',"metadata":{"resourceVersion":"'


def to_stored(kind: Kind, value: JsonObject) -> bytes:
    """The bytes to store; the value's own version is left out."""
    rest = {key: item for key, item in value["metadata"].items() if key != "resourceVersion"}
    ordered = {
        "apiVersion": kind.resource.api_version,
        "kind": kind.resource.kind,
        "metadata": {"resourceVersion": "", **rest},
    }
    return _ENCODE(ordered | {key: item for key, item in value.items() if key not in ordered})


def with_version(head_bytes: bytes, stored: bytes, revision: int) -> bytes:
    """The bytes to send."""
    return b"%b%d%b" % (head_bytes, revision, stored[len(head_bytes) :])


def encode(value: Any) -> bytes:
    return _ENCODE(value)


def decode(raw: bytes) -> JsonObject:
    """Of bytes of our own."""
    value: JsonObject = msgspec.json.decode(raw)
    return value
