"""Volumes with real mounts (root): the kernel's answers, not ours, decide."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aio.executors import Executors
from kube.objects.core_v1 import Pod
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.mounts import SubPath
from kubelet.volumes.mountinfo import mounts_below
from kubelet.volumes.mounting import MS_BIND, LinuxMounter, MountRequest
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import MountWishes, PodVolumes
from kubelet.volumes.subpath import prepare_subpath
from kubelet.volumes.trees import remove_tree, set_group

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
]

GID = 54321
AT_FDCWD = -100
RENAME_EXCHANGE = 2


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nothing is left mounted, whatever the test does."""
    yield tmp_path
    mounter = LinuxMounter()
    for mount in mounts_below(mounter.table(str(tmp_path)), str(tmp_path)):
        mounter.unmount(mount.path)


def mounted(root: Path) -> list[str]:
    return [mount.path for mount in mounts_below(LinuxMounter().table(str(root)), str(root))]


def make_volumes(root: Path) -> PodVolumes:
    facts = NodeFacts(
        "n1",
        root_dir=str(root / "kubelet"),
        pod_logs_dir=str(root / "logs"),
        allocatable={"memory": "256Mi"},
        hosts_path="/etc/hosts",
    )
    mounter = LinuxMounter()
    return PodVolumes(builtin_plugins(mounter, lambda: facts), mounter, Executors(), lambda: facts)


def make_pod(**spec: Any) -> Pod:
    volumes = [
        {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "me", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    mounts = [
        {"name": "mem", "mountPath": "/mem", "subPath": "a"},
        {"name": "me", "mountPath": "/n", "subPath": "n"},
    ]
    body = {"volumes": volumes, "containers": [{"name": "c", "volumeMounts": mounts}], **spec}
    return msgspec.convert({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": body}, Pod)


@pytest.mark.asyncio
async def test_a_pods_volumes_are_really_mounted_and_leave_nothing(root: Path) -> None:
    volumes = make_volumes(root)
    pod = make_pod(securityContext={"fsGroup": GID})
    ready = await volumes.mount_all(pod)
    memory = Path(ready["mem"].host_path)
    assert os.statvfs(memory).f_blocks * os.statvfs(memory).f_frsize == 1 << 20
    with pytest.raises(OSError, match="No space left"):
        (memory / "big").write_bytes(b"x" * (2 << 20))
    (memory / "big").unlink()
    for name in ("mem", "disk"):
        state = Path(ready[name].host_path).stat()
        assert (state.st_gid, stat.S_IMODE(state.st_mode) & 0o2777) == (GID, 0o2777)
    shown = Path(ready["me"].host_path) / "n"
    assert (shown.read_text(), shown.stat().st_gid) == ("web", GID)
    found = await volumes.container_mounts(pod, pod.spec.containers[0], MountWishes(0, ("10.0.0.1",)))
    assert Path(found[1].host_path).read_text() == "web"
    made = memory / "a"
    assert (made.stat().st_gid, stat.S_IMODE(made.stat().st_mode) & 0o2777) == (GID, 0o2777)
    (made / "f").write_text("same")
    assert (Path(found[0].host_path) / "f").read_text() == "same"
    assert len(mounted(root)) == 4
    await volumes.unmount_all("u1")
    assert mounted(root) == []
    await volumes.remove_pod_dir("u1")
    assert not (root / "kubelet/pods/u1").exists()


@pytest.mark.asyncio
async def test_an_agent_that_was_killed_is_followed_by_one_that_cleans_up(root: Path) -> None:
    first = make_volumes(root)
    pod = make_pod()
    await first.mount_all(pod)
    before = await first.container_mounts(pod, pod.spec.containers[0], MountWishes())
    table = mounted(root)
    second = make_volumes(root)  # knows nothing
    await second.mount_all(pod)
    assert await second.container_mounts(pod, pod.spec.containers[0], MountWishes()) == before
    assert mounted(root) == table
    third = make_volumes(root)
    (orphan,) = await third.orphans(set())
    assert orphan.mounts == tuple(table)
    await third.unmount_all("u1")
    assert mounted(root) == []


@pytest.mark.asyncio
async def test_a_bind_into_a_volume_keeps_what_it_shows(root: Path) -> None:
    volumes = make_volumes(root)
    ready = await volumes.mount_all(make_pod())
    precious = root / "precious"
    precious.mkdir()
    (precious / "f").write_text("x")
    # A bind of the same filesystem: device numbers are equal, only the mount differs.
    inside = Path(ready["disk"].host_path) / "mnt"
    inside.mkdir()
    LinuxMounter().mount(MountRequest(str(precious), str(inside), flags=MS_BIND))
    with pytest.raises(VolumeError, match="still mounted inside"):
        await volumes.unmount_all("u1")
    with pytest.raises(VolumeError, match="it is a mount point"):
        remove_tree(ready["disk"].host_path)
    assert (precious / "f").read_text() == "x"
    LinuxMounter().unmount(str(inside))
    await volumes.unmount_all("u1")
    assert mounted(root) == []


def test_a_busy_volume_is_not_detached_behind_its_user(root: Path) -> None:
    mounter = LinuxMounter()
    place = root / "m"
    place.mkdir()
    mounter.mount(MountRequest("tmpfs", str(place), "tmpfs"))
    with open(place / "f", "w"):
        with pytest.raises(OSError, match="busy") as busy:
            mounter.unmount(str(place))
        assert busy.value.errno == errno.EBUSY
    mounter.unmount(str(place))
    with pytest.raises(OSError, match="cannot unmount") as twice:
        mounter.unmount(str(place))
    assert twice.value.errno == errno.EINVAL


def test_a_link_swapped_in_under_a_sub_path_never_leads_out(root: Path) -> None:
    """One thread exchanges a directory for a link to a secret while subPaths are prepared."""
    volume, secret, pod_dir = root / "v", root / "secret", root / "pod"
    for place in (volume / "real", secret, pod_dir):
        place.mkdir(parents=True)
    (secret / "key").write_text("x")
    (volume / "evil").symlink_to(secret)
    done = threading.Event()
    libc = ctypes.CDLL(None, use_errno=True)

    def swap() -> None:
        """With pauses of every length about a preparation's own: some see it change, some do not."""
        real, evil = os.fsencode(volume / "real"), os.fsencode(volume / "evil")
        pauses = itertools.cycle((0.0, 0.0, 0.0002, 0.0, 0.001, 0.02))
        while not done.wait(next(pauses)):
            assert libc.renameat2(AT_FDCWD, real, AT_FDCWD, evil, RENAME_EXCHANGE) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    mounter, bound, refused = LinuxMounter(), 0, 0
    try:
        for index in range(300):
            try:
                target = prepare_subpath(mounter, str(pod_dir), "c", SubPath("v", str(volume), "real", index))
            except VolumeError:
                refused += 1
                continue
            bound += 1
            assert not (Path(target) / "key").exists()
            mounter.unmount(target)
    finally:
        done.set()
        thread.join()
    assert bound + refused == 300
    assert bound > 0


def test_an_fs_group_reaches_files_and_links_but_not_what_links_point_to(root: Path) -> None:
    volume = root / "v"
    (volume / "d").mkdir(parents=True)
    (volume / "d/f").write_text("x")
    outside = root / "outside"
    outside.write_text("x")
    (volume / "link").symlink_to(outside)
    set_group(str(volume), GID)
    groups = {
        path.name: path.lstat().st_gid for path in (volume, volume / "d", volume / "d/f", volume / "link")
    }
    assert set(groups.values()) == {GID}
    assert outside.stat().st_gid == 0
