"""Rules of the fake API server that only a fake shows: what a wire cannot, faults, and the odd corners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio.clock import VirtualClock
from aio.virtual import run
from kube import status
from kube.client import DeleteOptions, ListOptions, PatchKind, Unreachable, WatchOptions
from kube.client import resources as r
from kube.client.paging import list_all, pages
from kube.errors import StatusError
from kube.fake import FakeApi, FakeClient, Pattern
from kube.fake.faults import SERVER

pytestmark = pytest.mark.pure

Body = Callable[[FakeApi, FakeClient], Awaitable[None]]


def scenario(body: Body, *, check_namespaces: bool = False) -> None:
    async def main(clock: VirtualClock) -> None:
        api = FakeApi(clock, check_namespaces=check_namespaces)
        await body(api, api.client("me"))

    run(main)


def thing(
    kind: str, name: str, api_version: str = "v1", namespace: str = "shop", **more: Any
) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **more}


def running_pod(name: str = "web", **labels: str) -> dict[str, Any]:
    body = thing("Pod", name, spec={"nodeName": "n1"}, status={"phase": "Running"})
    body["metadata"]["labels"] = labels
    return body


def test_name_is_generated_from_the_base_and_is_free() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        template = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-" * 20}}
        names = {
            (await client.create(r.PODS, template, namespace="shop"))["metadata"]["name"] for _ in range(50)
        }
        assert len(names) == 50
        assert all(len(name) == 63 and name.startswith("web-web-") for name in names)

    scenario(body)


def test_second_delete_may_only_bring_the_end_nearer() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        api.put(running_pod())

        async def delete(grace: int | None) -> tuple[str, int]:
            left = await client.delete(r.PODS, "web", namespace="shop", options=DeleteOptions(grace))
            meta = left["metadata"]
            return meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"]

        assert await delete(60) == ("2026-01-01T00:01:00Z", 60)
        assert await delete(90) == ("2026-01-01T00:01:00Z", 60)
        assert await delete(None) == ("2026-01-01T00:01:00Z", 60)
        assert await delete(10) == ("2026-01-01T00:00:10Z", 10)
        assert api.object(r.PODS, "web", "shop")["metadata"]["generation"] == 2
        await client.delete(r.PODS, "web", namespace="shop", options=DeleteOptions(0))
        assert api.find(r.PODS, "web", "shop") is None

    scenario(body)


@pytest.mark.parametrize("change", [{"spec": {}}, {"status": {"phase": "Succeeded"}}])
def test_pod_without_a_node_or_that_has_ended_goes_at_once(change: dict[str, Any]) -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        api.put({**running_pod(), **change})
        await client.delete(r.PODS, "web", namespace="shop")
        assert api.objects(r.PODS) == []

    scenario(body)


@pytest.mark.parametrize(
    ("kind", "propagation", "finalizers"),
    [
        ("ConfigMap", "", None),
        ("ConfigMap", "Background", None),
        ("ConfigMap", "Foreground", ["foregroundDeletion"]),
        ("ConfigMap", "Orphan", ["orphan"]),
        ("ReplicationController", "", ["orphan"]),
        ("ReplicationController", "Background", None),
    ],
)
def test_propagation_leaves_the_finalizer_that_the_collector_works_off(
    kind: str, propagation: str, finalizers: list[str] | None
) -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        resource = r.of_kind("v1", kind)
        api.put(thing(kind, "x"))
        await client.delete(resource, "x", namespace="shop", options=DeleteOptions(propagation=propagation))
        left = api.find(resource, "x", "shop")
        assert (left or {"metadata": {}})["metadata"].get("finalizers") == finalizers

    scenario(body)


def test_object_on_its_way_out_takes_no_new_finalizer() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        held = thing("ConfigMap", "x")
        held["metadata"]["finalizers"] = ["a/b"]
        api.put(held)
        await client.delete(r.CONFIG_MAPS, "x", namespace="shop")
        patch = {"metadata": {"finalizers": ["a/b", "c/d"]}}
        with pytest.raises(status.Invalid, match=r'found new finalizers \[\]string\{"c/d"\}'):
            await client.patch(r.CONFIG_MAPS, "x", patch, namespace="shop")

    scenario(body)


def test_what_the_server_sets_cannot_be_written() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        made = await client.create(r.PODS, thing("Pod", "x", status={"phase": "Failed"}))
        assert made["status"] == {"phase": "Pending"}
        forged = {**made["metadata"], "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 99}
        written = await client.update(r.PODS, {**made, "metadata": forged})
        assert written["metadata"] == made["metadata"]
        with pytest.raises(status.BadRequest, match="should not be set on objects to be created"):
            await client.create(r.PODS, {**made, "metadata": {**made["metadata"], "name": "y"}})
        with pytest.raises(status.Conflict, match="UID in precondition: u, UID"):
            await client.update(r.PODS, {**made, "metadata": {**made["metadata"], "uid": "u"}})

    scenario(body)


@pytest.mark.parametrize(
    ("body_", "says"),
    [
        ({}, "Object 'Kind' is missing"),
        (
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}},
            "is v1/Secret, must be v1/ConfigMap",
        ),
    ],
)
def test_body_of_another_kind_is_refused(body_: dict[str, Any], says: str) -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        with pytest.raises(status.BadRequest, match=says):
            await client.create(r.CONFIG_MAPS, body_, namespace="shop")

    scenario(body)


def test_namespace_must_exist_and_takes_nothing_while_it_goes() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        with pytest.raises(status.NotFound, match='namespaces "shop" not found'):
            await client.create(r.CONFIG_MAPS, thing("ConfigMap", "x"))
        await client.create(r.NAMESPACES, thing("Namespace", "shop", namespace=""))
        await client.create(r.CONFIG_MAPS, thing("ConfigMap", "x"))
        left = await client.delete(r.NAMESPACES, "shop")
        assert left["status"]["phase"] == "Terminating"
        with pytest.raises(status.Forbidden, match="because it is being terminated") as caught:
            await client.create(r.CONFIG_MAPS, thing("ConfigMap", "y"))
        assert caught.value.status.details is not None
        assert caught.value.status.details["causes"][0]["reason"] == "NamespaceTerminating"
        empty = {**left, "spec": {"finalizers": []}}
        await client.update(r.NAMESPACES, empty, subresource="finalize")
        assert api.find(r.NAMESPACES, "shop") is None
        assert api.find(r.NAMESPACES, "kube-system") is not None

    scenario(body, check_namespaces=True)


def test_eviction_is_a_delete_that_a_budget_may_forbid() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        for name in ("a", "b"):
            api.put(running_pod(name, app="x"))
        selector = {"matchLabels": {"app": "x"}}
        budget = thing("PodDisruptionBudget", "b", "policy/v1", spec={"selector": selector})
        api.put({**budget, "status": {"disruptionsAllowed": 1}})

        async def evict(name: str) -> None:
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
            await client.create(r.PODS, eviction, namespace="shop", name=name, subresource="eviction")

        await evict("a")
        assert "deletionTimestamp" in api.object(r.PODS, "a", "shop")["metadata"]
        with pytest.raises(status.TooManyRequests, match="violate the pod's disruption budget"):
            await evict("b")
        assert "deletionTimestamp" not in api.object(r.PODS, "b", "shop")["metadata"]

    scenario(body)


def test_answer_that_is_lost_was_work_that_was_done() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        api.fail(Unreachable(SERVER, "reset"), Pattern("create", r.CONFIG_MAPS, user="me"), after=True)
        with pytest.raises(Unreachable):
            await client.create(r.CONFIG_MAPS, thing("ConfigMap", "x"))
        with pytest.raises(status.AlreadyExists):
            await client.create(r.CONFIG_MAPS, thing("ConfigMap", "x"))
        api.fail(Unreachable(SERVER, "reset"), Pattern("get", user="somebody else"))
        await client.get(r.CONFIG_MAPS, "x", namespace="shop")
        assert [str(request) for request in api.requests_of("create")] == ["create configmaps/shop/x"] * 2

    scenario(body)


def test_reviews_are_answered_by_the_test() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        api.answer(r.TOKEN_REVIEWS, lambda body, place: {**body, "status": {"authenticated": True}})
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "t"}}
        answered = await client.create(r.TOKEN_REVIEWS, review)
        assert answered["status"] == {"authenticated": True}
        with pytest.raises(status.NotFound, match="could not find the requested resource"):
            await client.create(r.SUBJECT_ACCESS_REVIEWS, {})

    scenario(body)


def test_nothing_handed_out_or_in_is_shared_with_the_store() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        sent = thing("ConfigMap", "x", data={"a": "1"})
        made = await client.create(r.CONFIG_MAPS, sent)
        sent["data"]["a"] = made["data"]["a"] = "2"
        got = await client.get(r.CONFIG_MAPS, "x", namespace="shop")
        got["data"]["a"] = "3"
        patch = {"data": {"b": "4"}}
        patched = await client.patch(r.CONFIG_MAPS, "x", patch, namespace="shop")
        patch["data"]["b"] = "5"
        assert patched["data"] == {"a": "1", "b": "4"}
        assert api.object(r.CONFIG_MAPS, "x", "shop")["data"] == {"a": "1", "b": "4"}

    scenario(body)


def test_patch_of_an_unknown_kind_or_that_does_not_apply_is_refused() -> None:
    async def body(api: FakeApi, client: FakeClient) -> None:
        api.put(thing("ConfigMap", "x"))
        with pytest.raises(StatusError, match="unknown format") as caught:
            await client.patch(r.CONFIG_MAPS, "x", {}, kind=PatchKind.APPLY, namespace="shop")
        assert caught.value.status.code == 415
        steps = [{"op": "test", "path": "/data/a", "value": "1"}]
        with pytest.raises(status.Invalid):
            await client.patch(r.CONFIG_MAPS, "x", steps, kind=PatchKind.JSON, namespace="shop")

    scenario(body)


def test_all_pages_are_read_and_an_expired_list_says_so() -> None:
    async def whole(api: FakeApi, client: FakeClient) -> None:
        for number in range(7):
            api.put(thing("ConfigMap", f"c{number}"))
        sizes = [len(page.items) async for page in pages(client, r.CONFIG_MAPS, options=ListOptions(limit=3))]
        assert sizes == [3, 3, 1]
        listing = pages(client, r.CONFIG_MAPS, options=ListOptions(limit=3))
        await anext(listing)
        api.put(thing("ConfigMap", "later"))
        api.compact()
        with pytest.raises(status.Expired):
            await anext(listing)
        assert len((await list_all(client, r.CONFIG_MAPS, options=ListOptions(limit=2))).items) == 8
        api.delay(1.0, Pattern("list"))
        api.requests.clear()
        listing_all = asyncio.create_task(list_all(client, r.CONFIG_MAPS, options=ListOptions(limit=3)))
        await asyncio.sleep(1.5)
        api.put(thing("ConfigMap", "even-later"))
        api.compact()
        assert len((await listing_all).items) == 9
        assert len(api.requests) == 3, "one page, one that is refused, and then all at once"

    scenario(whole)


CHANGES = st.lists(
    st.tuples(st.sampled_from(("a", "b", "c")), st.sampled_from(("x", "y", None))), min_size=1, max_size=25
)


@given(before=CHANGES, after=CHANGES, label=st.sampled_from(("", "app=x", "app!=x")))
@settings(max_examples=100, deadline=None)
def test_list_and_watch_from_it_end_up_with_what_a_new_list_has(
    before: list[tuple[str, str | None]], after: list[tuple[str, str | None]], label: str
) -> None:
    def write(api: FakeApi, changes: list[tuple[str, str | None]]) -> None:
        for name, app in changes:
            if app is not None:
                api.put(running_pod(name, app=app))
            elif api.find(r.PODS, name, "shop"):
                api.remove(r.PODS, name, "shop")

    async def body(api: FakeApi, client: FakeClient) -> None:
        write(api, before)
        listed = await client.list(r.PODS, options=ListOptions(label_selector=label))
        known = {value["metadata"]["name"]: value for value in listed.json()}
        write(api, after)
        options = WatchOptions(
            label_selector=label, resource_version=listed.resource_version, timeout_seconds=1
        )
        async for event in client.watch(r.PODS, options=options):
            name = event.identity.name
            assert (event.type == "ADDED") is (name not in known)
            if event.type == "DELETED":
                del known[name]
            else:
                known[name] = event.json()
        fresh = await client.list(r.PODS, options=ListOptions(label_selector=label))
        assert known == {value["metadata"]["name"]: value for value in fresh.json()}

    scenario(body)
