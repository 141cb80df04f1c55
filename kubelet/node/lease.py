"""The Lease by which a node says that it lives, four times as often as it would run out.

`renewed` and `first_lease` are pure; `LeaseKeeper.run` carries them out, on a client of its own so that no
pod's traffic delays a heartbeat. Protocol: component-helpers/apimachinery/lease of Kubernetes 1.36: up to
five tries per renewal without a pause, then again after the next interval; a Lease that is gone is created
with the Node as its owner, so that it goes with it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from aio import log as logs
from aio.backoff import Backoff
from aio.clock import Clock
from kube import meta, status
from kube.client import Client, JsonObject, Unreachable
from kube.client.model import copy
from kube.client.resources import LEASES
from kube.errors import StatusError
from kubelet.node.own import OwnNode

log = logs.get(__name__)

LEASE_NAMESPACE = "kube-node-lease"
RENEW_SHARE = 0.25  # pkg/kubelet: nodeLeaseRenewIntervalFraction
JITTER = 0.04  # controller.go: wait.JitterUntil(renewInterval, 0.04)
MOST_TRIES = 5
ENSURE_BACKOFF = Backoff(initial=0.1, maximum=7.0, reset_after=float("inf"))

Failure = (StatusError, Unreachable)


def first_lease(node: JsonObject, seconds: int, now: datetime) -> JsonObject:
    """The Lease to create for `node`, the Node as the API has it."""
    name = node["metadata"]["name"]
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [_owner(node)]},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": seconds,
            "renewTime": meta.format_micro_time(now),
        },
    }


def renewed(lease: JsonObject, node: JsonObject | None, seconds: int, now: datetime) -> JsonObject:
    """`lease` with a new renewTime, and with an owner where it has none."""
    fresh = copy(lease)
    fresh["spec"] = {
        **(fresh.get("spec") or {}),
        "holderIdentity": fresh["metadata"]["name"],
        "leaseDurationSeconds": seconds,
        "renewTime": meta.format_micro_time(now),
    }
    if node is not None and not fresh["metadata"].get("ownerReferences"):
        fresh["metadata"]["ownerReferences"] = [_owner(node)]
    return fresh


def _owner(node: JsonObject) -> JsonObject:
    found = node["metadata"]
    return {"apiVersion": "v1", "kind": "Node", "name": found["name"], "uid": found["uid"]}


@dataclass(slots=True)
class LeaseKeeper:
    """`seconds` is how long the lease lasts. `reset` closes the API connections: called when renewals fail
    again and again, since a connection that hangs is the usual reason."""

    client: Client
    own: OwnNode
    name: str
    clock: Clock
    seconds: int = 40
    reset: Callable[[], None] = lambda: None
    jitter: Callable[[], float] = random.random
    _lease: JsonObject | None = field(default=None)

    async def run(self) -> NoReturn:
        """Renew for ever; begins when there is a Node."""
        while True:
            await self.renew()
            await self.clock.sleep(self.seconds * RENEW_SHARE * (1.0 + JITTER * self.jitter()))

    async def renew(self) -> None:
        """One renewal: of the lease as it was last seen, else of what the API has, else a new one."""
        if self._lease is not None and await self._update():
            return
        if not await self._ensure():
            await self._update()

    async def _update(self) -> bool:
        for attempt in range(MOST_TRIES):
            assert self._lease is not None
            fresh = renewed(self._lease, self.own.latest, self.seconds, self.clock.now())
            try:
                self._lease = await self.client.update(LEASES, fresh)
            except status.Conflict:
                await self._ensure()
            except Failure as error:
                log.warning("Cannot renew the node's lease", attempt=attempt + 1, err=error)
                if attempt:
                    self.reset()
            else:
                return True
        return False

    async def _ensure(self) -> bool:
        """Get the lease, or create it: True when it was created. Tries until there is one."""
        backoff = ENSURE_BACKOFF
        while True:
            try:
                return await self._get_or_create()
            except Failure as error:
                backoff, delay = backoff.next(self.clock.monotonic())
                log.warning("Cannot get or create the node's lease", retryAfter=delay, err=error)
                await self.clock.sleep(delay)

    async def _get_or_create(self) -> bool:
        try:
            self._lease = await self.client.get(LEASES, self.name, namespace=LEASE_NAMESPACE)
        except status.NotFound:
            node = await self.own.wait_known()
            body = first_lease(node, self.seconds, self.clock.now())
            self._lease = await self.client.create(LEASES, body)
            return True
        return False
