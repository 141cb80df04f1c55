"""What to do about the API's copy of a static pod."""

from __future__ import annotations

import msgspec
import pytest

from kube.meta import CONFIG_HASH, CONFIG_MIRROR
from kube.objects.core_v1 import Container, Pod, PodSpec
from kube.objects.meta_v1 import ObjectMeta
from kubelet.plan_mirror import MirrorStep, NodeOwner, is_copy_of, mirror_body, plan_mirror
from kubelet.sources.model import CONFIG_ORIGIN

pytestmark = pytest.mark.pure

NODE = NodeOwner("node-1", "node-uid")


def static(text: str = "h1") -> Pod:
    annotations = {CONFIG_HASH: text, CONFIG_ORIGIN: "/etc/manifests/web.yaml", "team": "a"}
    metadata = ObjectMeta(
        name="web-node-1", namespace="default", uid=text, labels={"app": "web"}, annotations=annotations
    )
    return Pod(metadata=metadata, spec=PodSpec(containers=(Container(name="app"),), node_name="node-1"))


def mirror(text: str = "h1", *, deleting: bool = False, name: str = "web-node-1") -> Pod:
    stamp = "2026-01-01T00:00:00Z" if deleting else None
    metadata = ObjectMeta(
        name=name, namespace="default", uid="m", annotations={CONFIG_MIRROR: text}, deletion_timestamp=stamp
    )
    return Pod(metadata=metadata)


@pytest.mark.parametrize(
    ("wanted", "found", "may_orphan", "step"),
    [
        (None, None, True, MirrorStep.NOTHING),
        (static(), None, False, MirrorStep.CREATE),
        (static(), mirror(), True, MirrorStep.NOTHING),
        (static("h2"), mirror("h1"), False, MirrorStep.DELETE_OUTDATED),
        (static(), mirror(deleting=True), True, MirrorStep.DELETE_DELETED),
        (None, mirror(), True, MirrorStep.DELETE_ORPHAN),
        (None, mirror(), False, MirrorStep.NOTHING),
    ],
)
def test_step(wanted: Pod | None, found: Pod | None, may_orphan: bool, step: MirrorStep) -> None:
    assert plan_mirror(wanted, found, may_orphan=may_orphan) is step
    assert step.is_delete == step.name.startswith("DELETE")


def test_copy_is_told_by_name_and_hash() -> None:
    assert is_copy_of(mirror(), static())
    assert not is_copy_of(mirror("h2"), static())
    assert not is_copy_of(mirror(name="other-node-1"), static())


def test_copy_belongs_to_the_node_and_keeps_what_users_wrote() -> None:
    body = mirror_body(static(), NODE)
    meta = body["metadata"]
    assert meta["annotations"] == {CONFIG_HASH: "h1", CONFIG_MIRROR: "h1", "team": "a"}
    assert meta["labels"] == {"app": "web"} and "uid" not in meta
    (owner,) = meta["ownerReferences"]
    assert owner == {
        "apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "node-uid", "controller": True,
    }  # fmt: skip
    assert body["spec"]["nodeName"] == "node-1" and "status" not in body
    assert msgspec.json.encode(body)
