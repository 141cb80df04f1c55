"""Bad input over a real socket: the right Status with its reason and fields, nothing changed by it, and the
next request is answered as ever.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import pytest

from controlplane.api.http import HttpServer
from tests.unit.controlplane.api_world import (
    DEPLOYMENTS,
    MAPS,
    POD,
    PODS,
    Json,
    World,
    config_map,
    deployment,
    world,
)

pytestmark = pytest.mark.conformance
JSON, YAML = "application/json", "application/yaml"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
PATCHES = "application/json-patch+json"
NAMESPACES = "/api/v1/namespaces"


class Answer(NamedTuple):
    code: int
    headers: dict[str, str]
    body: Json


class Asker:
    """One request per connection, as raw as it is given."""

    def __init__(self, address: tuple[str, int], api: World) -> None:
        self._address = address
        self.api = api

    async def ask(
        self, method: str, target: str, body: Any = None, type_: str = JSON, *, length: int | None = None
    ) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", f"Content-Type: {type_}"]
        lines.append(f"Content-Length: {len(raw) if length is None else length}")
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            async with asyncio.timeout(20):
                writer.write("\r\n".join([*lines, "", ""]).encode() + raw)
                if length is not None:
                    writer.write_eof()
                answer = await reader.read()
        finally:
            writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        first, *others = head.decode().split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in others)}
        return Answer(int(first.split()[1]), headers, msgspec.json.decode(rest))


@asynccontextmanager
async def asker() -> Any:
    async with world() as api:
        server = HttpServer(api.server.pipeline, "127.0.0.1", 0)
        await server.start()
        try:
            await api.do("POST", MAPS, config_map("kept", x="1"))
            await api.do("POST", DEPLOYMENTS, deployment("kept"))
            await api.do("POST", PODS, {**POD, "metadata": {"name": "kept"}})
            yield Asker(server.address, api)
        finally:
            await server.stop()


def _pod(change: Callable[[Json], object]) -> Json:
    made = copy.deepcopy(POD)
    change(made)
    return made


def _main(pod: Json) -> Json:
    container: Json = pod["spec"]["containers"][0]
    return container


def _deployment(change: Callable[[Json], object]) -> Json:
    made = deployment("web")
    change(made)
    return made


class Case(NamedTuple):
    """`fields` are those of the causes; `says` stands in the message."""

    body: Any
    code: int
    reason: str
    says: str
    fields: tuple[str, ...] = ()
    type_: str = JSON
    method: str = "POST"
    target: str = PODS


def _set(path: str, value: Any) -> Callable[[Json], object]:
    """Sets `a.0.b` to the value."""
    *way, last = path.split(".")

    def change(item: Any) -> object:
        for part in way:
            item = item[int(part)] if part.isdecimal() else item.setdefault(part, {})
        item[last] = value
        return None

    return change


PODS_REFUSED = {
    "unknown field": Case(
        _pod(_set("spec.containers.0.imgae", "x")), 400, "BadRequest",
        'strict decoding error: unknown field "spec.containers[0].imgae"',
        target=f"{PODS}?fieldValidation=Strict",
    ),
    "duplicate field": Case(
        b'{"apiVersion":"v1","kind":"Pod","kind":"Pod","metadata":{"name":"web"}}', 400, "BadRequest",
        'duplicate field "kind"', target=f"{PODS}?fieldValidation=Strict",
    ),
    "no such validation": Case(POD, 422, "Invalid", 'Unsupported value: "Some"', ("fieldValidation",),
                               target=f"{PODS}?fieldValidation=Some"),
    "wrong type": Case(_pod(_set("spec.hostNetwork", "yes")), 400, "BadRequest", "spec.hostNetwork: must be"),
    "wrong type of a list": Case(_pod(_set("spec.containers", {})), 400, "BadRequest",
                                 "spec.containers: must be a list"),
    "impossible quantity": Case(
        _pod(_set("spec.containers.0.resources", {"requests": {"cpu": "much"}})), 400, "BadRequest",
        "spec.containers[0].resources.requests.cpu: Invalid value",
    ),
    "negative quantity": Case(
        _pod(_set("spec.containers.0.resources", {"requests": {"cpu": "-1"}})), 422, "Invalid",
        "must be greater than or equal to 0", ("spec.containers[0].resources.requests[cpu]",),
    ),
    "duplicate name": Case(
        _pod(lambda pod: pod["spec"]["containers"].append(dict(_main(pod)))), 422, "Invalid",
        'spec.containers[1].name: Duplicate value: "main"', ("spec.containers[1].name",),
    ),
    "missing volume": Case(
        _pod(_set("spec.containers.0.volumeMounts", [{"name": "data", "mountPath": "/d"}])), 422, "Invalid",
        'spec.containers[0].volumeMounts[0].name: Not found: "data"',
        ("spec.containers[0].volumeMounts[0].name",),
    ),
    "port out of range": Case(
        _pod(_set("spec.containers.0.ports", [{"containerPort": 70000}])), 422, "Invalid",
        "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ("spec.containers[0].ports[0].containerPort",),
    ),
    "port out of its type": Case(
        _pod(_set("spec.containers.0.ports", [{"containerPort": 1 << 40}])), 400, "BadRequest",
        "spec.containers[0].ports[0].containerPort",
    ),
    "request over limit": Case(
        _pod(_set("spec.containers.0.resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})), 422,
        "Invalid", "must be less than or equal to cpu limit of 1",
        ("spec.containers[0].resources.requests",),
    ),
    "bad name": Case(_pod(_set("metadata.name", "Web_1")), 422, "Invalid",
                     "a lowercase RFC 1123 subdomain must consist of", ("metadata.name",)),
    "long name": Case(_pod(_set("metadata.name", "a" * 254)), 422, "Invalid",
                      "must be no more than 253 bytes", ("metadata.name",)),
    "no name": Case(_pod(_set("metadata", {})), 422, "Invalid", "name or generateName is required",
                    ("metadata.name",)),
    "bad label": Case(_pod(_set("metadata.labels", {"a": "b c"})), 422, "Invalid",
                      "a valid label must be an empty string or", ("metadata.labels",)),
    "bad label's key": Case(_pod(_set("metadata.labels", {"a b": "c"})), 422, "Invalid",
                            "name part must consist of", ("metadata.labels",)),
    "no containers": Case(_pod(_set("spec.containers", [])), 422, "Invalid",
                          "spec.containers: Required value", ("spec.containers",)),
    "several at once": Case(
        _pod(lambda pod: _main(pod).update(name="", image="")), 422, "Invalid", 'Pod "web" is invalid: [',
        ("spec.containers[0].name", "spec.containers[0].image"),
    ),
    "other namespace": Case(_pod(_set("metadata.namespace", "other")), 400, "BadRequest",
                            "the namespace of the provided object does not match the namespace sent"),
    "version at creation": Case(_pod(_set("metadata.resourceVersion", "7")), 400, "BadRequest",
                                "resourceVersion should not be set on objects to be created"),
    "other kind": Case(config_map("a"), 400, "BadRequest", "is v1/ConfigMap, must be v1/Pod"),
    "name that is taken": Case(_pod(_set("metadata.name", "kept")), 409, "AlreadyExists",
                               'pods "kept" already exists'),
    "invalid utf-8": Case(b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"\xff\xfe"}}', 400,
                          "BadRequest", ""),
    "invalid utf-8 in yaml": Case(b"kind: \xff\xfe", 400, "BadRequest", "", type_=YAML),
    "half a document": Case(b'{"apiVersion":"v1","kind":"Po', 400, "BadRequest", "couldn't get version/kind"),
    "no document": Case(b"", 400, "BadRequest", "the body of the request is empty"),
    "another form": Case(b"<pod/>", 415, "UnsupportedMediaType", "accepted media types include",
                         type_="text/xml"),
    "cut protobuf": Case(b"k8s\x00\x0a\x20\x0a", 400, "BadRequest", "cannot read the body",
                         type_="application/vnd.kubernetes.protobuf"),
    "4 MiB": Case(b" " * (4 << 20), 413, "RequestEntityTooLarge", "Request entity too large"),
}  # fmt: skip

OTHERS_REFUSED = {
    "template without the selector's labels": Case(
        _deployment(_set("spec.template.metadata.labels", {"app": "other"})), 422, "Invalid",
        "`selector` does not match template `labels`", ("spec.template.metadata.labels",), target=DEPLOYMENTS,
    ),
    "no selector": Case(
        _deployment(lambda item: item["spec"].pop("selector")), 422, "Invalid", "spec.selector",
        target=DEPLOYMENTS,
    ),
    "negative replicas": Case(
        _deployment(_set("spec.replicas", -1)), 422, "Invalid", "must be greater than or equal to 0",
        ("spec.replicas",), target=DEPLOYMENTS,
    ),
    "a policy that ends": Case(
        _deployment(_set("spec.template.spec.restartPolicy", "Never")), 422, "Invalid",
        'Unsupported value: "Never": supported values: "Always"', ("spec.template.spec.restartPolicy",),
        target=DEPLOYMENTS,
    ),
    "no percent": Case(
        _deployment(_set("spec.strategy", {"rollingUpdate": {"maxSurge": "many"}})), 422, "Invalid",
        "a valid percent string must be", ("spec.strategy.rollingUpdate.maxSurge",), target=DEPLOYMENTS,
    ),
    "too much unavailable": Case(
        _deployment(_set("spec.strategy", {"rollingUpdate": {"maxUnavailable": "101%"}})), 422, "Invalid",
        "must not be greater than 100%", ("spec.strategy.rollingUpdate.maxUnavailable",), target=DEPLOYMENTS,
    ),
    "bad key": Case(config_map("a", **{"a/b": "c"}), 422, "Invalid", "a valid config key must consist of",
                    ("data[a/b]",), target=MAPS),
    "more than fits": Case(config_map("a", x="y" * (1 << 20) + "z"), 422, "Invalid", "Too long",
                           target=MAPS),
    "a namespace that is no label": Case(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}, 422, "Invalid",
        "a lowercase RFC 1123 label must consist of", ("metadata.name",), target=NAMESPACES,
    ),
    "a taint without effect": Case(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [{"key": "a"}]}},
        422, "Invalid", "Required value", ("spec.taints[0].effect",), target="/api/v1/nodes",
    ),
    "an event of elsewhere": Case(
        {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
         "involvedObject": {"kind": "Pod", "namespace": "other", "name": "p"}},
        422, "Invalid", "does not match event.namespace", ("involvedObject.namespace",),
        target="/api/v1/namespaces/default/events",
    ),
    "stale version": Case(
        {**config_map("kept", x="2"), "metadata": {"name": "kept", "resourceVersion": "1"}}, 409, "Conflict",
        "the object has been modified; please apply your changes to the latest version and try again",
        method="PUT", target=f"{MAPS}/kept",
    ),
    "another uid": Case(
        {**config_map("kept"), "metadata": {"name": "kept", "uid": "x"}}, 409, "Conflict",
        "Precondition failed: UID in precondition: x", method="PUT", target=f"{MAPS}/kept",
    ),
    "a patch that does not apply": Case(
        [{"op": "test", "path": "/data/x", "value": "2"}], 422, "Invalid", "/data/x", type_=PATCHES,
        method="PATCH", target=f"{MAPS}/kept",
    ),
    "a patch of what is not there": Case(
        [{"op": "remove", "path": "/data/nothing"}], 422, "Invalid", "/data/nothing", type_=PATCHES,
        method="PATCH", target=f"{MAPS}/kept",
    ),
    "a patch that is none": Case({"op": "add"}, 400, "BadRequest", "", type_=PATCHES, method="PATCH",
                                 target=f"{MAPS}/kept"),
    "a patch of another form": Case({}, 415, "UnsupportedMediaType", "", type_="application/apply-patch+cbor",
                                    method="PATCH", target=f"{MAPS}/kept"),
    "a patch to a wrong type": Case(
        {"spec": {"replicas": "two"}}, 400, "BadRequest", "spec.replicas", type_=MERGE, method="PATCH",
        target=f"{DEPLOYMENTS}/kept",
    ),
    "a patch of the selector": Case(
        {"spec": {"selector": {"matchLabels": {"x": "y"}}}}, 422, "Invalid", "field is immutable",
        type_=STRATEGIC, method="PATCH", target=f"{DEPLOYMENTS}/kept",
    ),
    "a container that joins a pod": Case(
        {"spec": {"containers": [{"name": "b", "image": "x"}]}}, 422, "Invalid",
        "pod updates may not add or remove containers", ("spec.containers",), type_=STRATEGIC, method="PATCH",
        target=f"{PODS}/kept",
    ),
    "a pod that moves": Case(
        {"spec": {"nodeName": "n2"}}, 422, "Invalid", "pod updates may not change fields other than",
        ("spec",), type_=MERGE, method="PATCH", target=f"{PODS}/kept",
    ),
    "dots in a path": Case(None, 400, "BadRequest", "..", method="GET",
                           target="/api/v1/namespaces/../secrets"),
    "encoded dots": Case(None, 400, "BadRequest", "..", method="GET",
                         target="/api/v1/namespaces/default/pods/%2e%2e"),
    "dots to elsewhere": Case(None, 404, "NotFound", "", method="GET", target="/livez/../../etc/passwd"),
    "a watch from the past": Case(None, 410, "Expired", "too old resource version: 1", method="GET",
                                  target=f"{MAPS}?watch=1&resourceVersion=1"),
    "a version that is none": Case(None, 400, "BadRequest", "resourceVersion", method="GET",
                                   target=f"{MAPS}?resourceVersion=new"),
    "a page of nothing": Case(None, 400, "BadRequest", "continue key is not valid", method="GET",
                              target=f"{MAPS}?limit=1&continue=%21%21"),
    "a selector that is none": Case(None, 400, "BadRequest", "", method="GET",
                                    target=f"{MAPS}?labelSelector=a%3D%3D%3Db%20c"),
    "a field that cannot be selected": Case(None, 400, "BadRequest", "field label not supported: spec.x",
                                            method="GET", target=f"{PODS}?fieldSelector=spec.x%3D1"),
    "a grace that is none": Case({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Maybe"},
                                 422, "Invalid", 'Unsupported value: "Maybe"', ("propagationPolicy",),
                                 method="DELETE", target=f"{MAPS}/kept"),
    "a delete of another": Case(
        {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "x"}}, 409, "Conflict",
        "Precondition failed: UID", method="DELETE", target=f"{MAPS}/kept",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*PODS_REFUSED, *OTHERS_REFUSED])
def test_bad_input_is_refused_and_disturbs_nothing(name: str) -> None:
    case = {**PODS_REFUSED, **OTHERS_REFUSED}[name]

    async def inside(asked: Asker) -> None:
        if "watch=1" in case.target:
            await _forget(asked)
        before = await asked.api.store.revision()
        found = await asked.ask(case.method, case.target, case.body, case.type_)
        assert (found.code, found.body["reason"]) == (case.code, case.reason), found.body
        assert (found.body["kind"], found.body["status"], found.body["code"]) == (
            "Status", "Failure", case.code,
        )  # fmt: skip
        assert case.says in found.body["message"]
        causes = (found.body.get("details") or {}).get("causes") or []
        for field in case.fields:
            assert field in [cause["field"] for cause in causes]
        assert await asked.api.store.revision() == before
        next_ = await asked.ask("GET", f"{MAPS}/kept")
        assert (next_.code, next_.body["data"]) == (200, {"x": "1"})

    _run(inside)


async def _forget(asked: Asker) -> None:
    """Everything up to now is compacted, in the store and in the cache's ring."""
    for number in range(1100):
        await asked.api.do("PUT", f"{MAPS}/many", config_map("many", x=str(number))) if number else (
            await asked.api.do("POST", MAPS, config_map("many"))
        )
    await asked.api.store.compact(await asked.api.store.revision())


def _run(inside: Callable[[Asker], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asker() as asked:
            await inside(asked)

    asyncio.run(whole())


def test_a_body_cut_short_writes_nothing() -> None:
    async def inside(asked: Asker) -> None:
        before = await asked.api.store.revision()
        raw = msgspec.json.encode(config_map("cut"))
        found = await asked.ask("POST", MAPS, raw, length=len(raw) + 10)
        assert (found.code, found.body["kind"], found.body["reason"]) == (400, "Status", "BadRequest")
        assert await asked.api.store.revision() == before
        assert (await asked.ask("GET", f"{MAPS}/kept")).code == 200

    _run(inside)


@pytest.mark.parametrize("validation", ["Warn", "", "Ignore"])
def test_unknown_fields_are_warned_of_or_passed_over_and_never_stored(validation: str) -> None:
    async def inside(asked: Asker) -> None:
        body = {**config_map("a", x="1"), "surprise": 1, "metadata": {"name": "a", "colour": "red"}}
        found = await asked.ask("POST", f"{MAPS}?fieldValidation={validation}", body)
        assert found.code == 201
        warned = found.headers.get("warning", "")
        if validation == "Ignore":
            assert not warned
        else:
            assert '299 - "unknown field \\"surprise\\""' in warned
            assert '299 - "unknown field \\"metadata.colour\\""' in warned
        stored = (await asked.ask("GET", f"{MAPS}/a")).body
        assert "surprise" not in stored
        assert "colour" not in stored["metadata"]

    _run(inside)


def test_a_watch_or_list_from_a_compacted_revision_is_expired() -> None:
    async def inside(asked: Asker) -> None:
        await _forget(asked)
        watched = await asked.ask("GET", f"{MAPS}?watch=1&resourceVersion=2")
        assert (watched.code, watched.body["reason"]) == (410, "Expired")
        listed = await asked.ask("GET", f"{MAPS}?resourceVersion=2&resourceVersionMatch=Exact")
        assert (listed.code, listed.body["reason"]) == (410, "Expired")

    _run(inside)
