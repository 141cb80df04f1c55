"""What to do about the API's copy of one static pod (pure).

A mirror pod shows a static pod in the API; it orders nothing. Rules: pkg/kubelet/pod/mirror_client.go and
kubelet.go tryReconcileMirrorPods (Kubernetes 1.36): the annotation kubernetes.io/config.mirror holds the hash
of the static pod, the node owns the copy, and a copy that is of another hash, or that a user has deleted, is
taken away for good and made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from kube import objects
from kube.meta import CONFIG_HASH, CONFIG_MIRROR, is_deleting
from kube.objects.core_v1 import Pod
from kubelet.sources.model import CONFIG_ORIGIN


@dataclass(frozen=True, slots=True)
class NodeOwner:
    """The node as it stands in the API; without its `uid` no mirror pod can be made."""

    name: str
    uid: str


class MirrorStep(Enum):
    NOTHING = "the copy is as it should be"
    CREATE = "the static pod has no copy"
    DELETE_OUTDATED = "the copy is of another version of the static pod"
    DELETE_DELETED = "the copy was deleted by somebody and is made anew"
    DELETE_ORPHAN = "the copy has no static pod"

    @property
    def is_delete(self) -> bool:
        return self not in (MirrorStep.NOTHING, MirrorStep.CREATE)


def plan_mirror(static: Pod | None, mirror: Pod | None, *, may_orphan: bool) -> MirrorStep:
    """The next step. `may_orphan`: every source has delivered, so a copy without a static pod is nobody's."""
    if mirror is None:
        return MirrorStep.NOTHING if static is None else MirrorStep.CREATE
    if static is None:
        return MirrorStep.DELETE_ORPHAN if may_orphan else MirrorStep.NOTHING
    if not is_copy_of(mirror, static):
        return MirrorStep.DELETE_OUTDATED
    return MirrorStep.DELETE_DELETED if is_deleting(mirror) else MirrorStep.NOTHING


def is_copy_of(mirror: Pod, static: Pod) -> bool:
    """Whether the mirror pod is of this very version of the static pod (IsMirrorPodOf)."""
    one, other = mirror.metadata, static.metadata
    if (one.name, one.namespace) != (other.name, other.namespace):
        return False
    return one.annotations.get(CONFIG_MIRROR) == hash_of(static)


def hash_of(static: Pod) -> str:
    """What identifies the version of a static pod: the annotation its source gave it."""
    return static.metadata.annotations.get(CONFIG_HASH, "")


def mirror_body(static: Pod, node: NodeOwner) -> dict[str, Any]:
    """The mirror pod to create. The path of the manifest on this host stays on this host."""
    meta = static.metadata
    annotations = {key: text for key, text in meta.annotations.items() if key != CONFIG_ORIGIN}
    annotations[CONFIG_MIRROR] = hash_of(static)
    metadata: dict[str, Any] = {
        "name": meta.name,
        "namespace": meta.namespace,
        "annotations": annotations,
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid, "controller": True}
        ],
    }
    if meta.labels:
        metadata["labels"] = dict(meta.labels)
    if meta.finalizers:
        metadata["finalizers"] = list(meta.finalizers)
    spec = objects.to_json(static.spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
