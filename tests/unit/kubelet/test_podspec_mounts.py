"""Which mounts a container gets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cri.types import IDMapping, ImageSpec, Mount, MountPropagation
from kube.objects.core_v1 import Container
from kubelet.podspec.context import UserNamespaceMapping
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.mounts import MountFacts, SubPath, VolumeView, plan_mounts, wants_etc_hosts

pytestmark = pytest.mark.pure

VOLUMES = {
    "data": VolumeView("/v/data", selinux_relabel=True),
    "ro": VolumeView("/v/ro", read_only=True),
    "img": VolumeView("", read_only=True, image="sha256:1"),
}


def container(*mounts: dict[str, Any]) -> Container:
    return msgspec.convert({"name": "c", "volumeMounts": list(mounts)}, Container)


def plan(mount: dict[str, Any], facts: MountFacts | None = None, **envs: str) -> Any:
    (planned,) = plan_mounts(container(mount), VOLUMES, envs, facts or MountFacts())
    return planned


def test_mounts_keep_their_order_and_modes() -> None:
    found = plan_mounts(
        container(
            {"name": "data", "mountPath": "/d", "readOnly": True, "mountPropagation": "HostToContainer"},
            {"name": "ro", "mountPath": "relative", "mountPropagation": "Bidirectional"},
        ),
        VOLUMES,
        {},
        MountFacts(selinux=True),
    )
    assert [planned.mount for planned in found] == [
        Mount(
            "/d",
            "/v/data",
            readonly=True,
            selinux_relabel=True,
            propagation=MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
        ),
        Mount("/relative", "/v/ro", readonly=True, propagation=MountPropagation.PROPAGATION_BIDIRECTIONAL),
    ]


def test_a_mount_of_an_unknown_volume_is_refused() -> None:
    with pytest.raises(ContainerConfigError) as refused:
        plan({"name": "nope", "mountPath": "/x"})
    assert refused.value.message == 'cannot find volume "nope" to mount into container "c"'


def test_a_sub_path_is_described_not_joined() -> None:
    planned = plan({"name": "data", "mountPath": "/d", "subPath": "a/b"})
    assert planned.sub_path == SubPath("data", "/v/data", "a/b", 0)
    planned = plan({"name": "data", "mountPath": "/d", "subPathExpr": "$(POD)/x"}, POD="p1")
    assert planned.sub_path == SubPath("data", "/v/data", "p1/x", 0)


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"subPath": "/etc"}, "error SubPath `/etc` must not be an absolute path"),
        ({"subPath": "a/../../b"}, "unable to provision SubPath `a/../../b`: must not contain '..'"),
        ({"subPathExpr": "$(A)/$(B)"}, "missing value for B"),
        ({"subPathExpr": "$(UP)"}, "unable to provision SubPath `..`: must not contain '..'"),
        ({"mountPropagation": "Sideways"}, 'invalid MountPropagation mode: "Sideways"'),
        (
            {"recursiveReadOnly": "Enabled"},
            'volume "data" requested recursive read-only mode "Enabled", but it is not read-only',
        ),
        (
            {"recursiveReadOnly": "Enabled", "readOnly": True},
            'volume "data" requested recursive read-only mode, but it is not supported by the runtime',
        ),
        (
            {"recursiveReadOnly": "IfPossible", "readOnly": True, "mountPropagation": "HostToContainer"},
            'volume "data" requested recursive read-only mode "IfPossible", '
            'but it is not compatible with propagation "HostToContainer"',
        ),
    ],
)
def test_impossible_mounts_say_why(mount: dict[str, Any], message: str) -> None:
    with pytest.raises(ContainerConfigError) as refused:
        plan({"name": "data", "mountPath": "/d", **mount}, A="1", UP="..")
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("mode", "supported", "result"),
    [
        ("Enabled", True, True),
        ("IfPossible", True, True),
        ("IfPossible", False, False),
        ("Disabled", True, False),
    ],
)
def test_recursive_read_only(mode: str, supported: bool, result: bool) -> None:
    mount = {"name": "data", "mountPath": "/d", "readOnly": True, "recursiveReadOnly": mode}
    planned = plan(mount, MountFacts(recursive_read_only=supported))
    assert planned.mount.recursive_read_only is result
    assert planned.mount.readonly


def test_an_image_volume_is_mounted_by_the_runtime() -> None:
    planned = plan({"name": "img", "mountPath": "/i", "subPath": "etc"})
    assert planned.mount == Mount(
        "/i", "", readonly=True, image=ImageSpec(image="sha256:1"), image_sub_path="etc"
    )
    assert planned.sub_path is None


def test_ids_are_mapped_in_a_user_namespace() -> None:
    ids = (IDMapping(65536, 0, 65536),)
    planned = plan(
        {"name": "data", "mountPath": "/d"}, MountFacts(user_namespace=UserNamespaceMapping(ids, ids))
    )
    assert (planned.mount.uid_mappings, planned.mount.gid_mappings) == (ids, ids)


def test_the_hosts_file_yields_to_a_mount_of_the_containers_own() -> None:
    assert wants_etc_hosts(container(), ("10.0.0.1",))
    assert not wants_etc_hosts(container(), ())
    assert not wants_etc_hosts(container({"name": "data", "mountPath": "/etc/hosts"}), ("10.0.0.1",))
