"""The older OpenAPI document, in the two forms that clients ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.api import descriptions, openapi, openapi_v2
from controlplane.api.registry import KINDS
from kube import schema
from tests.unit.controlplane.api_world import World, in_world

pytestmark = pytest.mark.pure
TEXT = (Path(descriptions.__file__).with_suffix(".txt")).read_text(encoding="utf-8")
ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


def _fields(body: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Field numbers and values of one protobuf message."""
    at = 0

    def number() -> int:
        nonlocal at
        shift = value = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(body):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
            continue
        assert tag & 7 == 2
        length = number()
        yield tag >> 3, body[at : at + length]
        at += length


def _inside(body: bytes, field: int) -> list[bytes]:
    return [value for number, value in _fields(body) if number == field and isinstance(value, bytes)]


@in_world
async def test_definitions_refer_only_to_what_is_there(api: World) -> None:
    answer = await api.ask("GET", "/openapi/v2", accept="application/json")
    document = msgspec.json.decode(answer.body)
    names = set(document["definitions"])
    referred = {part.split('"')[0] for part in answer.body.decode().split("#/definitions/")[1:]}
    assert "io.k8s.api.core.v1.Pod" in names
    assert referred <= names
    deployments = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert "fieldValidation" in {item["name"] for item in deployments["patch"]["parameters"]}
    spec = document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert (spec["x-kubernetes-patch-merge-key"], spec["x-kubernetes-patch-strategy"]) == ("name", "merge")
    again = await api.ask("GET", "/openapi/v2", if_none_match=answer.headers["ETag"])
    assert again.code == 304


@in_world
async def test_protobuf_holds_the_same_definitions(api: World) -> None:
    answer = await api.ask("GET", "/openapi/v2", accept=ASKED)
    # Go reads no media type with an @ in it.
    assert answer.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert _inside(answer.body, 1) == [b"2.0"]
    (definitions,) = _inside(answer.body, 9)
    found = {_inside(entry, 1)[0].decode(): _inside(entry, 2)[0] for entry in _inside(definitions, 1)}
    document = openapi_v2.document(KINDS)
    assert set(found) == set(document["definitions"])
    (properties,) = _inside(found["io.k8s.api.core.v1.PodSpec"], 25)
    names = [_inside(entry, 1)[0].decode() for entry in _inside(properties, 1)]
    assert names == list(document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"])
    extensions = {
        _inside(entry, 1)[0]: _inside(_inside(entry, 2)[0], 2)[0]
        for entry in _inside(found["io.k8s.api.core.v1.Pod"], 31)
    }
    kinds = msgspec.json.decode(extensions[b"x-kubernetes-group-version-kind"])
    assert kinds == [{"group": "", "version": "v1", "kind": "Pod"}]
    (paths,) = _inside(answer.body, 8)
    assert len(_inside(paths, 2)) == len(document["paths"])


@in_world
async def test_another_form_is_refused(api: World) -> None:
    assert (await api.ask("GET", "/openapi/v2", accept="text/html")).code == 406
    assert (await api.ask("POST", "/openapi/v2")).code == 405


def test_descriptions_are_of_types_and_fields_that_there_are() -> None:
    for name, words in descriptions.parse(TEXT).items():
        if name == "*":
            continue
        fields = schema.load(name).fields
        assert words.text, name
        assert set(words.fields) <= set(fields), (name, set(words.fields) - set(fields))
        assert all(text.endswith(".") for text in words.fields.values()), name


def test_every_kind_is_described_in_both_documents() -> None:
    kinds = [kind for kind in KINDS if kind.is_stored]
    for kind in kinds:
        assert descriptions.of_type(kind.type_name).text, kind.type_name
    image = openapi.document(kinds)["components"]["schemas"]["io.k8s.api.core.v1.Container"]["properties"]
    assert image["image"]["description"] == "The image's name."
    assert openapi_v2.document(kinds)["definitions"]["io.k8s.api.core.v1.Pod"]["description"].startswith("Co")


def test_descriptions_without_words_are_an_error() -> None:
    with pytest.raises(ValueError, match="line 2: because 'image' has none"):
        descriptions.parse("core_v1.Container  A program.\n  image\n")
