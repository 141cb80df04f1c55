"""OpenAPI v2: one document of everything, as JSON and in the protobuf form that client-go asks for alone
(gnostic's OpenAPIv2.proto). Made in a thread when somebody asks, and kept as bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from controlplane.api import codec
from controlplane.api.health import GIT_VERSION
from controlplane.api.model import JSON, Request, Response
from controlplane.api.openapi import FIELD_PATCHES, public_name, reached, schema_of
from controlplane.api.pages import Page
from controlplane.api.registry.model import Kind
from kube import status
from kube.errors import Status
from kube.schema import TypeFact, TypeRef

Json = dict[str, Any]
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# Clients ask with an @, which a Content-Type may not have.
_PROTOBUF_SPELLINGS = ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", PROTOBUF)
_SCALARS: dict[str, Json] = {
    "string": {"type": "string"}, "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"}, "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"}, "bytes": {"type": "string", "format": "byte"},
    "Quantity": {"type": "string"}, "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"},
    "IntOrString": {"type": "string", "format": "int-or-string"}, "any": {}, "object": {"type": "object"},
}  # fmt: skip
_QUERY = [
    {"name": name, "in": "query", "type": "string", "uniqueItems": True}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


def page(kinds: Iterable[Kind]) -> Page:
    """`/openapi/v2`."""
    listed = tuple(kinds)
    made: dict[str, tuple[bytes, str]] = {}

    def encoded(type_: str) -> tuple[bytes, str]:
        if type_ not in made:
            body = codec.encode(document(listed)) if type_ == JSON else to_protobuf(document(listed))
            made[type_] = body, f'"{hashlib.sha512(body).hexdigest().upper()}"'
        return made[type_]

    async def answer(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        type_ = _wanted(request.headers.get("accept", ""))
        body, tag = await asyncio.to_thread(encoded, type_)
        headers = {"ETag": tag, "Vary": "Accept"}
        if request.headers.get("if-none-match") == tag:
            return Response(304, content_type=type_, headers=headers)
        return Response(body=body, content_type=type_, headers=headers)

    return answer


def _wanted(accept: str) -> str:
    clauses = [clause.partition(";")[0].strip() for clause in accept.split(",") if clause.strip()]
    for clause in clauses:
        if clause in _PROTOBUF_SPELLINGS:
            return PROTOBUF
        if clause in (JSON, "application/*", "*/*"):
            return JSON
    if not clauses:
        return JSON
    message = f"only the following media types are accepted: {JSON}, {PROTOBUF}"
    raise status.error_of(Status(406, "NotAcceptable", message))


def document(kinds: Sequence[Kind]) -> Json:
    paths: Json = {}
    for kind in kinds:
        paths |= _paths(kind)
    facts = reached([kind.type_name for kind in kinds])
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths,
        "definitions": {public: _definition(*found) for public, found in sorted(facts.items())},
    }


def _paths(kind: Kind) -> Json:
    resource = kind.resource
    root = resource.path(namespace="")
    if resource.namespaced:
        root = root.removesuffix(resource.plural) + "namespaces/{namespace}/" + resource.plural
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    names = ("namespace", "name") if resource.namespaced else ("name",)
    places = [{"name": n, "in": "path", "type": "string", "required": True} for n in names]

    def operation(action: str, content: Sequence[str] = ()) -> Json:
        sent = {"$ref": _ref(kind.type_name)} if action != "patch" else {"type": "object"}
        body = [{"name": "body", "in": "body", "required": True, "schema": sent}] if content else []
        made: Json = {
            "produces": [JSON], "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk,
            "responses": {"200": {"description": "OK", "schema": {"$ref": _ref(kind.type_name)}}},
        }  # fmt: skip
        if content:
            made |= {"consumes": list(content), "parameters": [*body, *_QUERY]}
        return made

    operations = {
        "get": operation("get"), "put": operation("put", (JSON,)), "patch": operation("patch", FIELD_PATCHES),
        "delete": operation("delete"),
    }  # fmt: skip
    one = {verb: made for verb, made in operations.items() if _VERB_OF[verb] in kind.verbs}
    collection = {"post": operation("post", (JSON,))}
    if "list" in kind.verbs:
        collection["get"] = operation("list")
    made = {root: {**collection, "parameters": places[:-1]}}
    if one:
        made[f"{root}/{{name}}"] = {**one, "parameters": places}
    return made


_VERB_OF = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}


def _definition(name: str, fact: TypeFact) -> Json:
    made = schema_of(name, fact, _type)
    if not made["properties"]:
        del made["properties"]
    return made


def _type(ref: TypeRef) -> Json:
    if ref.wrap:
        inner = _type(ref.inner())
        if ref.wrap[0] == "list":
            return {"type": "array", "items": inner}
        return {"type": "object", "additionalProperties": inner}
    return _SCALARS[ref.name] if ref.is_scalar else {"$ref": _ref(ref.name)}


def _ref(name: str) -> str:
    return f"#/definitions/{public_name(name)}"


# --- protobuf: field numbers of OpenAPIv2.proto ---


def to_protobuf(value: Mapping[str, Any]) -> bytes:
    """A Document, with the parts of it that `document` makes."""
    info = value["info"]
    return (
        _text(1, value["swagger"])
        + _message(2, _text(1, info["title"]) + _text(2, info["version"]))
        + _message(8, _named(2, value["paths"], _path_item))
        + _message(9, _named(1, value["definitions"], _schema))
    )


def _schema(value: Json) -> bytes:
    parts = [
        _text(1, value.get("$ref", "")),
        _text(2, value.get("format", "")),
        _text(4, value.get("description", "")),
        *(_text(19, name) for name in value.get("required", ())),
    ]
    if "additionalProperties" in value:
        parts.append(_message(21, _message(1, _schema(value["additionalProperties"]))))
    if "type" in value:
        parts.append(_message(22, _text(1, value["type"])))
    if "items" in value:
        parts.append(_message(23, _message(1, _schema(value["items"]))))
    if "properties" in value:
        parts.append(_message(25, _named(1, value["properties"], _schema)))
    return b"".join([*parts, _extensions(31, value)])


def _path_item(value: Json) -> bytes:
    numbers = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
    parts = [_message(number, _operation(value[verb])) for verb, number in numbers.items() if verb in value]
    return b"".join([*parts, *(_message(9, _parameter(item)) for item in value["parameters"])])


def _operation(value: Json) -> bytes:
    return b"".join((
        *(_text(6, text) for text in value["produces"]),
        *(_text(7, text) for text in value.get("consumes", ())),
        *(_message(8, _parameter(item)) for item in value.get("parameters", ())),
        _message(9, _named(1, value["responses"], _response)),
        _extensions(13, value),
    ))  # fmt: skip


def _response(value: Json) -> bytes:
    described = _text(1, value["description"]) + _message(2, _message(1, _schema(value["schema"])))
    return _message(1, described)


def _parameter(value: Json) -> bytes:
    """A ParametersItem."""
    required = _flag(1, value=value.get("required", False))
    if value["in"] == "body":
        body = _text(2, value["name"]) + _text(3, "body")
        body += _flag(4, value=value.get("required", False)) + _message(5, _schema(value["schema"]))
        return _message(1, _message(1, body))
    type_number = 6 if value["in"] == "query" else 5
    inner = required + _text(2, value["in"]) + _text(4, value["name"]) + _text(type_number, value["type"])
    return _message(1, _message(2, _message(3 if value["in"] == "query" else 4, inner)))


def _extensions(number: int, value: Json) -> bytes:
    """NamedAny entries; JSON is YAML too."""
    found = ((key, item) for key, item in value.items() if key.startswith("x-"))
    named = (_text(1, key) + _message(2, _text(2, codec.encode(item).decode())) for key, item in found)
    return b"".join(_message(number, entry) for entry in named)


def _named(number: int, items: Mapping[str, Json], encode: Callable[[Json], bytes]) -> bytes:
    entries: Iterator[bytes] = (_text(1, name) + _message(2, encode(item)) for name, item in items.items())
    return b"".join(_message(number, entry) for entry in entries)


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode()) if text else b""


def _flag(number: int, *, value: bool) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
