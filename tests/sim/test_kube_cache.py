"""The cache against the fake API server, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio.clock import VirtualClock
from aio.virtual import run
from kube import objects, status
from kube.cache import Cache, Change, Scope
from kube.client import Unreachable
from kube.client import resources as r
from kube.fake import FakeApi, Pattern
from kube.fake.faults import SERVER
from kube.objects.core_v1 import Pod

pytestmark = pytest.mark.sim

LIST = Pattern("list", r.PODS)
WATCH = Pattern("watch", r.PODS)


def pod(name: str, node: str = "n1", **labels: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "labels": labels}
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def read_pod(raw: bytes) -> Pod:
    return objects.decode(raw, Pod)


class World:
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.api = FakeApi(clock)
        self.told: list[str] = []
        self.decoded = 0
        self.cache = self.make()

    def make(self, scope: Scope = Scope()) -> Cache[Pod]:  # noqa: B008
        cache = Cache(
            self.api.client("agent"), r.PODS, self.decode, clock=self.clock, scope=scope, jitter=lambda: 0.5,
            indexes={
                "node": lambda found: [found.spec.node_name or ""],
                "labels": lambda found: found.metadata.labels,
            },
        )  # fmt: skip
        cache.add_handler(self.note)
        return cache

    def decode(self, raw: bytes) -> Pod:
        self.decoded += 1
        return read_pod(raw)

    def note(self, change: Change[Pod]) -> None:
        self.told.append(f"{change.kind.value} {change.key}")

    def told_since(self) -> list[str]:
        told, self.told = self.told, []
        return told

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.cache.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def synced(self) -> None:
        async with asyncio.timeout(300):
            await self.cache.wait_synced()
        await asyncio.sleep(1)


def scenario(
    body: Callable[[World], Awaitable[None]], prepare: Callable[[World], None] | None = None
) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        if prepare is not None:
            prepare(world)
        async with world.running():
            await body(world)

    run(main)


def without_streaming_lists(world: World) -> None:
    world.api.watches.serves_streaming_lists = False


@pytest.mark.parametrize("prepare", [None, without_streaming_lists])
def test_collection_is_loaded_and_followed(prepare: Callable[[World], None] | None) -> None:
    async def body(world: World) -> None:
        for name in ("a", "b"):
            world.api.put(pod(name))
        assert not world.cache.has_synced
        await world.synced()
        assert world.told_since() == ["added shop/a", "added shop/b"]
        world.api.put(pod("a", "n2"))
        world.api.remove(r.PODS, "b", "shop")
        world.api.put(pod("c"))
        await asyncio.sleep(1)
        assert world.told_since() == ["updated shop/a", "deleted shop/b", "added shop/c"]
        found = world.cache.get("shop/a")
        assert found is not None
        assert found.spec.node_name == "n2"
        assert sorted(world.cache.keys()) == ["shop/a", "shop/c"]
        assert world.cache.version == str(world.api.history.revision)

    scenario(body, prepare)


def test_streaming_list_is_one_request_and_paged_list_the_way_without_it() -> None:
    async def streams(world: World) -> None:
        await world.synced()
        assert [request.verb for request in world.api.requests] == ["watch"]

    async def pages(world: World) -> None:
        for number in range(1200):
            world.api.put(pod(f"p{number}"))
        await world.synced()
        assert [request.verb for request in world.api.requests] == ["watch", "list", "list", "list", "watch"]
        assert len(world.cache) == 1200

    scenario(streams)
    scenario(pages, without_streaming_lists)


def test_index_finds_by_each_key_and_forgets_what_left() -> None:
    async def body(world: World) -> None:
        world.api.put(pod("a", "n1", app="x"))
        world.api.put(pod("b", "n1"))
        world.api.put(pod("c", "n2"))
        await world.synced()
        assert [found.metadata.name for found in world.cache.by_index("node", "n1")] == ["a", "b"]
        assert [found.metadata.name for found in world.cache.by_index("labels", "app")] == ["a"]
        world.api.put(pod("a", "n2"))
        world.api.remove(r.PODS, "b", "shop")
        await asyncio.sleep(1)
        assert world.cache.by_index("node", "n1") == ()
        assert [found.metadata.name for found in world.cache.by_index("node", "n2")] == ["c", "a"]
        assert list(world.cache.index_keys("node")) == ["n2"]
        assert list(world.cache.index_keys("labels")) == []
        with pytest.raises(KeyError):
            world.cache.by_index("nothing", "x")

    scenario(body)


def test_scope_keeps_only_what_it_selects() -> None:
    async def body(world: World) -> None:
        world.cache = world.make(Scope(field_selector="spec.nodeName=n1"))
        async with world.running():
            world.api.put(pod("a", "n1"))
            world.api.put(pod("b", "n2"))
            await world.synced()
            assert list(world.cache.keys()) == ["shop/a"]
            world.told_since()
            world.api.put(pod("a", "n2"))
            await asyncio.sleep(1)
            assert list(world.cache.keys()) == []

    scenario(body)


def test_watch_that_breaks_goes_on_from_where_it_was() -> None:
    async def body(world: World) -> None:
        world.api.put(pod("a"))
        await world.synced()
        world.api.end_watches(Unreachable(SERVER, "reset"))
        world.api.put(pod("b"))
        world.api.put(pod("b", "n2"))
        await asyncio.sleep(5)
        assert world.told_since() == ["added shop/a", "added shop/b", "updated shop/b"]
        assert [str(request) for request in world.api.requests] == ["watch pods", "watch pods"]

    scenario(body)


def test_bookmark_lets_a_quiet_watch_survive_a_compaction() -> None:
    async def body(world: World) -> None:
        world.api.put(pod("a"))
        await world.synced()
        world.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "x"}})
        world.api.send_bookmarks()
        await asyncio.sleep(1)
        world.api.compact()
        world.api.end_watches()
        await asyncio.sleep(1)
        assert [request.verb for request in world.api.requests] == ["watch", "watch"]
        assert world.cache.version == str(world.api.history.revision)
        assert len(world.api.watches.open) == 1

    scenario(body)


@pytest.mark.parametrize("prepare", [None, without_streaming_lists])
def test_expired_version_is_listed_anew_and_only_differences_are_told(
    prepare: Callable[[World], None] | None,
) -> None:
    async def body(world: World) -> None:
        for name in ("same", "gone", "changed", "replaced"):
            world.api.put(pod(name))
        await world.synced()
        kept = world.cache.get("shop/same")
        world.told_since()
        decoded = world.decoded
        await asyncio.sleep(20)
        world.api.go_away()
        world.api.remove(r.PODS, "gone", "shop")
        world.api.put(pod("changed", "n2"))
        world.api.remove(r.PODS, "replaced", "shop")
        world.api.put(pod("replaced"))
        world.api.put(pod("new"))
        world.api.compact()
        await asyncio.sleep(10)
        assert world.told_since() == []
        assert world.cache.has_synced
        assert len(world.cache) == 4, "nothing is dropped while the server is away"
        world.api.come_back()
        await asyncio.sleep(60)
        assert sorted(world.told_since()) == [
            "added shop/new", "added shop/replaced", "deleted shop/gone", "deleted shop/replaced",
            "updated shop/changed",
        ]  # fmt: skip
        assert world.cache.get("shop/same") is kept
        assert world.decoded == decoded + 3

    scenario(body, prepare)


def test_server_that_is_away_at_the_start_is_asked_with_growing_pauses() -> None:
    async def body(world: World) -> None:
        world.api.go_away()
        await asyncio.sleep(120)
        assert not world.cache.has_synced
        assert "because connection refused" in world.cache.problem
        count = len(world.api.requests)
        assert 5 <= count <= 9
        world.api.put(pod("a"))
        world.api.come_back()
        await world.synced()
        assert world.cache.problem == ""
        assert world.told_since() == ["added shop/a"]

    scenario(body)


def test_load_that_is_cut_off_tells_nothing_until_it_is_whole() -> None:
    async def body(world: World) -> None:
        for number in range(1100):
            world.api.put(pod(f"p{number:04}"))
        without_streaming_lists(world)
        world.api.delay(1.0, LIST)
        # The first page comes; the second is lost once.
        await asyncio.sleep(1.5)
        world.api.fail(Unreachable(SERVER, "reset"), LIST)
        await asyncio.sleep(1.0)
        assert world.told == []
        assert not world.cache.has_synced
        await world.synced()
        assert len(world.told_since()) == 1100

    scenario(body)


def test_forbidden_collection_is_asked_for_again_and_not_listed_otherwise() -> None:
    async def body(world: World) -> None:
        refused = status.error_of(status.of_code(403, "no"))
        world.api.fail(refused, WATCH, times=3)
        await world.synced()
        assert [request.verb for request in world.api.requests] == ["watch"] * 4

    scenario(body)


def test_server_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    async def body(world: World) -> None:
        busy = status.error_of(
            status.of_json(
                {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "busy",
                 "details": {"retryAfterSeconds": 40}}
            ) or status.of_code(429, "")
        )  # fmt: skip
        world.api.fail(busy, WATCH)
        await asyncio.sleep(39)
        assert len(world.api.requests) == 1
        await world.synced()
        assert len(world.api.requests) == 2

    scenario(body)


def test_object_that_cannot_be_read_keeps_its_last_good_state() -> None:
    async def body(world: World) -> None:
        world.api.put(pod("a", "n1"))
        await world.synced()
        broken = pod("a", "n2")
        broken["spec"]["containers"] = "many"
        world.api.put(broken)
        world.api.put({**pod("b"), "spec": {"containers": 5}})
        await asyncio.sleep(1)
        found = world.cache.get("shop/a")
        assert found is not None
        assert found.spec.node_name == "n1"
        assert "shop/b" not in world.cache
        world.api.put(pod("b"))
        await asyncio.sleep(1)
        assert world.told_since() == ["added shop/a", "added shop/b"]

    scenario(body)


def test_handler_that_comes_late_hears_of_all_there_is() -> None:
    async def body(world: World) -> None:
        world.api.put(pod("a"))
        await world.synced()
        heard: list[str] = []
        world.cache.add_handler(lambda change: heard.append(f"{change.kind.value} {change.key}"))
        world.api.remove(r.PODS, "a", "shop")
        await asyncio.sleep(1)
        assert heard == ["added shop/a", "deleted shop/a"]

    scenario(body)


def test_handler_that_fails_ends_the_loop() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)

        def fail(change: Change[Pod]) -> None:
            raise RuntimeError(f"cannot handle {change.key}")

        world.cache.add_handler(fail)
        world.api.put(pod("a"))
        with pytest.raises(RuntimeError, match="cannot handle shop/a"):
            await world.cache.run()

    run(main)


def test_idle_cache_asks_for_one_watch_in_five_to_ten_minutes() -> None:
    async def body(world: World) -> None:
        await world.synced()
        await asyncio.sleep(3600)
        assert 7 <= len(world.api.requests) <= 13

    scenario(body)


NAMES = ("a", "b", "c")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(("n1", "n2"))),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just("")),
        st.tuples(
            st.sampled_from(("break", "end", "expire", "away", "back", "wait")), st.just(""), st.just("")
        ),
    ),
    max_size=30,
)


def act(world: World, kind: str, name: str, node: str) -> None:
    api = world.api
    if kind == "put":
        api.put(pod(name, node))
    elif kind == "remove":
        if api.find(r.PODS, name, "shop"):
            api.remove(r.PODS, name, "shop")
    elif kind == "break":
        api.end_watches(Unreachable(SERVER, "reset"))
    elif kind == "end":
        api.end_watches()
    elif kind == "expire":
        api.compact()
        api.end_watches(status.too_old(1, 2))
    elif kind == "away":
        api.go_away()
    elif kind == "back":
        api.come_back()


@pytest.mark.parametrize("prepare", [None, without_streaming_lists])
@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_copy_and_its_handlers_end_up_with_what_the_server_has(
    prepare: Callable[[World], None] | None, steps: list[tuple[str, str, str]]
) -> None:
    async def body(world: World) -> None:
        mirror: dict[str, Pod] = {}

        def keep(change: Change[Pod]) -> None:
            if change.new is None:
                del mirror[change.key]
            else:
                assert (change.key in mirror) is (change.old is not None)
                mirror[change.key] = change.new

        world.cache.add_handler(keep)
        for kind, name, node in steps:
            act(world, kind, name, node)
            if kind == "wait":
                await asyncio.sleep(3)
        world.api.come_back()
        await asyncio.sleep(120)
        expected = {
            f"shop/{value['metadata']['name']}": objects.convert(value, Pod)
            for value in world.api.objects(r.PODS)
        }
        assert {key: world.cache.get(key) for key in world.cache} == expected
        assert mirror == expected

    scenario(body, prepare)
