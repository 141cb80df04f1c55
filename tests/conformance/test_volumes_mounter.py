"""The mount table in memory and the kernel's keep the same rules."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelet.volumes.fake import FakeMounter
from kubelet.volumes.mountinfo import mounts_below
from kubelet.volumes.mounting import MS_BIND, LinuxMounter, Mounter, MountRequest

pytestmark = pytest.mark.conformance


@pytest.fixture(params=["fake", "linux"])
def mounter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mounter]:
    if request.param == "linux" and os.geteuid() != 0:
        pytest.skip("mounting needs root")
    chosen: Mounter = LinuxMounter() if request.param == "linux" else FakeMounter()
    yield chosen
    for mount in mounts_below(chosen.table(str(tmp_path)), str(tmp_path)):
        chosen.unmount(mount.path)


def paths(mounter: Mounter, below: Path) -> list[str]:
    return [mount.path for mount in mounts_below(mounter.table(str(below)), str(below))]


def make_tmpfs(mounter: Mounter, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    mounter.mount(MountRequest("tmpfs", str(place), "tmpfs", data="size=65536"))


def test_a_mount_is_in_the_table_until_it_is_unmounted(mounter: Mounter, tmp_path: Path) -> None:
    place = tmp_path / "with blank"
    make_tmpfs(mounter, place)
    (mount,) = mounts_below(mounter.table(str(place)), str(place))
    assert (mount.path, mount.fs_type) == (str(place), "tmpfs")
    mounter.unmount(str(place))
    assert paths(mounter, tmp_path) == []


def test_mounts_stack_and_the_topmost_goes_first(mounter: Mounter, tmp_path: Path) -> None:
    make_tmpfs(mounter, tmp_path / "m")
    make_tmpfs(mounter, tmp_path / "m")
    assert len(paths(mounter, tmp_path)) == 2
    mounter.unmount(str(tmp_path / "m"))
    assert len(paths(mounter, tmp_path)) == 1


def test_a_mount_with_another_inside_is_busy(mounter: Mounter, tmp_path: Path) -> None:
    make_tmpfs(mounter, tmp_path / "m")
    make_tmpfs(mounter, tmp_path / "m/inner")
    with pytest.raises(OSError, match="busy") as busy:
        mounter.unmount(str(tmp_path / "m"))
    assert busy.value.errno == errno.EBUSY
    assert paths(mounter, tmp_path) == [str(tmp_path / "m/inner"), str(tmp_path / "m")]


def test_unmounting_what_is_not_mounted_is_an_invalid_argument(mounter: Mounter, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument") as refused:
        mounter.unmount(str(tmp_path))
    assert refused.value.errno == errno.EINVAL


def test_a_target_must_exist(mounter: Mounter, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as refused:
        mounter.mount(MountRequest("tmpfs", str(tmp_path / "no"), "tmpfs"))
    assert refused.value.errno == errno.ENOENT


def test_a_bind_through_a_descriptor_is_a_mount_like_any_other(mounter: Mounter, tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    fd = os.open(tmp_path / "source", os.O_PATH)
    try:
        mounter.mount(MountRequest(f"/proc/self/fd/{fd}", str(tmp_path / "target"), flags=MS_BIND))
    finally:
        os.close(fd)
    assert paths(mounter, tmp_path) == [str(tmp_path / "target")]
