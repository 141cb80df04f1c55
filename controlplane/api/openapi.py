"""OpenAPI v3, made from the schema facts: what kubectl needs to validate, to build patches, and to explain.

One document per group version, made in a thread when it is first asked for, and an index with their hashes. A
client that asks with the hash of the index may keep the answer for ever; one with another hash is sent on.
kubectl finds server-side validation by the `fieldValidation` parameter of PATCH, and the keys of lists by the
`x-kubernetes-*` extensions.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from controlplane.api import codec, descriptions
from controlplane.api.health import GIT_VERSION
from controlplane.api.model import Request, Response
from controlplane.api.pages import Page
from controlplane.api.registry.model import Kind
from kube import schema, status
from kube.schema import FieldFact, TypeFact, TypeRef

Json = dict[str, Any]

_ROOT = "/openapi/v3"
_SCALARS: dict[str, Json] = {
    "string": {"type": "string"}, "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"}, "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"}, "bytes": {"type": "string", "format": "byte"},
    "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"},
    "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "any": {}, "object": {"type": "object"},
}  # fmt: skip
FIELD_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
_FIELD_VALIDATION = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
_DRY_RUN = {"name": "dryRun", "in": "query", "schema": {"type": "string"}}


def pages(kinds: Iterable[Kind]) -> dict[str, Page]:
    groups: dict[str, list[Kind]] = {}
    for kind in kinds:
        resource = kind.resource
        path = f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"
        groups.setdefault(path, []).append(kind)

    @cache
    def encoded(path: str) -> tuple[bytes, str]:
        body = codec.encode(document(groups[path]))
        return body, hashlib.sha512(body).hexdigest().upper()

    def index_body() -> bytes:
        urls = {path: {"serverRelativeURL": f"{_ROOT}/{path}?hash={encoded(path)[1]}"} for path in groups}
        return codec.encode({"paths": urls})

    async def index(request: Request) -> Response:
        return Response(body=await asyncio.to_thread(index_body))

    async def page(request: Request) -> Response:
        path = request.path[len(_ROOT) :].strip("/")
        if path not in groups:
            raise status.no_such_resource()
        return _answer(request, *await asyncio.to_thread(encoded, path))

    return {_ROOT: index, f"{_ROOT}/": page}


def _answer(request: Request, body: bytes, digest: str) -> Response:
    asked = request.one("hash")
    if asked and asked != digest:
        return Response(301, headers={"Location": f"{request.path}?hash={digest}"})
    headers = {"ETag": f'"{digest}"', "Vary": "Accept"}
    if asked:
        headers["Cache-Control"] = "public, immutable, max-age=31536000"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(304, headers=headers)
    return Response(body=body, headers=headers)


def document(kinds: Sequence[Kind]) -> Json:
    """Of one group version: its paths, and every type that its kinds reach."""
    paths: Json = {}
    for kind in kinds:
        paths |= _paths(kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths,
        "components": {"schemas": _schemas([kind.type_name for kind in kinds])},
    }


def _paths(kind: Kind) -> Json:
    resource = kind.resource
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    root = resource.path(namespace="")
    if resource.namespaced:
        root = root.removesuffix(resource.plural) + "namespaces/{namespace}/" + resource.plural
    names = ("namespace", "name") if resource.namespaced else ("name",)
    one = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    body = {"allOf": [{"$ref": _ref(kind.type_name)}]}

    def operation(action: str, content: Sequence[str] = (), sent: Json | None = None) -> Json:
        made: Json = {
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": body}}}},
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk,
        }  # fmt: skip
        if content:
            made["parameters"] = [_DRY_RUN, _FIELD_VALIDATION]
            made["requestBody"] = {"content": {type_: {"schema": sent or {}} for type_ in content}}
        return made

    collection = {"get": operation("list"), "post": operation("post", ("application/json",), body)}
    item = {
        "get": operation("get"), "put": operation("put", ("application/json",), body),
        "patch": operation("patch", FIELD_PATCHES, {"type": "object"}), "delete": operation("delete"),
    }  # fmt: skip
    return {
        root: {**collection, "parameters": one[:-1]},
        f"{root}/{{name}}": {**item, "parameters": one},
    }


def _schemas(roots: Sequence[str]) -> Json:
    return {public: schema_of(name, fact, _type) for public, (name, fact) in sorted(reached(roots).items())}


def reached(roots: Iterable[str]) -> dict[str, tuple[str, TypeFact]]:
    """The types that these are made of, by their public names, each with its name in the schema."""
    found: dict[str, tuple[str, TypeFact]] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        public = public_name(name)
        if public in found:
            continue
        fact = schema.load(name)
        found[public] = name, fact
        waiting += [field.type.name for field in fact.fields.values() if field.type.name not in _SCALARS]
    return found


def schema_of(name: str, fact: TypeFact, type_of: Callable[[TypeRef], Json]) -> Json:
    """One type of the API; `type_of` says how this version of OpenAPI refers to another."""
    made: Json = {
        **described(descriptions.of_type(name).text), "type": "object",
        "properties": {
            f.name: described(descriptions.of_field(name, f.name)) | _property(f, type_of)
            for f in fact.fields.values()
        },
    }  # fmt: skip
    if required := [field.name for field in fact.fields.values() if field.required]:
        made["required"] = required
    if fact.gvk:
        api_version, _, kind = fact.gvk.rpartition("/")
        group, _, version = api_version.rpartition("/")
        made["x-kubernetes-group-version-kind"] = [{"group": group, "version": version, "kind": kind}]
    if fact.atomic:
        made["x-kubernetes-map-type"] = "atomic"
    return made


def described(text: str) -> Json:
    return {"description": text} if text else {}


def _property(field: FieldFact, type_of: Callable[[TypeRef], Json]) -> Json:
    made = dict(type_of(field.type))
    if field.list_type:
        is_map = field.type.wrap[:1] == ("map",) or not field.type.wrap
        made["x-kubernetes-map-type" if is_map else "x-kubernetes-list-type"] = field.list_type
    if field.list_keys:
        made["x-kubernetes-list-map-keys"] = list(field.list_keys)
    if field.patch:
        made["x-kubernetes-patch-strategy"] = ",".join(field.patch)
    if field.merge_key:
        made["x-kubernetes-patch-merge-key"] = field.merge_key
    return made


def _type(ref: TypeRef) -> Json:
    if ref.wrap:
        inner = _type(ref.inner())
        if ref.wrap[0] == "list":
            return {"type": "array", "items": inner}
        return {"type": "object", "additionalProperties": inner}
    if ref.is_scalar:
        return _SCALARS[ref.name]
    return {"allOf": [{"$ref": _ref(ref.name)}]}


def _ref(name: str) -> str:
    return f"#/components/schemas/{public_name(name)}"


def public_name(name: str) -> str:
    """ "core_v1.Pod" as clients know it: "io.k8s.api.core.v1.Pod"."""
    file, _, type_ = name.partition(".")
    group, _, version = file.rpartition("_")
    if group == "meta":
        return f"io.k8s.apimachinery.pkg.apis.meta.{version}.{type_}"
    return f"io.k8s.api.{'core' if group == 'cluster' else group}.{version}.{type_}"
