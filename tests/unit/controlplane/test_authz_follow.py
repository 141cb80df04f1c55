"""A whole API server that asks who may: roles written to it count, and nodes see what is theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from aio.clock import SystemClock
from controlplane.admission.order import plugins
from controlplane.api.model import Request
from controlplane.api.server import Access, ApiServer
from controlplane.authn.request import RequestAuthenticator, Sources
from controlplane.authn.tokenfile import read_tokens
from controlplane.authz.follow import Guard
from controlplane.bootstrap import objects, roles
from controlplane.store.memory import MemoryStore
from kube.client import resources

pytestmark = pytest.mark.pure
TOKENS = """admin,admin,1,system:masters
ann,ann,2
one,system:node:one,3,system:nodes
two,system:node:two,4,system:nodes
"""


def typed(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """With the kind of the collection it goes to."""
    found = next(item for item in resources.STORED if item.plural == path.rpartition("/")[2])
    return {"apiVersion": found.api_version, "kind": found.kind, **body}


class Cluster:
    def __init__(self) -> None:
        node = next(item.rules for item in roles.declared() if item.name == "system:node")
        self.guard = Guard(node)
        door = RequestAuthenticator(Sources(static=read_tokens(TOKENS)), SystemClock())
        access = Access(door, self.guard, plugins(self.guard.policy, self.guard))
        self.store = MemoryStore()
        self.server = ApiServer(self.store, SystemClock(), access)

    async def __aenter__(self) -> Cluster:
        await self.server.start()
        self.guard.attach(self.server.cache)
        for item in objects.namespaces():
            await self.must("admin", "POST", "/api/v1/namespaces", item)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.server.stop()
        await self.store.close()

    async def code(self, who: str, method: str, target: str, body: Any = None) -> int:
        path, _, query = target.partition("?")
        name, _, value = query.partition("=")
        heads = {"authorization": f"Bearer {who}", "content-type": "application/json"}
        raw = b"" if body is None else msgspec.json.encode(typed(path, body))
        request = Request(method, path, {name: [value]} if name else {}, heads, raw)
        response = await self.server.pipeline.handle(request)
        await self.server.cache.reach_latest()
        if response.stream is not None and hasattr(response.stream, "aclose"):
            await response.stream.aclose()
        return response.code

    async def must(self, who: str, method: str, target: str, body: Any) -> None:
        assert await self.code(who, method, target, body) in (200, 201), target


DEFAULT = "/api/v1/namespaces/default"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"


@pytest.mark.asyncio
async def test_roles_count_from_when_they_are_written_until_they_are_removed() -> None:
    async with asyncio.timeout(10), Cluster() as cluster:
        assert await cluster.code("stranger", "GET", f"{DEFAULT}/configmaps") == 401
        assert await cluster.code("ann", "GET", f"{DEFAULT}/configmaps") == 403
        rules = [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]
        await cluster.must("admin", "POST", f"{RBAC}/roles", {"metadata": {"name": "r"}, "rules": rules})
        binding = {
            "metadata": {"name": "b"},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "ann"}],
        }
        await cluster.must("admin", "POST", f"{RBAC}/rolebindings", binding)
        assert await cluster.code("ann", "GET", f"{DEFAULT}/configmaps") == 200
        assert await cluster.code("ann", "GET", f"{DEFAULT}/secrets") == 403
        await cluster.must("admin", "DELETE", f"{RBAC}/rolebindings/b", None)
        assert await cluster.code("ann", "GET", f"{DEFAULT}/configmaps") == 403


@pytest.mark.asyncio
async def test_a_node_reads_the_secrets_of_its_pods_and_nobody_elses() -> None:
    async with asyncio.timeout(10), Cluster() as cluster:
        await cluster.must("admin", "POST", f"{DEFAULT}/serviceaccounts", {"metadata": {"name": "default"}})
        for name in ("mine", "other"):
            await cluster.must("admin", "POST", f"{DEFAULT}/secrets", {"metadata": {"name": name}})
        assert await cluster.code("one", "GET", f"{DEFAULT}/secrets/mine") == 403
        spec = {
            "nodeName": "one",
            "containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "secret": {"secretName": "mine"}}],
        }
        await cluster.must("admin", "POST", f"{DEFAULT}/pods", {"metadata": {"name": "web"}, "spec": spec})
        assert await cluster.code("one", "GET", f"{DEFAULT}/secrets/mine") == 200
        assert await cluster.code("one", "GET", f"{DEFAULT}/secrets/other") == 403
        assert await cluster.code("two", "GET", f"{DEFAULT}/secrets/mine") == 403
        assert await cluster.code("one", "GET", "/api/v1/pods?fieldSelector=spec.nodeName=one") == 200
        assert await cluster.code("one", "GET", "/api/v1/pods") == 403
        assert await cluster.code("two", "DELETE", f"{DEFAULT}/pods/web") == 403
        assert await cluster.code("one", "POST", "/api/v1/nodes", {"metadata": {"name": "two"}}) == 403
        await cluster.must("one", "POST", "/api/v1/nodes", {"metadata": {"name": "one"}})
