"""What a cluster starts with against what is stored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from aio.clock import SystemClock
from controlplane.api.model import AllowAll
from controlplane.api.registry import standard
from controlplane.api.server import Access, ApiServer
from controlplane.bootstrap.plan import Cluster, operations, wanted
from controlplane.bootstrap.write import write_bootstrap
from controlplane.store.memory import MemoryStore
from controlplane.store.model import Create, Operation, Update
from kube.client.resources import Resource

pytestmark = pytest.mark.pure

CLUSTER = Cluster("10.96.0.0/12", ("10.0.0.5",), 6443, "PEM")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
REGISTRY = standard()


class Stored:
    """Objects as `find` gives them, made by carrying operations out."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.revision = 1

    def find(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        kind = REGISTRY.find(resource.group, resource.version, resource.plural)
        assert kind is not None
        return self.values.get(kind.key(namespace, name))

    def plan(self, cluster: Cluster = CLUSTER) -> list[Operation]:
        return operations(REGISTRY, self.find, wanted(cluster), NOW, lambda: "uid")

    def carry_out(self, found: list[Operation]) -> None:
        for operation in found:
            assert isinstance(operation, Create | Update)
            value = msgspec.json.decode(operation.value)
            value["metadata"]["resourceVersion"] = str(self.revision)
            self.values[operation.key] = value

    def change(self, key: str, **fields: Any) -> None:
        self.values[key] = {**self.values[key], **fields}


@pytest.fixture
def stored() -> Stored:
    made = Stored()
    made.carry_out(made.plan())
    return made


def test_an_empty_store_gets_everything_once(stored: Stored) -> None:
    assert stored.plan() == []
    keys = [key for key in stored.values if "/namespaces/" in key]
    assert len(keys) == 4
    service = next(value for value in stored.values.values() if value["kind"] == "Service")
    assert service["metadata"]["uid"] == "uid"
    assert service["status"] == {"loadBalancer": {}}
    namespace = stored.values[keys[0]]
    assert (namespace["status"], namespace["spec"]) == ({"phase": "Active"}, {"finalizers": ["kubernetes"]})


def test_a_new_address_is_written_where_it_stands_and_nowhere_else(stored: Stored) -> None:
    moved = Cluster("10.96.0.0/12", ("10.0.0.6",), 7443, "PEM")
    found = stored.plan(moved)
    kinds = sorted(
        msgspec.json.decode(operation.value)["kind"] for operation in found if isinstance(operation, Update)
    )
    assert kinds == ["EndpointSlice", "Endpoints", "Service"]
    assert len(found) == 3
    stored.carry_out(found)
    assert stored.plan(moved) == []


def test_a_new_ca_reaches_every_namespace(stored: Stored) -> None:
    found = stored.plan(Cluster("10.96.0.0/12", ("10.0.0.5",), 6443, "OTHER"))
    assert len(found) == 5
    assert all(b"OTHER" in operation.value for operation in found if isinstance(operation, Update))


def test_what_people_changed_stays(stored: Stored) -> None:
    for key, value in list(stored.values.items()):
        if value["kind"] in ("Namespace", "PriorityClass", "ServiceAccount", "Service"):
            labels = {"metadata": {**value["metadata"], "labels": {"mine": "yes"}}}
            stored.change(key, **labels)
    assert stored.plan() == []


def test_a_role_gets_back_what_it_lacks(stored: Stored) -> None:
    key = next(key for key in stored.values if key.endswith("clusterroles/system:discovery"))
    stored.change(key, rules=[])
    (update,) = stored.plan()
    assert isinstance(update, Update)
    assert (update.key, update.expected_mod_revision) == (key, 1)
    assert msgspec.json.decode(update.value)["rules"]
    notes = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
    stored.change(key, metadata={**stored.values[key]["metadata"], "annotations": notes})
    assert stored.plan() == [], "kept out of our hands"


def test_it_is_written_in_few_transactions_and_seen_at_once() -> None:
    async def run() -> None:
        clock = SystemClock()
        store = MemoryStore(clock=clock)
        server = ApiServer(store, clock, Access(AllowAll(), AllowAll()))
        await server.start()
        try:
            count = await write_bootstrap(store, server.cache, server.registry, CLUSTER, clock)
            assert count > 100
            assert await store.revision() <= 3
            assert server.cache.get(REGISTRY.find("", "v1", "services").resource, "default", "kubernetes")  # type: ignore[union-attr]
            assert await write_bootstrap(store, server.cache, server.registry, CLUSTER, clock) == 0
        finally:
            await server.stop()
            await store.close()

    asyncio.run(run())
