"""One suite for all clients: the fake in memory, and against the same fake the HTTP client over a socket and
the direct client over a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from aio.clock import SystemClock
from controlplane.direct import DirectClient
from kube import status
from kube.cache import Cache
from kube.client import (
    Call,
    Client,
    DeleteOptions,
    EventType,
    ListOptions,
    PatchKind,
    Unreachable,
    WatchEvent,
    WatchOptions,
    WriteOptions,
)
from kube.client import resources as r
from kube.client.http import HttpClient
from kube.client.settings import Settings
from kube.fake import FakeApi, Pattern
from kube.fake.faults import SERVER
from kube.leader import Elector, Timing
from kube.objects.core_v1 import Pod
from tests.direct_apiserver import DirectApi
from tests.fake_apiserver import serve

pytestmark = pytest.mark.conformance


@dataclass(frozen=True, slots=True)
class World:
    api: FakeApi
    client: Client


@asynccontextmanager
async def world_of(kind: str) -> AsyncIterator[World]:
    api = FakeApi(SystemClock())
    if kind == "fake":
        yield World(api, api.client("test"))
        return
    if kind == "direct":
        yield World(api, DirectClient(DirectApi(api).handle))
        return
    async with serve(api) as served:
        client = HttpClient(Settings(served.url))
        try:
            yield World(api, client)
        finally:
            await client.close()


Body = Callable[[World], Awaitable[None]]


def on_all(body: Body) -> Callable[..., Any]:
    @pytest.mark.parametrize("kind", ["fake", "http", "direct"])
    @pytest.mark.asyncio
    async def test(kind: str) -> None:
        async with world_of(kind) as world:
            await body(world)

    test.__name__ = body.__name__
    return test


def pod(name: str = "web", namespace: str = "shop", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]},
    }


def config(name: str, namespace: str = "shop", **data: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


async def collect(events: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    found = []
    async with asyncio.timeout(10):
        async for event in events:
            found.append((str(event.type), event.identity.key))
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


@on_all
async def test_object_is_created_read_and_typed(world: World) -> None:
    made = await world.client.create(r.PODS, pod(a="b"))
    assert made["metadata"]["uid"]
    assert made["metadata"]["generation"] == 1
    assert made["status"] == {"phase": "Pending"}
    assert await world.client.get(r.PODS, "web", namespace="shop") == made
    listed = await world.client.list(r.PODS, namespace="shop")
    (seen,) = listed.read(Pod)
    assert (seen.metadata.name, seen.metadata.labels) == ("web", {"a": "b"})


@on_all
async def test_name_that_is_taken_and_name_that_is_not_there_are_told_apart(world: World) -> None:
    await world.client.create(r.PODS, pod())
    with pytest.raises(status.AlreadyExists, match=r'^pods "web" already exists$'):
        await world.client.create(r.PODS, pod())
    with pytest.raises(status.NotFound, match=r'^deployments\.apps "x" not found$') as caught:
        await world.client.get(r.DEPLOYMENTS, "x", namespace="shop")
    assert caught.value.status.code == 404
    assert caught.value.status.details == {"name": "x", "kind": "deployments", "group": "apps"}


@on_all
async def test_update_of_an_older_version_conflicts(world: World) -> None:
    first = await world.client.create(r.CONFIG_MAPS, config("c", a="1"))
    second = await world.client.update(r.CONFIG_MAPS, {**first, "data": {"a": "2"}})
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    with pytest.raises(status.Conflict, match="the object has been modified"):
        await world.client.update(r.CONFIG_MAPS, {**first, "data": {"a": "3"}})
    same = await world.client.update(r.CONFIG_MAPS, second)
    assert same == second, "a write that changes nothing keeps the version"


@on_all
async def test_status_and_spec_are_written_apart(world: World) -> None:
    made = await world.client.create(r.PODS, pod())
    changed = {**made, "spec": {**made["spec"], "nodeName": "n1"}, "status": {"phase": "Running"}}
    by_status = await world.client.update(r.PODS, changed, subresource="status")
    assert by_status["status"] == {"phase": "Running"}
    assert "nodeName" not in by_status["spec"]
    fresh = {**changed, "metadata": by_status["metadata"], "status": {"phase": "Failed"}}
    by_main = await world.client.update(r.PODS, fresh)
    assert (by_main["status"], by_main["spec"]["nodeName"]) == ({"phase": "Running"}, "n1")
    assert by_main["metadata"]["generation"] == 2


@on_all
async def test_merge_patch_sets_and_removes(world: World) -> None:
    await world.client.create(r.CONFIG_MAPS, config("c", a="1", b="2"))
    patch = {"data": {"a": None, "c": "3"}}
    patched = await world.client.patch(r.CONFIG_MAPS, "c", patch, namespace="shop")
    assert patched["data"] == {"b": "2", "c": "3"}


@on_all
async def test_json_patch_and_strategic_patch_reach_the_object(world: World) -> None:
    await world.client.create(r.PODS, pod())
    steps = [{"op": "add", "path": "/metadata/annotations", "value": {"x": "y"}}]
    patched = await world.client.patch(r.PODS, "web", steps, kind=PatchKind.JSON, namespace="shop")
    assert patched["metadata"]["annotations"] == {"x": "y"}
    more = {"spec": {"containers": [{"name": "other", "image": "i"}]}}
    patched = await world.client.patch(r.PODS, "web", more, kind=PatchKind.STRATEGIC, namespace="shop")
    assert sorted(item["name"] for item in patched["spec"]["containers"]) == ["main", "other"]


@on_all
async def test_dry_run_changes_nothing(world: World) -> None:
    made = await world.client.create(r.CONFIG_MAPS, config("c"), options=WriteOptions(dry_run=True))
    assert made["metadata"]["name"] == "c"
    assert world.api.find(r.CONFIG_MAPS, "c", "shop") is None


@on_all
async def test_bound_pod_goes_gracefully_and_is_confirmed_with_its_uid(world: World) -> None:
    made = await world.client.create(r.PODS, pod())
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {}, "target": {"name": "n1"}}
    await world.client.create(r.PODS, binding, namespace="shop", name="web", subresource="binding")
    with pytest.raises(status.Conflict, match="already assigned"):
        await world.client.create(r.PODS, binding, namespace="shop", name="web", subresource="binding")
    left = await world.client.delete(r.PODS, "web", namespace="shop")
    assert left["metadata"]["deletionGracePeriodSeconds"] == 30
    with pytest.raises(status.Conflict, match="Precondition failed: UID"):
        await world.client.delete(r.PODS, "web", namespace="shop", options=DeleteOptions(0, uid="other"))
    confirm = DeleteOptions(0, uid=made["metadata"]["uid"])
    await world.client.delete(r.PODS, "web", namespace="shop", options=confirm)
    assert world.api.find(r.PODS, "web", "shop") is None


@on_all
async def test_pod_deleted_by_force_tells_its_node_so_before_it_is_gone(world: World) -> None:
    world.api.put({**pod("a"), "spec": {"nodeName": "n1"}})
    options = WatchOptions(resource_version=(await world.client.list(r.PODS)).resource_version)
    async with aclosing(world.client.watch(r.PODS, options=options)) as events:
        await world.client.delete(r.PODS, "a", namespace="shop", options=DeleteOptions(0))
        marked, gone = await anext(events), await anext(events)
    assert (marked.type, gone.type) == (EventType.MODIFIED, EventType.DELETED)
    assert marked.json()["metadata"]["deletionGracePeriodSeconds"] == 0
    assert world.api.find(r.PODS, "a", "shop") is None


@on_all
async def test_finalizer_holds_an_object_until_it_is_taken_away(world: World) -> None:
    body = config("c")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await world.client.create(r.CONFIG_MAPS, body)
    held = await world.client.delete(r.CONFIG_MAPS, "c", namespace="shop")
    assert held["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    await world.client.patch(r.CONFIG_MAPS, "c", patch, namespace="shop")
    with pytest.raises(status.NotFound):
        await world.client.get(r.CONFIG_MAPS, "c", namespace="shop")


@on_all
async def test_empty_metadata_is_left_out_and_a_status_is_there_from_the_start(world: World) -> None:
    body = config("c")
    body["metadata"] |= {"labels": {}, "annotations": {"a": "1"}, "ownerReferences": []}
    made = await world.client.create(r.CONFIG_MAPS, body)
    assert made["metadata"].keys().isdisjoint({"labels", "ownerReferences"})
    left = await world.client.patch(
        r.CONFIG_MAPS, "c", {"metadata": {"annotations": {"a": None}}}, namespace="shop"
    )
    assert "annotations" not in left["metadata"]
    assert (await world.client.create(r.PODS, pod("new")))["status"]["phase"] == "Pending"
    meta = {"name": "web", "namespace": "shop"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    for resource, first in ((r.DEPLOYMENTS, {}), (r.REPLICA_SETS, {"replicas": 0})):
        body = {"apiVersion": "apps/v1", "kind": resource.kind, "metadata": meta, "spec": spec}
        assert (await world.client.create(resource, body))["status"] == first


@on_all
async def test_pages_show_one_revision_whatever_is_written_meanwhile(world: World) -> None:
    for number in range(5):
        world.api.put(config(f"c{number}"))
    first = await world.client.list(r.CONFIG_MAPS, options=ListOptions(limit=2))
    assert first.remaining == 3
    world.api.put(config("c3", changed="yes"))
    world.api.remove(r.CONFIG_MAPS, "c4", "shop")
    options = ListOptions(limit=3, continue_token=first.continue_token)
    second = await world.client.list(r.CONFIG_MAPS, options=options)
    assert second.resource_version == first.resource_version
    assert [item["metadata"]["name"] for item in second.json()] == ["c2", "c3", "c4"]
    assert second.json()[1]["data"] == {}
    world.api.compact()
    with pytest.raises(status.Expired, match="continue parameter is too old"):
        await world.client.list(r.CONFIG_MAPS, options=options)


@on_all
async def test_selectors_choose_and_a_bad_one_is_refused(world: World) -> None:
    world.api.put(pod("a", app="x"))
    world.api.put({**pod("b", app="y"), "spec": {"nodeName": "n1"}})
    by_label = await world.client.list(r.PODS, options=ListOptions(label_selector="app in (x, z)"))
    by_field = await world.client.list(r.PODS, options=ListOptions(field_selector="spec.nodeName=n1"))
    assert [item["metadata"]["name"] for item in (*by_label.json(), *by_field.json())] == ["a", "b"]
    with pytest.raises(status.BadRequest, match=r"field label not supported: spec\.foo"):
        await world.client.list(r.PODS, options=ListOptions(field_selector="spec.foo=1"))


@on_all
async def test_collection_is_deleted_by_selector(world: World) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        world.api.put(pod(name, app=app))
    await world.client.delete_collection(
        r.PODS, namespace="shop", selection=ListOptions(label_selector="app=x")
    )
    assert [item["metadata"]["name"] for item in world.api.objects(r.PODS)] == ["b"]


@on_all
async def test_watch_tells_every_change_after_a_version_in_order(world: World) -> None:
    listed = await world.client.list(r.CONFIG_MAPS)
    world.api.put(config("a"))
    options = WatchOptions(resource_version=listed.resource_version)
    async with aclosing(world.client.watch(r.CONFIG_MAPS, options=options)) as events:
        assert await collect(events, 1) == [("ADDED", "shop/a")]
        world.api.put(config("a", x="1"))
        world.api.put(pod())
        world.api.remove(r.CONFIG_MAPS, "a", "shop")
        assert await collect(events, 2) == [("MODIFIED", "shop/a"), ("DELETED", "shop/a")]
    assert (await world.client.list(r.CONFIG_MAPS)).items == ()


@on_all
async def test_object_that_leaves_the_selection_is_deleted_for_the_watcher(world: World) -> None:
    world.api.put(pod("a", app="x"))
    async with aclosing(
        world.client.watch(r.PODS, options=WatchOptions(label_selector="app=x", resource_version="0"))
    ) as events:
        assert await collect(events, 1) == [("ADDED", "shop/a")]
        world.api.put(pod("a", app="y"))
        gone = await anext(events)
        assert gone.type is EventType.DELETED
        assert gone.json()["metadata"]["labels"] == {"app": "x"}
        assert gone.identity.resource_version == str(world.api.history.revision)
        world.api.put(pod("a", app="x"))
        assert await collect(events, 1) == [("ADDED", "shop/a")]


@on_all
async def test_streaming_list_ends_its_initial_events_with_a_bookmark(world: World) -> None:
    world.api.put(config("a"))
    world.api.put(config("b"))
    options = WatchOptions(initial_events=True)
    async with aclosing(world.client.watch(r.CONFIG_MAPS, options=options)) as events:
        first = [await anext(events) for _ in range(3)]
        assert [event.type for event in first] == ["ADDED", "ADDED", "BOOKMARK"]
        assert first[2].identity.is_initial_events_end
        assert first[2].identity.resource_version == str(world.api.history.revision)
        world.api.put(config("c"))
        assert await collect(events, 1) == [("ADDED", "shop/c")]


@on_all
async def test_bookmark_carries_the_version(world: World) -> None:
    world.api.put(config("a"))
    async with aclosing(world.client.watch(r.CONFIG_MAPS)) as events:
        await collect(events, 1)
        world.api.put(pod())
        world.api.send_bookmarks()
        mark = await anext(events)
    assert (mark.type, mark.identity.resource_version) == ("BOOKMARK", str(world.api.history.revision))
    assert not mark.identity.is_initial_events_end


@on_all
async def test_watch_from_a_compacted_version_is_expired(world: World) -> None:
    start = world.api.put(config("a"))["metadata"]["resourceVersion"]
    world.api.put(config("b"))
    world.api.compact()
    with pytest.raises(status.Expired, match=r"too old resource version: \d+ \(\d+\)"):
        async with aclosing(
            world.client.watch(r.CONFIG_MAPS, options=WatchOptions(resource_version=start))
        ) as events:
            await anext(events)


@on_all
async def test_error_inside_a_watch_is_raised_and_an_end_is_an_end(world: World) -> None:
    world.api.put(config("a"))
    for error in (status.too_old(1, 5), None):
        async with aclosing(world.client.watch(r.CONFIG_MAPS)) as events:
            await collect(events, 1)
            world.api.end_watches(error)
            if error is None:
                assert [event async for event in events] == []
            else:
                with pytest.raises(status.Expired):
                    await anext(events)


@on_all
async def test_watch_ends_by_itself_after_its_time(world: World) -> None:
    world.api.put(config("a"))
    options = WatchOptions(timeout_seconds=1)
    async with asyncio.timeout(5):
        found = [event.type async for event in world.client.watch(r.CONFIG_MAPS, options=options)]
    assert found == ["ADDED"]


@on_all
async def test_no_answer_is_unreachable_and_says_where(world: World) -> None:
    world.api.fail(Unreachable(SERVER, "connection refused"), Pattern("create"))
    with pytest.raises(Unreachable, match=r'^cannot reach API server "http.*": because '):
        await world.client.create(r.CONFIG_MAPS, config("a"))
    assert (await world.client.create(r.CONFIG_MAPS, config("a")))["metadata"]["uid"]


@on_all
async def test_refusal_carries_the_whole_status(world: World) -> None:
    with pytest.raises(status.Invalid) as caught:
        await world.client.create(r.CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap"}, namespace="shop")
    refused = caught.value.status
    assert refused.code == 422
    assert refused.details is not None
    assert refused.details["causes"][0]["field"] == "metadata.name"


@on_all
async def test_lease_is_created_by_an_update(world: World) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "n1", "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": "n1"},
    }
    made = await world.client.update(r.LEASES, lease)
    assert made["spec"] == {"holderIdentity": "n1"}
    assert made["metadata"]["uid"]


@on_all
async def test_token_and_scale_have_values_of_their_own(world: World) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s", "namespace": "shop"}}
    world.api.put(account)
    ask = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["a"]}}
    given = await world.client.create(
        r.SERVICE_ACCOUNTS, ask, namespace="shop", name="s", subresource="token"
    )
    assert given["status"]["token"]
    meta = {"name": "d", "namespace": "shop"}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 2}}
    world.api.put(body)
    patched = await world.client.patch(
        r.DEPLOYMENTS, "d", {"spec": {"replicas": 5}}, namespace="shop", subresource="scale"
    )
    assert (patched["kind"], patched["spec"]) == ("Scale", {"replicas": 5})
    assert world.api.object(r.DEPLOYMENTS, "d", "shop")["spec"]["replicas"] == 5


@on_all
async def test_other_paths_are_called_and_streamed(world: World) -> None:
    world.api.pages["/api/v1/log"] = b"line\n" * 1000
    assert b'"minor":"36"' in await world.client.call(Call("/version"))
    chunks = [chunk async for chunk in world.client.stream(Call("/api/v1/log"))]
    assert b"".join(chunks) == b"line\n" * 1000
    with pytest.raises(status.NotFound):
        await world.client.call(Call("/nothing"))


@on_all
async def test_cache_keeps_up_through_breaks_and_expired_versions(world: World) -> None:
    cache = Cache(world.client, r.CONFIG_MAPS, bytes, clock=SystemClock(), jitter=lambda: 0.0)
    changed = asyncio.Event()
    cache.add_handler(lambda change: changed.set())
    running = asyncio.create_task(cache.run())

    async def until(wanted: set[str]) -> None:
        async with asyncio.timeout(10):
            while set(cache) != wanted:
                changed.clear()
                await changed.wait()

    try:
        world.api.put(config("a"))
        await until({"shop/a"})
        world.api.end_watches()
        world.api.put(config("b"))
        await until({"shop/a", "shop/b"})
        world.api.remove(r.CONFIG_MAPS, "a", "shop")
        world.api.compact()
        world.api.end_watches(status.too_old(1, 9))
        await until({"shop/b"})
        assert cache.has_synced
    finally:
        running.cancel()
        await asyncio.wait({running})


@on_all
async def test_lease_changes_hands_without_two_leaders(world: World) -> None:
    timing = Timing(lease=2.0, renew=1.5, retry=0.05)
    leading: list[str] = []

    async def work(name: str) -> None:
        assert leading == []
        leading.append(name)
        try:
            await asyncio.sleep(0.2)
        finally:
            leading.remove(name)

    def elect(name: str) -> Awaitable[None]:
        elector = Elector(world.client, name, clock=SystemClock(), name="x", timing=timing)
        return elector.run(lambda: work(name))

    async with asyncio.timeout(10):
        await asyncio.gather(elect("a"), elect("b"), elect("c"))
    spec = world.api.object(r.LEASES, "x", "kube-system")["spec"]
    assert "holderIdentity" not in spec
    assert spec["leaseTransitions"] == 2
