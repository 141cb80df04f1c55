"""Lists, pages, selectors and watches through the pipeline, and the socket with the project's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from aio.clock import SystemClock
from controlplane.api import watchcache
from controlplane.api.codec import to_stored
from controlplane.api.http import HttpServer
from controlplane.api.registry import standard
from controlplane.api.requestinfo import parse
from kube import status
from kube.client import Call, DeleteOptions, ListOptions, PatchKind, WatchOptions
from kube.client import resources as r
from kube.client.http import HttpClient
from kube.client.settings import Settings
from tests.unit.controlplane.api_world import (
    MAPS,
    POD,
    PODS,
    Json,
    Watcher,
    World,
    config_map,
    in_world,
    world,
)


async def _fill(api: World, count: int) -> list[Json]:
    return [await api.do("POST", MAPS, config_map(f"m{n:02}")) for n in range(count)]


@pytest.mark.pure
@in_world
async def test_list_is_in_the_order_of_keys_and_has_the_latest(api: World) -> None:
    for namespace in ("b", "a-b", "a"):
        await api.do("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("x"))
    found = await api.do("GET", "/api/v1/configmaps")
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert [item["metadata"]["namespace"] for item in found["items"]] == ["a-b", "a", "b"]
    versions = [int(item["metadata"]["resourceVersion"]) for item in found["items"]]
    assert found["metadata"] == {"resourceVersion": str(max(versions))}
    inside = await api.do("GET", "/api/v1/namespaces/a/configmaps")
    assert len(inside["items"]) == 1


@pytest.mark.pure
@in_world
async def test_pages_show_one_revision(api: World) -> None:
    await _fill(api, 5)
    first = await api.do("GET", f"{MAPS}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    await api.do("DELETE", f"{MAPS}/m03")
    await api.do("POST", MAPS, config_map("m99"))
    token = first["metadata"]["continue"]
    second = await api.do("GET", f"{MAPS}?limit=2&continue={token}")
    third = await api.do("GET", f"{MAPS}?limit=2&continue={second['metadata']['continue']}")
    pages = (first, second, third)
    names = [item["metadata"]["name"] for page in pages for item in page["items"]]
    assert names == ["m00", "m01", "m02", "m03", "m04"]
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
    assert "continue" not in third["metadata"] and "remainingItemCount" not in third["metadata"]


@pytest.mark.pure
@in_world
async def test_pages_with_a_selector_count_only_what_it_selects(api: World) -> None:
    for n in range(6):
        body = config_map(f"m{n}")
        body["metadata"]["labels"] = {"odd": str(n % 2)}
        await api.do("POST", MAPS, body)
    first = await api.do("GET", f"{MAPS}?limit=2&labelSelector=odd%3D1")
    assert [item["metadata"]["name"] for item in first["items"]] == ["m1", "m3"]
    assert "remainingItemCount" not in first["metadata"]
    token = first["metadata"]["continue"]
    second = await api.do("GET", f"{MAPS}?limit=2&labelSelector=odd%3D1&continue={token}")
    assert [item["metadata"]["name"] for item in second["items"]] == ["m5"]
    assert "continue" not in second["metadata"]


@pytest.mark.pure
@in_world
async def test_token_of_a_compacted_revision_is_expired(api: World) -> None:
    await _fill(api, 3)
    first = await api.do("GET", f"{MAPS}?limit=1")
    await _fill_more(api)
    await api.store.compact(await api.store.revision())
    refused = await api.do("GET", f"{MAPS}?limit=1&continue={first['metadata']['continue']}", code=410)
    assert refused["reason"] == "Expired"
    assert "The provided continue parameter is too old" in refused["message"]
    for wrong in ("x", "e30", "!!!"):
        assert (await api.do("GET", f"{MAPS}?continue={wrong}", code=400))["reason"] == "BadRequest"


async def _fill_more(api: World) -> None:
    for n in range(3):
        await api.do("POST", MAPS, config_map(f"z{n}"))


@pytest.mark.pure
@in_world
async def test_versions_of_a_list_mean_what_they_say(api: World) -> None:
    made = await _fill(api, 3)
    version = made[1]["metadata"]["resourceVersion"]
    exact = await api.do("GET", f"{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert [item["metadata"]["name"] for item in exact["items"]] == ["m00", "m01"]
    assert exact["metadata"]["resourceVersion"] == version
    assert len((await api.do("GET", f"{MAPS}?resourceVersion={version}"))["items"]) == 3
    assert len((await api.do("GET", f"{MAPS}?resourceVersion={version}&limit=9"))["items"]) == 2
    refused = await api.do("GET", f"{MAPS}?resourceVersionMatch=Exact", code=422)
    assert (refused["details"]["kind"], refused["details"]["group"]) == ("ListOptions", "meta.k8s.io")
    assert (await api.do("GET", f"{MAPS}?resourceVersion=abc", code=400))["reason"] == "BadRequest"


@pytest.mark.pure
@in_world
async def test_field_selectors_are_those_of_the_resource(api: World) -> None:
    await api.do("POST", PODS, POD)
    assert len((await api.do("GET", f"{PODS}?fieldSelector=spec.nodeName%3D"))["items"]) == 1
    assert (await api.do("GET", f"{PODS}?fieldSelector=spec.nodeName%3Dn1"))["items"] == []
    refused = await api.do("GET", f"{PODS}?fieldSelector=spec.color%3Dred", code=400)
    assert refused["message"] == "field label not supported: spec.color"
    await api.do("GET", f"{PODS}?labelSelector=a in", code=400)


@pytest.mark.pure
@in_world
async def test_deletecollection_takes_what_is_selected(api: World) -> None:
    await _fill(api, 3)
    await api.do("DELETE", f"{MAPS}?fieldSelector=metadata.name%3Dm01")
    left = await api.do("GET", MAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["m00", "m02"]


@pytest.mark.pure
@in_world
async def test_watch_shows_what_is_there_and_then_every_change(api: World) -> None:
    made = await _fill(api, 1)
    watcher = await api.watch(f"{MAPS}?watch=1")
    other = await api.watch(f"{MAPS}?watch=1&resourceVersion={made[0]['metadata']['resourceVersion']}")
    assert await watcher.seen() == ("ADDED", "m00")
    await api.do("PUT", f"{MAPS}/m00", config_map("m00", x="1"))
    await api.do("POST", "/api/v1/namespaces/other/configmaps", config_map("m00"))
    await api.do("DELETE", f"{MAPS}/m00")
    for one in (watcher, other):
        assert await one.seen() == ("MODIFIED", "m00")
        gone = await one.next()
        assert gone["type"] == "DELETED"
        assert gone["object"]["data"] == {"x": "1"}
        assert int(gone["object"]["metadata"]["resourceVersion"]) == await api.store.revision()
        await one.close()


@pytest.mark.pure
@in_world
async def test_object_that_leaves_a_selection_is_deleted_for_its_watcher(api: World) -> None:
    watcher = await api.watch(f"{MAPS}?watch=1&labelSelector=a%3D1")
    body = config_map("x")
    await api.do("POST", MAPS, body)
    for labels in ({"a": "1"}, {"a": "1", "b": "2"}, {"a": "2"}):
        body["metadata"]["labels"] = labels
        last = await api.do("PUT", f"{MAPS}/x", body)
    assert await watcher.seen() == ("ADDED", "x")
    assert await watcher.seen() == ("MODIFIED", "x")
    left = await watcher.next()
    assert left["type"] == "DELETED"
    assert left["object"]["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert left["object"]["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]
    await watcher.close()


@pytest.mark.pure
@in_world
async def test_streaming_list_ends_with_its_bookmark(api: World) -> None:
    await _fill(api, 2)
    target = f"{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
    watcher = await api.watch(f"{target}&resourceVersionMatch=NotOlderThan")
    assert [await watcher.seen() for _ in range(2)] == [("ADDED", "m00"), ("ADDED", "m01")]
    mark = await watcher.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": str(await api.store.revision()),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }
    await watcher.close()
    assert (await api.do("GET", target, code=422))["reason"] == "Invalid"


@pytest.mark.pure
def test_watch_from_a_forgotten_revision_is_expired() -> None:
    async def inside() -> None:
        async with world(changes_kept=2) as api:
            made = await _fill(api, 4)
            version = made[0]["metadata"]["resourceVersion"]
            refused = await api.do("GET", f"{MAPS}?watch=1&resourceVersion={version}", code=410)
            assert refused["reason"] == "Expired"
            slow = await api.watch(f"{MAPS}?watch=1")
            assert await slow.seen() == ("ADDED", "m00")
            await _fill_more(api)
            for _ in range(3):
                await slow.next()
            ended = await slow.next()
            assert (ended["type"], ended["object"]["code"]) == ("ERROR", 410)
            assert await slow.ended()

    asyncio.run(inside())


@pytest.mark.pure
def test_cache_that_lost_its_place_reads_everything_anew_and_ends_its_watches() -> None:
    async def inside() -> None:
        async with world() as api:
            await _fill(api, 1)
            watcher = await api.watch(f"{MAPS}?watch=1")
            assert await watcher.seen() == ("ADDED", "m00")
            cache = api.server.cache
            await api.server.stop()
            await _behind_its_back(api)
            await api.server.start()
            names = [item["metadata"]["name"] for item in (await api.do("GET", MAPS))["items"]]
            assert names == ["m00", "new"]
            assert (await watcher.next())["type"] == "ERROR"
            assert cache.revision == await api.store.revision()

    asyncio.run(inside())


async def _behind_its_back(api: World) -> None:
    kind = standard().of(r.CONFIG_MAPS)
    value = config_map("new")
    value["metadata"]["namespace"] = "default"
    await api.store.create(kind.key("default", "new"), to_stored(kind, value))
    await api.store.compact(await api.store.revision())


@pytest.mark.pure
def test_watch_from_the_future_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchcache, "WAIT_SECONDS", 0.05)

    async def inside() -> None:
        async with world() as api:
            refused = await api.do("GET", f"{MAPS}?watch=1&resourceVersion=999999", code=504)
            assert refused["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"

    asyncio.run(inside())


@pytest.mark.pure
@in_world
async def test_metadata_alone_is_given_to_those_who_ask_for_it(api: World) -> None:
    await _fill(api, 1)
    accept = (
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    )
    one = await api.do("GET", f"{MAPS}/m00", accept=accept)
    assert (one["kind"], one["apiVersion"], set(one)) == (
        "PartialObjectMetadata", "meta.k8s.io/v1", {"kind", "apiVersion", "metadata"},
    )  # fmt: skip
    listed = await api.do("GET", MAPS, accept=accept)
    assert (listed["kind"], listed["items"]) == ("PartialObjectMetadataList", [one])
    answer = await api.ask("GET", f"{MAPS}?watch=1", accept=accept)
    assert isinstance(answer.stream, AsyncGenerator)
    watcher = Watcher(answer.stream)
    assert await watcher.next() == {"type": "ADDED", "object": one}
    await watcher.close()
    assert not api.server.cache.of(r.CONFIG_MAPS).watchers
    assert (await api.do("GET", f"{MAPS}/x", code=404, accept=accept))["kind"] == "Status"
    unknown = accept.replace("PartialObjectMetadata", "Unicorn")
    assert (await api.do("GET", f"{MAPS}/m00", accept=unknown))["kind"] == "ConfigMap"


@pytest.mark.pure
@in_world
async def test_watch_ends_when_its_time_is_over(api: World) -> None:
    watcher = await api.watch(f"{MAPS}?watch=1&timeoutSeconds=1")
    assert await watcher.ended()
    assert not api.server.cache.of(r.CONFIG_MAPS).watchers


@pytest.mark.pure
@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/api/v1/namespaces/a/pods/b/log", ("get", "pods", "log", "a", "b")),
        ("GET", "/api/v1/namespaces/a", ("get", "namespaces", "", "a", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "namespaces", "finalize", "a", "a")),
        ("GET", "/api/v1/watch/pods", ("watch", "pods", "", "", "")),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            ("deletecollection", "deployments", "", "a", ""),
        ),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", ("create", "pods", "eviction", "a", "b")),
        ("GET", "/apis/apps/v1", ("get", "", "", "", "")),
    ],
)
def test_paths_say_what_a_request_is_about(method: str, path: str, wanted: tuple[str, ...]) -> None:
    info = parse(method, path, {})
    assert (info.verb, info.resource, info.subresource, info.namespace, info.name) == wanted


@pytest.mark.pure
def test_name_in_a_selector_is_the_requests_name() -> None:
    info = parse("GET", "/api/v1/secrets", {"watch": ["true"], "fieldSelector": ["metadata.name=x"]})
    assert (info.verb, info.name) == ("watch", "x")


@pytest.mark.conformance
def test_own_client_works_over_the_socket() -> None:
    asyncio.run(_use_the_socket())


async def _use_the_socket() -> None:
    async with world() as api:
        server = HttpServer(api.server.pipeline, "127.0.0.1", 0)
        await server.start()
        host, port = server.address
        client = HttpClient(Settings(server=f"http://{host}:{port}"), clock=SystemClock())
        try:
            await _use(client)
            assert (await client.call(Call("/healthz"))) == b"ok"
        finally:
            await client.close()
            await server.stop()


async def _use(client: HttpClient) -> None:
    made = await client.create(r.CONFIG_MAPS, config_map("a", x="1"), namespace="default")
    listed = await client.list(r.CONFIG_MAPS, options=ListOptions())
    assert listed.json() == (made,)
    options = WatchOptions(resource_version=listed.resource_version)
    events = client.watch(r.CONFIG_MAPS, namespace="default", options=options)
    first = asyncio.ensure_future(anext(events))
    patched = await client.patch(
        r.CONFIG_MAPS, "a", {"data": {"x": "2"}}, kind=PatchKind.MERGE, namespace="default"
    )
    async with asyncio.timeout(5):
        event = await first
    assert event.json() == patched
    await events.aclose()
    await client.delete(r.CONFIG_MAPS, "a", namespace="default", options=DeleteOptions())
    with pytest.raises(status.NotFound):
        await client.get(r.CONFIG_MAPS, "a", namespace="default")


@pytest.mark.conformance
def test_large_body_is_refused_before_it_has_come_and_a_cut_one_disturbs_nobody() -> None:
    asyncio.run(_send_badly())


async def _send_badly() -> None:
    async with world() as api:
        server = HttpServer(api.server.pipeline, "127.0.0.1", 0)
        await server.start()
        try:
            head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(f"{head}50\r\n\r\n{{".encode())
            await writer.drain()
            writer.close()
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(f"{head}4194304\r\n\r\n".encode())
            async with asyncio.timeout(5):
                assert (await reader.readline()).split()[1] == b"413"
                told = msgspec.json.decode((await reader.read()).partition(b"\r\n\r\n")[2])
            assert (told["kind"], told["reason"], told["code"]) == ("Status", "RequestEntityTooLarge", 413)
            writer.close()
            assert (await api.do("GET", MAPS))["items"] == []
        finally:
            await server.stop()
