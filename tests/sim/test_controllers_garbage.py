"""The garbage collector against the fake API server, under virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import Controller, View, key_of
from controlplane.controllers.garbage import GarbageCollector, Owner, Verdict, judge, references_of
from kube.client import DeleteOptions
from kube.client import resources as r
from tests.sim.controllers_world import World, scenario

pytestmark = pytest.mark.sim


def controllers(clock: VirtualClock) -> list[Controller]:
    return [GarbageCollector()]


def owner(of: dict[str, Any], *, blocks: bool = True) -> dict[str, Any]:
    found = of["metadata"]
    return {
        "apiVersion": of["apiVersion"], "kind": of["kind"], "name": found["name"], "uid": found["uid"],
        "controller": True, "blockOwnerDeletion": blocks,
    }  # fmt: skip


def put(world: World, kind: str, name: str, *owners: dict[str, Any], **found: Any) -> dict[str, Any]:
    api_version = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1"}.get(kind, "v1")
    metadata = {"name": name, "namespace": "shop", "ownerReferences": list(owners), **found}
    return world.api.put({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {}})


def tree(world: World) -> None:
    deployment = put(world, "Deployment", "web")
    replica_set = put(world, "ReplicaSet", "web-1", owner(deployment))
    put(world, "Pod", "web-1-a", owner(replica_set))
    put(world, "Pod", "other")


def delete(world: World, propagation: str) -> None:
    world.api.delete(r.DEPLOYMENTS, ("shop", "web"), DeleteOptions(propagation=propagation))


@pytest.mark.parametrize(
    ("states", "dependents", "expected"),
    [
        ([], False, Verdict()),
        ([Owner.SOLID], False, Verdict()),
        ([Owner.GONE], False, Verdict(delete="Background")),
        ([Owner.GONE], True, Verdict(delete="Background")),
        ([Owner.WAITING], True, Verdict(delete="Foreground")),
        ([Owner.WAITING], False, Verdict(delete="Background")),
        ([Owner.SOLID, Owner.GONE, Owner.WAITING], True, Verdict(drop=frozenset(("1", "2")))),
    ],
)
def test_object_stays_while_one_owner_is_solid(
    states: list[Owner], dependents: bool, expected: Verdict
) -> None:
    references = [({"uid": str(at)}, state) for at, state in enumerate(states)]
    assert judge(references, has_dependents=dependents) == expected


def test_background_deletion_takes_all_dependents_and_nothing_else() -> None:
    async def body(world: World) -> None:
        tree(world)
        await asyncio.sleep(1)
        assert world.names() == ["other", "web-1-a"]
        delete(world, "Background")
        await asyncio.sleep(2)
        assert world.names() == ["other"]
        assert world.names(r.REPLICA_SETS) == []

    scenario(controllers, body)


def test_foreground_deletion_keeps_the_owner_until_its_dependents_are_gone() -> None:
    async def body(world: World) -> None:
        tree(world)
        pod = world.api.object(r.PODS, "web-1-a", "shop")
        world.api.put({**pod, "metadata": {**pod["metadata"], "finalizers": ["test/hold"]}})
        await asyncio.sleep(1)
        delete(world, "Foreground")
        await asyncio.sleep(3)
        assert "deletionTimestamp" in world.api.object(r.PODS, "web-1-a", "shop")["metadata"]
        assert world.names(r.REPLICA_SETS) == ["web-1"]
        assert world.names(r.DEPLOYMENTS) == ["web"]
        world.api.remove(r.PODS, "web-1-a", "shop")
        await asyncio.sleep(3)
        assert (world.names(r.REPLICA_SETS), world.names(r.DEPLOYMENTS)) == ([], [])

    scenario(controllers, body)


def test_a_circle_of_owners_that_block_each_other_goes_in_the_foreground_too() -> None:
    async def body(world: World) -> None:
        names = ("one", "two", "three")
        made = [put(world, "ConfigMap", name) for name in names]
        for at, name in enumerate(names):
            put(world, "ConfigMap", name, owner(made[at - 1]))
        await asyncio.sleep(1)
        assert sorted(world.names(r.CONFIG_MAPS)) == sorted(names)
        world.api.delete(r.CONFIG_MAPS, ("shop", "one"), DeleteOptions(propagation="Foreground"))
        await asyncio.sleep(5)
        assert world.names(r.CONFIG_MAPS) == []

    scenario(controllers, body)


def test_orphaned_dependents_stay_without_the_reference() -> None:
    async def body(world: World) -> None:
        tree(world)
        await asyncio.sleep(1)
        delete(world, "Orphan")
        await asyncio.sleep(3)
        assert world.names(r.DEPLOYMENTS) == []
        assert world.api.object(r.REPLICA_SETS, "web-1", "shop")["metadata"].get("ownerReferences") is None
        assert world.names() == ["other", "web-1-a"]

    scenario(controllers, body)


def test_owner_of_the_same_name_but_another_uid_is_no_owner() -> None:
    async def body(world: World) -> None:
        deployment = put(world, "Deployment", "web")
        put(world, "ReplicaSet", "old", {**owner(deployment), "uid": "of-the-one-before"})
        put(world, "ReplicaSet", "new", owner(deployment))
        await asyncio.sleep(2)
        assert world.names(r.REPLICA_SETS) == ["new"]

    scenario(controllers, body)


def test_unknown_kind_of_owner_is_taken_to_exist_and_dangling_references_are_dropped_beside_it() -> None:
    async def body(world: World) -> None:
        custom = {"apiVersion": "x.example/v1", "kind": "Widget", "name": "w", "uid": "w"}
        gone = {"apiVersion": "v1", "kind": "ConfigMap", "name": "no", "uid": "no"}
        put(world, "Pod", "kept", custom, gone)
        await asyncio.sleep(2)
        references = world.api.object(r.PODS, "kept", "shop")["metadata"]["ownerReferences"]
        assert [item["uid"] for item in references] == ["w"]

    scenario(controllers, body)


def test_a_change_of_what_stays_concerns_none_of_its_many_dependents() -> None:
    def queued(resource: r.Resource, value: dict[str, Any], there: list[dict[str, Any]]) -> set[str]:
        return set(GarbageCollector().keys(resource, value, _Held(there)))

    def made(kind: str, name: str, *owners: dict[str, Any], **more: Any) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"uid-{name}", **more}
        api_version = "apps/v1" if kind == "ReplicaSet" else "v1"
        metadata["ownerReferences"] = list(owners)
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata}

    alive = made("ReplicaSet", "web")
    going = made("ReplicaSet", "web", deletionTimestamp="2026-01-01T00:00:00Z")
    pod = made("Pod", "a", owner(alive))
    assert queued(r.REPLICA_SETS, alive, [alive, pod]) == set()
    assert queued(r.PODS, pod, [alive, pod]) == {"pods|shop/a"}
    assert queued(r.REPLICA_SETS, alive, [pod]) == {"pods|shop/a"}
    assert queued(r.REPLICA_SETS, going, [going, pod]) == {"replicasets.apps|shop/web", "pods|shop/a"}
    assert queued(r.PODS, pod, [going, pod]) == {"pods|shop/a", "replicasets.apps|shop/web"}


class _Held(View):
    """A view of these objects."""

    def __init__(self, there: list[dict[str, Any]]) -> None:
        super().__init__({})
        self._there = there

    def get(self, resource: r.Resource, key: str) -> dict[str, Any] | None:
        found = (one for one in self._there if (one["kind"], key_of(one)) == (resource.kind, key))
        return next(found, None)

    def owned_by(self, resource: r.Resource, uid: str) -> tuple[dict[str, Any], ...]:
        return tuple(
            one
            for one in self._there
            if one["kind"] == resource.kind and uid in [each["uid"] for each in references_of(one)]
        )
