"""Namespaces that are being deleted: first their pods, then all else in them, then the namespace itself.

Pods go first and are waited for, so that nothing they use is taken from under them
(OrderedNamespaceDeletion). What remains, and why, is in the namespace's conditions. When nothing does, the
"kubernetes" finalizer goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from aio.clock import Clock
from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from kube import meta
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

FINALIZER = "kubernetes"
LOOK_AGAIN_SECONDS = 1.0
NAMESPACED = tuple(resource for resource in r.STORED if resource.namespaced)


def is_due(namespace: JsonObject) -> bool:
    finalizers = (namespace.get("spec") or {}).get("finalizers") or []
    return "deletionTimestamp" in namespace["metadata"] and FINALIZER in finalizers


def conditions(
    old: Sequence[JsonObject], left: Mapping[str, Sequence[JsonObject]], now: datetime
) -> list[JsonObject]:
    """What `kubectl describe` says of a namespace that does not go; `left` by qualified kind."""
    finalizers = Counter(
        name for items in left.values() for item in items for name in item["metadata"].get("finalizers") or []
    )
    resources = ", ".join(f"{kind} has {len(left[kind])} resource instances" for kind in sorted(left))
    holders = ", ".join(f"{name} in {finalizers[name]} resource instances" for name in sorted(finalizers))
    said = (
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
         "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
         "All legacy kube types successfully parsed"),
        ("NamespaceDeletionContentFailure", "False", "ContentDeleted",
         "All content successfully deleted, may be waiting on finalization"),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain",
         f"Some resources are remaining: {resources}") if left else
        ("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"),
        ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
         f"Some content in the namespace has finalizers remaining: {holders}") if finalizers else
        ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers",
         "All content-preserving finalizers finished"),
    )  # fmt: skip
    return [_condition(old, *item, now) for item in said]


def _condition(
    old: Sequence[JsonObject], kind: str, status: str, reason: str, message: str, now: datetime
) -> JsonObject:
    before = next((item for item in old if item["type"] == kind and item["status"] == status), None)
    since = before["lastTransitionTime"] if before is not None else meta.format_time(now)
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


class NamespaceController:
    """`kinds` are all namespaced kinds the server has."""

    name = "namespace-controller"
    reads = (r.NAMESPACES,)

    def __init__(self, clock: Clock, kinds: Sequence[Resource] = NAMESPACED) -> None:
        self._clock = clock
        self._others = tuple(kind for kind in kinds if kind != r.PODS)
        self.writes = (r.NAMESPACES, r.PODS, *self._others)

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        return (key_of(value),) if is_due(value) else ()

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        namespace = view.get(r.NAMESPACES, key)
        if namespace is None or not is_due(namespace):
            return DONE
        left = await self._empty((r.PODS,), key, api)
        if not left:
            left = await self._empty(self._others, key, api)
        state = namespace.get("status") or {}
        old = state.get("conditions") or []
        said = conditions(old, left, self._clock.now())
        if left:
            if said != old:
                await api.patch(
                    r.NAMESPACES, namespace, {"status": {"conditions": said}}, subresource="status"
                )
            return Result(LOOK_AGAIN_SECONDS)
        finalizers = [name for name in namespace["spec"]["finalizers"] if name != FINALIZER]
        freed = {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers}}
        await api.update(r.NAMESPACES, freed, subresource="finalize")
        return DONE

    async def _empty(
        self, kinds: Sequence[Resource], namespace: str, api: Writer
    ) -> dict[str, list[JsonObject]]:
        """Delete all of these kinds; what is still there after that."""
        left: dict[str, list[JsonObject]] = {}
        for kind in kinds:
            found = await api.list_live(kind, namespace)
            if any("deletionTimestamp" not in item["metadata"] for item in found):
                await api.delete_all(kind, namespace)
                found = await api.list_live(kind, namespace)
            if found:
                left[kind.qualified] = found
        return left
