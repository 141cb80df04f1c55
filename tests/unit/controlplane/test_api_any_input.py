"""Whatever comes in, no request is answered with 500: objects made at random from the schema, many of their
values wrong, and requests put together from pieces of paths, queries, headers and bodies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from controlplane.api.model import Request
from controlplane.api.registry import KINDS, Kind
from kube import schema
from kube.schema import TypeRef
from tests.unit.controlplane.api_world import DEPLOYMENTS, MAPS, POD, PODS, Json, World, config_map, world
from tests.unit.controlplane.api_world import deployment as a_deployment

pytestmark = pytest.mark.pure
SEEDS = range(6)
REQUESTS = 250
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
ODD: tuple[Any, ...] = (
    None, "", 0, -1, 1 << 40, True, [], {}, "A_B", "-5m", "..", "a/b/c", "\0", "é" * 70, 1.5, [None], [{}],
    {"": ""}, ["a", "a"], "None", "200%", 70000, [{"name": "a"}, {"name": "a"}], "*",
)  # fmt: skip
WORDS = (
    "a", "web", "TCP", "Always", "Never", "", "10.96.0.9", "x.y", "Exists", "In", "None", "IPv4", "Role",
    "User", "ExternalName", "NodePort", "RollingUpdate", "Recreate", "NoSchedule",
)  # fmt: skip
SCALARS: dict[str, tuple[Any, ...]] = {
    "string": WORDS, "bool": (True, False), "int32": (0, 1, 80, -1, 30001, 70000), "int64": (0, 1, 80, -1),
    "double": (1, 1.5), "bytes": ("YQ==", "!"), "Quantity": ("1", "100m", "1Gi", 5),
    "IntOrString": (0, "25%"), "Time": ("2026-01-01T00:00:00Z",),
    "MicroTime": ("2026-01-01T00:00:00.000000Z",), "any": ({}, 1), "object": ({}, {"a": 1}),
}  # fmt: skip


def _value(random: Random, ref: TypeRef, odd: float, depth: int = 0) -> Any:
    if random.random() < odd:
        return random.choice(ODD)
    if ref.wrap:
        count = random.choice((0, 1, 1, 2))
        if ref.wrap[0] == "list":
            return [_value(random, ref.inner(), odd, depth + 1) for _ in range(count)]
        keys = [random.choice(("a", "b/c", "x y", "cpu", "memory")) for _ in range(count)]
        return {key: _value(random, ref.inner(), odd, depth + 1) for key in keys}
    if ref.is_scalar:
        return random.choice(SCALARS[ref.name])
    if depth > 7:
        return {}
    likely = 0.35 if depth < 2 else 0.18
    fields = schema.load(ref.name).fields.values()
    chosen = [fact for fact in fields if random.random() < (0.9 if fact.required else likely)]
    return {fact.name: _value(random, fact.type, odd, depth + 1) for fact in chosen}


def _object(random: Random, kind: Kind, odd: float) -> Json:
    value: Any = _value(random, TypeRef(kind.type_name), odd)
    made: Json = value if isinstance(value, dict) else {}
    meta = made.get("metadata")
    name = random.choice(("a", "web", "x1"))
    kept = {key: item for key, item in meta.items() if key in ("labels", "annotations", "finalizers")} if (
        isinstance(meta, dict)) else {}  # fmt: skip
    return {**made, "apiVersion": kind.resource.api_version, "kind": kind.resource.kind,
            "metadata": {**kept, "name": name}}  # fmt: skip


async def _ask_with_object(api: World, random: Random) -> int:
    kind = random.choice(KINDS)
    body = _object(random, kind, random.choice((0.0, 0.01, 0.1)))
    path = kind.resource.path(namespace="default" if kind.resource.namespaced else "")
    one = f"{path}/{body['metadata']['name']}"
    parts = ("", "", *(f"/{name}" for name in kind.subresources))
    chance = random.random()
    if chance < 0.5:
        answer = await api.ask("POST", path, body)
    elif chance < 0.7:
        answer = await api.ask("PUT", one + random.choice(parts), body)
    elif chance < 0.9:
        part = {key: item for key, item in body.items() if key in ("spec", "status", "data", "rules")}
        type_ = random.choice((MERGE, STRATEGIC))
        answer = await api.ask("PATCH", one + random.choice(parts), part, content_type=type_)
    elif chance < 0.95:
        answer = await api.ask("DELETE", one)
    else:
        answer = await api.ask("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert answer.code < 500, (kind.resource, body, answer.body)
    return answer.code


@pytest.mark.parametrize("seed", SEEDS)
def test_no_object_makes_the_server_fail(seed: int) -> None:
    async def inside() -> None:
        random = Random(seed)
        async with world() as api:
            codes = Counter([await _ask_with_object(api, random) for _ in range(REQUESTS)])
            # The objects get everywhere: into the store, to validation, to the reading of types.
            assert codes[201] and codes[422] and codes[400], codes
            assert (await api.do("GET", "/version"))["major"] == "1"

    asyncio.run(inside())


PATHS = (
    PODS, f"{PODS}/web", DEPLOYMENTS, f"{DEPLOYMENTS}/web", MAPS, f"{MAPS}/web", "/api/v1/nodes", "/livez",
    "/api", "/openapi/v3/api/v1", "/apis", "/api/v1/watch/pods", "/api/v1/namespaces/default/status", "/",
)  # fmt: skip
ENDS = ("", "", "", "/", "/status", "/scale", "/eviction", "/binding", "/resize", "/..", "/a/b/c/d")
QUERY = (
    "watch", "limit", "continue", "resourceVersion", "resourceVersionMatch", "fieldSelector", "labelSelector",
    "dryRun", "fieldValidation", "sendInitialEvents", "includeObject", "verbose", "gracePeriodSeconds",
    "propagationPolicy", "orphanDependents", "hash", "exclude",
)  # fmt: skip
VALUES = (
    "", "1", "0", "-1", "true", "x", "é", "a=b", "a in (", "metadata.name=a", "All", "Exact",
    "NotOlderThan", "\0", "1e9", "!!", "Strict", "Object",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"null", b"[]", b"1", b"\xff", b'{"metadata":null}', b'{"metadata":{"name":1}}',
    b'{"spec":[]}', b'[{"op":"add"}]', b'[{"op":"remove","path":"/metadata"}]',
    b'[{"op":"replace","path":"","value":3}]',
    b'[{"op":"move","from":"/metadata","path":"/metadata/labels"}]',
    b'{"spec":null}', b'{"$patch":"delete"}',
    b'{"metadata":{"labels":{"$patch":"delete"}}}', b'{"spec":{"containers":[{"$patch":"replace"}]}}',
    b'{"spec":{"$setElementOrder/containers":[{"name":"x"}]}}', b'{"spec":{"template":null,"selector":null}}',
    b'{"preconditions":3,"gracePeriodSeconds":"x","propagationPolicy":4,"dryRun":"x"}', b"k8s\x00",
)  # fmt: skip
TYPES = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", MERGE, STRATEGIC,
    "application/json-patch+json", "text/plain", "",
)  # fmt: skip
ACCEPTS = (
    "", "*/*", "text/html", ";;,,", "application/json;as=Table;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
)  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_no_request_makes_the_server_fail(seed: int) -> None:
    async def inside() -> None:
        random = Random(seed)
        async with world() as api:
            for number in range(REQUESTS):
                if number % 25 == 0:
                    for path, body in (
                        (PODS, POD),
                        (DEPLOYMENTS, a_deployment("web")),
                        (MAPS, config_map("web")),
                    ):
                        await api.ask("POST", path, body)
                await _ask_oddly(api, random)
            assert (await api.do("GET", "/version"))["major"] == "1"

    asyncio.run(inside())


async def _ask_oddly(api: World, random: Random) -> None:
    request = Request(
        random.choice(("GET", "GET", "POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE", "HEAD", "FOO")),
        random.choice(PATHS) + random.choice(ENDS),
        {random.choice(QUERY): [random.choice(VALUES)] for _ in range(random.choice((0, 0, 1, 2)))},
        {"accept": random.choice(ACCEPTS), "content-type": random.choice(TYPES)},
        random.choice(BODIES),
    )
    answer = await api.server.pipeline.handle(request)
    if answer.stream is not None:
        await answer.stream.aclose()  # type: ignore[attr-defined]
    # A version of the future is waited for, and then it is a timeout.
    assert answer.code < 500 or answer.code == 504, (request, answer.body)
