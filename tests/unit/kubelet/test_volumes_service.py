"""Volumes of whole pods: set up, repeated, taken down, found again, with a mount table in memory."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from kube.objects.core_v1 import Pod
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.errors import ContainerConfigError
from kubelet.volumes.empty_dir import medium_mount
from kubelet.volumes.fake import FakeMounter
from kubelet.volumes.host_path import check_host_path
from kubelet.volumes.leftovers import VolumeOnDisk, orphans, pods_on_disk
from kubelet.volumes.mountinfo import MountPoint, mounts_below, parse_mountinfo
from kubelet.volumes.mounting import make_shared
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import MountWishes, PodVolumes

pytestmark = pytest.mark.pure
T = TypeVar("T")
GIB = 1 << 30


class Inline:
    """Runs the call at once; `hang` makes it time out instead."""

    def __init__(self) -> None:
        self.hang = False
        self.calls: list[tuple[str, Any]] = []

    async def run(
        self, kind: str, fn: Callable[..., T], *args: Any, key: Any = None, timeout: float | None = None
    ) -> T:
        self.calls.append((kind, key))
        if self.hang:
            raise TimeoutError
        await asyncio.sleep(0)
        return fn(*args)


class Node:
    """A node in a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.root = root / "kubelet"
        (root / "hosts").write_text("127.0.0.1 node\n")
        self.facts = NodeFacts(
            "n1",
            root_dir=str(self.root),
            pod_logs_dir=str(root / "logs"),
            allocatable={"memory": "1Gi", "cpu": "2"},
            hosts_path=str(root / "hosts"),
        )
        self.mounter = FakeMounter()
        self.offload = Inline()
        self.volumes = self.restarted()

    def restarted(self) -> PodVolumes:
        plugins = builtin_plugins(self.mounter, lambda: self.facts)
        return PodVolumes(plugins, self.mounter, self.offload, lambda: self.facts)

    def path(self, kind: str, name: str) -> Path:
        return self.root / "pods/u1/volumes" / kind / name


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def make_pod(*volumes: dict[str, Any], container: dict[str, Any] | None = None, **spec: Any) -> Pod:
    metadata = {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "x"}}
    box = {"name": "c", "terminationMessagePath": "/dev/termination-log", **(container or {})}
    return msgspec.convert(
        {"metadata": metadata, "spec": {**spec, "volumes": list(volumes), "containers": [box]}}, Pod
    )


EMPTY = {"name": "e", "emptyDir": {}}
MEMORY = {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
LABELS = {
    "name": "d",
    "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]},
}


@pytest.mark.asyncio
async def test_volumes_are_set_up_and_taken_down(node: Node) -> None:
    pod = make_pod(EMPTY, MEMORY, LABELS, {"name": "h", "hostPath": {"path": "/"}})
    ready = await node.volumes.mount_all(pod)
    assert ready["e"].host_path == str(node.path("kubernetes.io~empty-dir", "e"))
    assert stat.S_IMODE(Path(ready["e"].host_path).stat().st_mode) == 0o777
    assert ready["h"].host_path == "/"
    assert (Path(ready["d"].host_path) / "l").read_text() == 'app="x"'
    assert ready["d"].read_only
    assert node.volumes.mounted("u1") == ready
    assert node.mounter.calls == [
        f"mount tmpfs size={64 << 20},noswap {ready['m'].host_path}",
        f"mount tmpfs size={GIB},noswap {ready['d'].host_path}",
    ]
    assert set(node.offload.calls) == {("mount", "u1")}
    await node.volumes.unmount_all("u1")
    assert node.mounter.points == []
    assert not (node.root / "pods/u1/volumes").exists()
    assert node.volumes.mounted("u1") is None
    await node.volumes.unmount_all("u1")
    await node.volumes.remove_pod_dir("u1")
    assert not (node.root / "pods/u1").exists()


@pytest.mark.asyncio
async def test_a_restarted_agent_adopts_volumes_as_they_are(node: Node) -> None:
    ready = await node.volumes.mount_all(make_pod(EMPTY, MEMORY))
    (Path(ready["e"].host_path) / "f").write_text("kept")
    Path(ready["e"].host_path).chmod(0o700)  # a container's own doing
    again = await node.restarted().mount_all(make_pod(EMPTY, MEMORY))
    assert again == ready
    assert (Path(ready["e"].host_path) / "f").read_text() == "kept"
    assert stat.S_IMODE(Path(ready["e"].host_path).stat().st_mode) == 0o700
    assert len(node.mounter.points) == 1


@pytest.mark.asyncio
async def test_after_a_reboot_memory_is_mounted_again(node: Node) -> None:
    await node.volumes.mount_all(make_pod(MEMORY))
    node.mounter.points.clear()
    await node.restarted().mount_all(make_pod(MEMORY))
    assert len(node.mounter.points) == 1


@pytest.mark.asyncio
async def test_a_set_up_cut_short_is_finished(node: Node) -> None:
    node.mounter.refuse("mount", errno.EIO)
    with pytest.raises(VolumeError, match='SetUp failed for volume "m"'):
        await node.volumes.mount_all(make_pod(EMPTY, MEMORY, securityContext={"fsGroup": os.getgid()}))
    assert node.volumes.mounted("u1") is None
    await node.volumes.mount_all(make_pod(EMPTY, MEMORY, securityContext={"fsGroup": os.getgid()}))
    place = node.path("kubernetes.io~empty-dir", "e")
    assert stat.S_IMODE(place.stat().st_mode) & 0o2777 == 0o2777


@pytest.mark.asyncio
async def test_a_kernel_without_noswap_gets_memory_all_the_same(node: Node) -> None:
    node.mounter.refuse("mount", errno.EINVAL)
    await node.volumes.mount_all(make_pod(MEMORY))
    assert [call.split()[2] for call in node.mounter.calls] == [f"size={64 << 20},noswap", f"size={64 << 20}"]


@pytest.mark.asyncio
async def test_one_volume_that_hangs_on_does_not_keep_the_others(node: Node) -> None:
    await node.volumes.mount_all(make_pod(MEMORY, LABELS))
    node.mounter.refuse("unmount", errno.EBUSY)
    with pytest.raises(VolumeError, match=r'cannot unmount the volumes of pod "u1": .*busy'):
        await node.volumes.unmount_all("u1")
    assert len(node.mounter.points) == 1
    with pytest.raises(VolumeError, match="is mounted"):
        await node.volumes.remove_pod_dir("u1")
    await node.volumes.unmount_all("u1")
    assert node.mounter.points == []


@pytest.mark.asyncio
async def test_nothing_is_deleted_beyond_a_foreign_mount(node: Node) -> None:
    ready = await node.volumes.mount_all(make_pod(EMPTY))
    inside = Path(ready["e"].host_path) / "mnt"
    inside.mkdir()
    (inside / "precious").write_text("x")
    node.mounter.points.append(parse_mountinfo(f"9 1 8:1 / {inside} rw - ext4 /dev/x rw")[0])
    with pytest.raises(VolumeError, match=f'"{inside}" is still mounted inside of it'):
        await node.volumes.unmount_all("u1")
    assert (inside / "precious").exists()


@pytest.mark.asyncio
async def test_a_volume_of_an_unknown_kind_is_taken_down_too(node: Node) -> None:
    place = node.path("kubernetes.io~csi", "pv1")
    (place / "mount").mkdir(parents=True)
    assert (await node.volumes.on_disk())["u1"].volumes == (VolumeOnDisk("kubernetes.io~csi", "pv1"),)
    with pytest.raises(VolumeError, match="volumes are left in it"):
        await node.volumes.remove_pod_dir("u1")
    await node.volumes.unmount_all("u1")
    assert not place.exists()


@pytest.mark.asyncio
async def test_orphans_are_found_from_disk_and_mount_table(node: Node) -> None:
    await node.volumes.mount_all(make_pod(MEMORY))
    fresh = node.restarted()
    (orphan,) = await fresh.orphans({"other"})
    assert (orphan.uid, orphan.holds_volumes) == ("u1", True)
    assert orphan.mounts == (str(node.path("kubernetes.io~empty-dir", "m")),)
    assert await fresh.orphans({"u1"}) == ()
    await fresh.unmount_all("u1")
    (orphan,) = await fresh.orphans(set())
    assert not orphan.holds_volumes


@pytest.mark.asyncio
async def test_a_timeout_is_told_as_upstream_tells_it(node: Node) -> None:
    node.offload.hang = True
    with pytest.raises(VolumeError) as late:
        await node.volumes.mount_all(make_pod(EMPTY, MEMORY))
    assert late.value.message == (
        "Unable to attach or mount volumes: unmounted volumes=[e m], unattached volumes=[], "
        "failed to process volumes=[]: timed out waiting for the condition"
    )
    assert late.value.reason == "FailedMount"


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ({"nfs": {"server": "s", "path": "/p"}}, "nfs volumes are not supported by this agent"),
        ({"configMap": {"name": "x"}}, "cannot read configmap shop/x: because this agent has no API server"),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "x"}}]}},
            "unsupported fieldPath: x",
        ),
        ({"image": {"reference": "x"}}, "the container runtime does not support image volumes"),
        ({"hostPath": {"path": "/nope", "type": "File"}}, "hostPath type check failed: /nope is not a file"),
        (
            {"projected": {"sources": [{"secret": {"name": "x"}}]}},
            "cannot read secret shop/x: because this agent has no API server",
        ),
        ({"emptyDir": {"medium": "Paper"}}, 'unknown storage medium "Paper"'),
    ],
)
@pytest.mark.asyncio
async def test_a_volume_that_cannot_be_says_why(node: Node, volume: dict[str, Any], why: str) -> None:
    with pytest.raises(VolumeError) as refused:
        await node.volumes.mount_all(make_pod({"name": "v", **volume}))
    assert refused.value.message == f'MountVolume.SetUp failed for volume "v" : {why}'


@pytest.mark.asyncio
async def test_projected_files_get_the_pods_group_and_item_modes(node: Node) -> None:
    items = [{"path": "a/uid", "fieldRef": {"fieldPath": "metadata.uid"}, "mode": 0o400}]
    volume = {
        "name": "p",
        "projected": {"defaultMode": 0o600, "sources": [{"downwardAPI": {"items": items}}]},
    }
    ready = await node.volumes.mount_all(make_pod(volume, securityContext={"fsGroup": os.getgid()}))
    shown = Path(ready["p"].host_path) / "a/uid"
    assert shown.read_text() == "u1"
    assert stat.S_IMODE(shown.stat().st_mode) == 0o440


@pytest.mark.asyncio
async def test_an_image_volume_is_resolved_by_the_image_service(node: Node) -> None:
    async def resolve(_pod: Pod, volume: Any) -> str:
        return f"id-of-{volume.image.reference}"

    service = PodVolumes((), node.mounter, node.offload, lambda: node.facts, resolve)
    ready = await service.mount_all(make_pod({"name": "i", "image": {"reference": "busybox"}}))
    assert (ready["i"].image, ready["i"].host_path, ready["i"].read_only) == ("id-of-busybox", "", True)


@pytest.mark.asyncio
async def test_a_containers_files_are_made_in_one_hop(node: Node) -> None:
    mounts = [{"name": "e", "mountPath": "/data", "subPath": "s"}]
    pod = make_pod(EMPTY, container={"volumeMounts": mounts})
    await node.volumes.mount_all(pod)
    node.offload.calls.clear()
    wishes = MountWishes(2, ("10.0.0.7",))
    found = await node.volumes.container_mounts(pod, pod.spec.containers[0], wishes)
    assert [mount.container_path for mount in found] == ["/data", "/etc/hosts", "/dev/termination-log"]
    assert node.offload.calls == [("mount", "u1")]
    data, hosts, message = (Path(mount.host_path) for mount in found)
    assert data == node.root / "pods/u1/volume-subpaths/e/c/0"
    assert hosts.read_text().endswith("10.0.0.7\tweb\n")
    assert stat.S_IMODE(message.stat().st_mode) == 0o666
    assert (node.root.parent / "logs/shop_web_u1/c").is_dir()
    inode = hosts.stat().st_ino
    await node.volumes.container_mounts(pod, pod.spec.containers[0], MountWishes(3, ("10.0.0.8",)))
    assert hosts.read_text().endswith("10.0.0.8\tweb\n")
    assert hosts.stat().st_ino == inode  # running containers have this very file mounted
    await node.volumes.unmount_all("u1")
    assert node.mounter.points == []


@pytest.mark.asyncio
async def test_a_host_network_pod_gets_the_nodes_hosts_file(node: Node) -> None:
    pod = make_pod(hostNetwork=True, hostAliases=[{"ip": "1.2.3.4", "hostnames": ["x"]}])
    await node.volumes.mount_all(pod)
    found = await node.volumes.container_mounts(pod, pod.spec.containers[0], MountWishes(0, ("192.168.0.1",)))
    assert Path(found[0].host_path).read_text() == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 node\n"
        "\n# Entries added by HostAliases.\n1.2.3.4\tx\n"
    )


@pytest.mark.asyncio
async def test_no_container_is_described_before_its_volumes_are_there(node: Node) -> None:
    pod = make_pod(EMPTY, container={"volumeMounts": [{"name": "z", "mountPath": "/z"}]})
    with pytest.raises(VolumeError, match="not mounted yet"):
        await node.volumes.container_mounts(pod, pod.spec.containers[0], MountWishes())
    await node.volumes.mount_all(pod)
    with pytest.raises(ContainerConfigError, match='cannot find volume "z"'):
        await node.volumes.container_mounts(pod, pod.spec.containers[0], MountWishes())


@pytest.mark.parametrize(
    ("kind", "noun"),
    [
        ("Directory", "directory"),
        ("DirectoryOrCreate", "directory"),
        ("File", "file"),
        ("FileOrCreate", "file"),
        ("Socket", "socket file"),
        ("CharDevice", "character device"),
        ("BlockDevice", "block device"),
    ],
)
def test_host_path_types_are_checked_with_upstreams_errors(tmp_path: Path, kind: str, noun: str) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir() if "File" in kind else wrong.touch()
    with pytest.raises(VolumeError) as refused:
        check_host_path(str(wrong), kind)
    assert refused.value.message == f"hostPath type check failed: {wrong} is not a {noun}"


def test_host_paths_that_fit_pass_and_missing_ones_are_made(tmp_path: Path) -> None:
    check_host_path(str(tmp_path / "anything"), "")
    assert not (tmp_path / "anything").exists()
    check_host_path("/dev/null", "CharDevice")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        check_host_path(str(tmp_path / "s"), "Socket")
    check_host_path(str(tmp_path / "a/b"), "DirectoryOrCreate")
    check_host_path(str(tmp_path / "a/b"), "Directory")
    check_host_path(str(tmp_path / "a/f"), "FileOrCreate")
    assert stat.S_IMODE((tmp_path / "a/f").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755
    with pytest.raises(FileNotFoundError):
        check_host_path(str(tmp_path / "no/parent/f"), "FileOrCreate")
    with pytest.raises(VolumeError, match="Paper is an invalid volume type"):
        check_host_path("/", "Paper")


@pytest.mark.parametrize(
    ("source", "spec", "expected"),
    [
        ({}, {}, ("", "")),
        ({"medium": "Memory"}, {}, ("tmpfs", f"size={GIB},noswap")),
        ({"medium": "Memory", "sizeLimit": "2Gi"}, {}, ("tmpfs", f"size={GIB},noswap")),
        (
            {"medium": "Memory"},
            {"resources": {"limits": {"memory": "1Mi"}}},
            ("tmpfs", f"size={1 << 20},noswap"),
        ),
        ({"medium": "HugePages-2Mi"}, {}, ("hugetlbfs", "pagesize=2M")),
        ({"medium": "HugePages"}, {}, ("hugetlbfs", "pagesize=2M")),
    ],
)
def test_mediums(source: dict[str, Any], spec: dict[str, Any], expected: tuple[str, str]) -> None:
    huge = {"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}
    pod = make_pod({"name": "e", "emptyDir": source}, container=huge, **spec)
    empty_dir = pod.spec.volumes[0].empty_dir
    assert empty_dir is not None
    assert medium_mount(pod, empty_dir, GIB) == expected


MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:50 / /r/pods/u1/volumes/kubernetes.io~empty-dir/m rw - tmpfs tmpfs rw,size=1024k
41 40 0:50 /a\040b /r/pods/u1/volume-subpaths/m/c/0 rw master:3 - tmpfs tmpfs rw
42 27 0:51 / /r/pods/u2/volumes/kubernetes.io~empty-dir/with\040blank rw - tmpfs tmpfs rw
43 27 0:52 / /r/pods-other rw - tmpfs tmpfs rw
""".strip()


def test_the_mount_table_is_parsed_with_its_escapes() -> None:
    table = parse_mountinfo(MOUNTINFO)
    assert len(table) == 6
    assert table[1] == MountPoint(
        27, 1, "254:0", "/", "/", ("rw", "relatime"), ("shared:1",), "ext4", "/dev/vda", ("rw", "discard")
    )
    assert table[1].is_shared
    assert (table[3].root, table[3].is_shared) == ("/a b", False)
    with pytest.raises(ValueError, match="not a mountinfo line"):
        parse_mountinfo("nonsense")


def test_only_lines_that_matter_are_parsed() -> None:
    blank = "/r/pods/u2/volumes/kubernetes.io~empty-dir/with blank"
    assert [mount.path for mount in parse_mountinfo(MOUNTINFO, blank)] == [blank]


def test_mounts_are_undone_deepest_and_newest_first() -> None:
    lines = [
        f"{n} 1 0:1 / {path} rw - tmpfs t rw" for n, path in enumerate(["/a", "/a/b/c", "/a/b", "/ab", "/a"])
    ]
    found = mounts_below(parse_mountinfo("\n".join(lines)), "/a")
    assert [(mount.id, mount.path) for mount in found] == [(1, "/a/b/c"), (2, "/a/b"), (4, "/a"), (0, "/a")]


def test_leftovers_belong_to_the_pod_of_their_directory() -> None:
    disk = {"u1": [VolumeOnDisk("kubernetes.io~empty-dir", "m")], "u3": []}
    pods = pods_on_disk("/r/pods", disk, parse_mountinfo(MOUNTINFO))
    assert sorted(pods) == ["u1", "u2", "u3"]
    assert pods["u1"].mounts == (
        "/r/pods/u1/volume-subpaths/m/c/0",
        "/r/pods/u1/volumes/kubernetes.io~empty-dir/m",
    )
    assert pods["u2"].mounts == ("/r/pods/u2/volumes/kubernetes.io~empty-dir/with blank",)
    assert [pod.uid for pod in orphans(pods, {"u1"})] == ["u2", "u3"]


def test_a_private_root_directory_becomes_a_shared_mount_and_a_shared_one_stays() -> None:
    mounter = FakeMounter()
    mounter.points.extend(parse_mountinfo("1 0 8:1 / / rw - ext4 /dev/x rw"))
    make_shared(mounter, "/tmp")
    assert [call.split()[1] for call in mounter.calls] == ["bind", "bind"]
    shared = FakeMounter()
    shared.points.extend(parse_mountinfo("1 0 8:1 / / rw shared:1 - ext4 /dev/x rw"))
    make_shared(shared, "/tmp")
    assert shared.calls == []
