"""The API server's authorizer: RBAC and the Node authorizer, fed from the server's own watch cache.

Nothing runs in the background: before a decision the changes since the last one are read, which costs five
comparisons when there were none. So a decision is never older than what the same server would answer a get.

    guard = Guard(rules of system:node)
    server = ApiServer(store, clock, Access(authenticator, guard, plugins(guard.policy, guard)))
    guard.attach(server.cache)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.api.model import RequestInfo, UserInfo, Verdict
from controlplane.api.watchcache import KindCache, WatchCache
from controlplane.authz.graph import Graph
from controlplane.authz.model import Access, Chain, Masters
from controlplane.authz.node import NodeAuthorizer
from controlplane.authz.rbac import Policy
from controlplane.authz.rules import Rule
from kube.client import resources

_RBAC = (
    resources.ROLES, resources.CLUSTER_ROLES, resources.ROLE_BINDINGS, resources.CLUSTER_ROLE_BINDINGS,
)  # fmt: skip


class Guard:
    """Before `attach` only system:masters may do anything. `node_rules` are those of the role system:node."""

    def __init__(self, node_rules: tuple[Rule, ...]) -> None:
        self.policy = Policy()
        self.graph = Graph()
        self._chain = Chain((Masters(), NodeAuthorizer(self.graph, node_rules), self.policy))
        self._feeds: list[_Feed] = []

    def attach(self, cache: WatchCache) -> None:
        for resource in _RBAC:
            self._feeds.append(_Feed(cache.of(resource), *self._policy_of(resource.kind)))
        self._feeds.append(_Feed(cache.of(resources.PODS), self.graph.put_pod, self.graph.remove_pod))

    def _policy_of(self, kind: str) -> tuple[Callable[[Any], None], Callable[[str, str], None]]:
        def put(item: dict[str, Any]) -> None:
            self.policy.put(kind, item)

        def remove(namespace: str, name: str) -> None:
            self.policy.remove(kind, namespace, name)

        return put, remove

    def judge(self, user: UserInfo, access: Access) -> Verdict:
        for feed in self._feeds:
            feed.catch_up()
        return self._chain.judge(user, access)

    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict:
        return self.judge(user, info)


class _Feed:
    """One kind's changes, carried over."""

    def __init__(
        self, source: KindCache, put: Callable[[Any], None], remove: Callable[[str, str], None]
    ) -> None:
        self._source = source
        self._put = put
        self._remove = remove
        self._position = -1
        self._held: set[tuple[str, str]] = set()

    def catch_up(self) -> None:
        position = self._source.position
        if position == self._position:
            return
        changes = self._source.since(self._position) if self._position >= 0 else None
        if changes is None:
            self._begin_anew()
        for change in changes or ():
            self._carry(change.last.value, present=change.new is not None)
        self._position = position

    def _begin_anew(self) -> None:
        """Some changes are forgotten, or this is the first look."""
        for namespace, name in self._held:
            self._remove(namespace, name)
        self._held.clear()
        for item in self._source.items():
            self._carry(item.value, present=True)

    def _carry(self, value: dict[str, Any], *, present: bool) -> None:
        meta = value["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if present:
            self._held.add(key)
            self._put(value)
        else:
            self._held.discard(key)
            self._remove(*key)
