"""Which pods belong together: the selectors of a pod's services and of its controller (pure).

A pod that declares no spread of its own is spread among those (helper.DefaultSelector).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from kube import objects
from kube.client import resources as r
from kube.client.resources import Resource
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import LabelSelector
from kube.selectors import Operator, Requirement, Selector, of_label_selector

Found = tuple[str, Selector]


class Lookup(Protocol):
    """The part of a cache that is read."""

    def get(self, key: str) -> Found | None: ...
    def by_index(self, index: str, key: str) -> tuple[Found, ...]: ...


NOTHING = Selector((Requirement("", Operator.EXISTS),))
_OF_OWNER = {"ReplicaSet": r.REPLICA_SETS, "ReplicationController": r.REPLICATION_CONTROLLERS}


def read_selector(raw: bytes) -> Found:
    """(namespace, selector) of an encoded Service, ReplicaSet or ReplicationController."""
    value: dict[str, Any] = msgspec.json.decode(raw)
    wanted = (value.get("spec") or {}).get("selector") or {}
    namespace: str = value["metadata"].get("namespace", "")
    if not wanted:
        return namespace, NOTHING
    if "matchLabels" in wanted or "matchExpressions" in wanted:
        parsed = objects.convert(wanted, LabelSelector)
    else:
        parsed = LabelSelector(match_labels=wanted)
    return namespace, of_label_selector(parsed) or NOTHING


class Owners:
    """Looks through what the caches hold now."""

    def __init__(self, caches: Mapping[Resource, Lookup]) -> None:
        self._caches = caches

    def selector_of(self, pod: Pod) -> Selector | None:
        """All that apply, together; None when none does."""
        parts: list[Requirement] = []
        namespace = pod.metadata.namespace
        for _, selector in self._caches[r.SERVICES].by_index("namespace", namespace):
            if selector.matches(pod.metadata.labels):
                parts += selector.requirements
        for owner in pod.metadata.owner_references:
            kind = _OF_OWNER.get(owner.kind) if owner.controller else None
            found = self._caches[kind].get(f"{namespace}/{owner.name}") if kind is not None else None
            if found is not None and found[1] is not NOTHING:
                parts += found[1].requirements
        return Selector(tuple(parts)) if parts else None
