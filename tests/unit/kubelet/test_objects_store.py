"""The store of ConfigMaps and Secrets: one watch each, shared, as long as anybody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aio import virtual
from aio.clock import VirtualClock
from kube import objects, status
from kube.client import resources
from kube.client.model import ListOptions
from kube.fake import FakeApi
from kube.fake.faults import Pattern
from kube.objects.core_v1 import Pod
from kubelet.objects import references
from kubelet.objects.model import (
    Kind,
    NotRegistered,
    ObjectKey,
    ObjectMissing,
    ObjectUnread,
    read_object,
)
from kubelet.objects.store import ObjectStore

pytestmark = pytest.mark.pure

MAP = ObjectKey(Kind.CONFIG_MAP, "shop", "settings")


def pod(uid: str, *maps: str, **spec: Any) -> Pod:
    volumes = [{"name": name, "configMap": {"name": name}} for name in maps]
    body = {"volumes": volumes, "containers": [{"name": "c"}], **spec}
    return objects.convert({"metadata": {"name": uid, "namespace": "shop", "uid": uid}, "spec": body}, Pod)


def put(api: FakeApi, name: str = "settings", **fields: Any) -> None:
    metadata = {"name": name, "namespace": "shop"}
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields})


def run(scenario: Callable[[FakeApi, ObjectStore, VirtualClock], Awaitable[None]]) -> None:
    async def go(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        store = ObjectStore(api.client("node"), clock, jitter=lambda: 0.0)
        loop = asyncio.create_task(store.run())
        try:
            await scenario(api, store, clock)
        finally:
            await store.close()
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    virtual.run(go)


def test_references_are_found_wherever_a_pod_may_have_them() -> None:
    containers = [
        {
            "name": "c",
            "envFrom": [{"configMapRef": {"name": "m1"}}, {"secretRef": {"name": "s1"}}],
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m2", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}},
            ],
        }
    ]
    volumes = [
        {"name": "a", "configMap": {"name": "m3"}},
        {"name": "b", "secret": {"secretName": "s3"}},
        {"name": "c", "projected": {"sources": [{"configMap": {"name": "m4"}}, {"secret": {"name": "s4"}}]}},
    ]
    init = [{"name": "i", "envFrom": [{"configMapRef": {"name": "m5"}}]}]
    found = references.of_pod(
        pod(
            "u",
            volumes=volumes,
            containers=containers,
            initContainers=init,
            imagePullSecrets=[{"name": "s5"}],
        )
    )
    assert sorted(one.name for one in found) == [f"{kind}{n}" for kind in "ms" for n in range(1, 6)]
    assert {one.kind for one in found if one.name[0] == "s"} == {Kind.SECRET}


def test_binary_data_and_text_of_a_config_map_are_bytes_by_key() -> None:
    found = read_object(
        b'{"metadata":{"name":"m"},"data":{"a":"\xc3\xa9"},"binaryData":{"b":"/w=="}}', Kind.CONFIG_MAP
    )
    assert dict(found.data) == {"a": "é".encode(), "b": b"\xff"} and found.binary_keys == {"b"}


def test_watch_lives_as_long_as_any_pod_refers_to_its_object() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        put(api, data={"a": "1"})
        store.register(pod("u1", "settings"))
        store.register(pod("u2", "settings", "other"))
        assert (await store.get(MAP)).data == {"a": b"1"}
        await clock.sleep(1)
        assert len(api.watches.open) == 2
        store.register(pod("u2", "settings"))
        await clock.sleep(1)
        assert store.watched() == (MAP,)
        store.forget("u1")
        assert (await store.get(MAP)).data == {"a": b"1"}
        store.forget("u2")
        store.forget("u2")
        await clock.sleep(1)
        assert not api.watches.open
        with pytest.raises(NotRegistered, match='object "shop"/"settings" not registered'):
            await store.get(MAP)

    run(scenario)


def test_only_the_one_object_is_asked_for_by_name() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        asked: list[tuple[str, ListOptions]] = []
        real = api.list

        def listen(resource: Any, namespace: str, options: ListOptions) -> Any:
            asked.append((namespace, options))
            return real(resource, namespace, options)

        api.list = listen  # type: ignore[method-assign]
        put(api)
        put(api, "secret-of-others")
        store.register(pod("u1", "settings"))
        assert (await store.get(MAP)).key == MAP
        await clock.sleep(1)
        assert [(one, options.field_selector) for one, options in asked] == [
            ("shop", "metadata.name=settings")
        ]

    run(scenario)


def test_absence_is_believed_only_if_it_was_seen_after_the_question() -> None:
    """A map made just now, of which the watch has not told yet, is found all the same."""

    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        store.register(pod("u1", "settings"))
        with pytest.raises(ObjectMissing, match='configmap "settings" not found'):
            await store.get(MAP)
        assert len(api.requests_of("get")) == 0, "the first list was the answer"
        await clock.sleep(1)
        api.watches.open[0].end(status.expired("gone"))  # the watch is deaf until it is begun again
        put(api, data={"a": "1"})
        assert (await store.get(MAP)).data == {"a": b"1"}
        assert len(api.requests_of("get")) == 1

    run(scenario)


def test_late_watch_does_not_set_back_what_a_read_has_found() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        heard: list[str] = []
        store.add_listener(lambda uid, _key: heard.append(uid))
        api.delay(5.0, Pattern(verb="watch"))
        store.register(pod("u1", "settings"))
        await clock.sleep(1)
        put(api, data={"a": "1"})
        put(api, data={"a": "2"})
        assert (await store.get(MAP)).data == {"a": b"2"}
        await clock.sleep(10)
        assert (await store.get(MAP)).data == {"a": b"2"} and heard == ["u1"]
        put(api, data={"a": "3"})
        await clock.sleep(1)
        assert (await store.get(MAP)).data == {"a": b"3"} and heard == ["u1", "u1"]

    run(scenario)


def test_many_who_ask_for_what_is_missing_share_the_question() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        store.register(pod("u1", "settings"))
        await clock.sleep(1)
        outcomes = await asyncio.gather(*(store.get(MAP) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(one, ObjectMissing) for one in outcomes)
        assert len(api.requests_of("get")) == 1

    run(scenario)


def test_listeners_hear_once_per_pod_and_change() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        heard: list[tuple[str, str]] = []
        store.add_listener(lambda uid, key: heard.append((uid, key.name)))
        put(api, data={"a": "1"})
        store.register(pod("u1", "settings"))
        store.register(pod("u2", "settings"))
        await clock.sleep(1)
        heard.clear()
        put(api, data={"a": "2"})
        await clock.sleep(0.1)
        assert heard == [("u1", "settings"), ("u2", "settings")]
        api.end_watches()
        await clock.sleep(5)
        assert len(heard) == 2, "a watch that is begun anew changes nothing"

    run(scenario)


def test_server_that_does_not_answer_in_time_is_told_in_upstreams_words() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        api.delay(5.0, Pattern(verb="list"))
        store.register(pod("u1", "settings"))
        began = clock.monotonic()
        with pytest.raises(
            ObjectUnread, match=r"^failed to sync configmap cache: timed out waiting for the condition$"
        ):
            await store.get(MAP)
        assert clock.monotonic() - began == pytest.approx(1.0)

    run(scenario)


def test_question_that_is_not_answered_is_given_up() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        store.register(pod("u1", "settings"))
        await clock.sleep(1)
        api.delay(100.0, Pattern(verb="get"))
        began = clock.monotonic()
        with pytest.raises(ObjectUnread, match="no answer within 20 s"):
            await store.get(MAP)
        assert clock.monotonic() - began == pytest.approx(20.0)

    run(scenario)


def test_copy_serves_on_while_the_server_is_away_and_its_absence_is_told() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        put(api, data={"a": "1"})
        store.register(pod("u1", "settings", "none"))
        await clock.sleep(1)
        api.go_away()
        await clock.sleep(300)
        assert (await store.get(MAP)).data == {"a": b"1"}
        with pytest.raises(ObjectUnread, match="condition: cannot reach API server"):
            await store.get(ObjectKey(Kind.CONFIG_MAP, "shop", "none"))

    run(scenario)


def test_history_that_is_lost_is_made_good_by_another_list() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        put(api, data={"a": "1"})
        store.register(pod("u1", "settings"))
        await clock.sleep(30)
        api.go_away()
        put(api, data={"a": "2"})
        api.compact()
        api.come_back()
        await clock.sleep(60)
        assert (await store.get(MAP)).data == {"a": b"2"}

    run(scenario)


def test_object_made_immutable_is_not_watched_any_more() -> None:
    async def scenario(api: FakeApi, store: ObjectStore, clock: VirtualClock) -> None:
        put(api, data={"a": "1"})
        store.register(pod("u1", "settings"))
        await clock.sleep(1)
        assert len(api.watches.open) == 1
        put(api, data={"a": "2"}, immutable=True)
        await clock.sleep(1)
        assert not api.watches.open
        assert (await store.get(MAP)).data == {"a": b"2"}
        assert len(api.requests_of("list", resources.CONFIG_MAPS)) == 1

    run(scenario)
