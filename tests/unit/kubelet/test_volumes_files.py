"""Trees, atomic payloads and subPaths on a real directory, with a mount table in memory."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelet.podspec.mounts import SubPath
from kubelet.volumes.atomic_writer import FileProjection, check_payload, write_payload
from kubelet.volumes.fake import FakeMounter
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.subpath import clean_subpaths, prepare_subpath
from kubelet.volumes.trees import remove_tree, set_group

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def file(text: str, bits: int = 0o644) -> FileProjection:
    return FileProjection(text.encode(), bits)


def test_a_tree_is_removed_without_following_links_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "a/link").symlink_to(outside)
    (tree / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(tree / "fifo")
    remove_tree(str(tree))
    assert not tree.exists()
    assert (outside / "precious").read_text() == "x"
    remove_tree(str(tree))  # gone already
    remove_tree(str(tmp_path / "no/such/parent"))


def test_a_tree_nested_without_end_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(str(tree))
    assert not tree.exists()


def test_an_fs_group_gets_modes_or_ed_and_links_stay_links(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    (volume / "d").mkdir(parents=True)
    (volume / "d/f").write_text("x")
    (volume / "d/f").chmod(0o604)
    target = tmp_path / "target"
    target.write_text("x")
    target.chmod(0o600)
    (volume / "link").symlink_to(target)
    set_group(str(volume), os.getgid())
    assert mode(volume / "d/f") == 0o664
    assert mode(volume / "d") & 0o2770 == 0o2770
    assert mode(volume) & 0o2770 == 0o2770
    assert mode(target) == 0o600


def test_on_root_mismatch_leaves_a_volume_whose_top_is_right(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    volume.mkdir()
    (volume / "f").write_text("x")
    (volume / "f").chmod(0o600)
    volume.chmod(0o2770)
    set_group(str(volume), os.getgid(), on_root_mismatch=True)
    assert mode(volume / "f") == 0o600
    volume.chmod(0o770)
    set_group(str(volume), os.getgid(), on_root_mismatch=True)
    assert mode(volume / "f") == 0o660


def test_a_payload_has_the_layout_of_kubernetes(tmp_path: Path) -> None:
    assert write_payload(str(tmp_path), {"a": file("1"), "d/b": file("2", 0o400)}, NOW)
    data = (tmp_path / "..data").readlink()
    assert str(data).startswith("..2026_01_31_23_59_59.")
    assert mode(tmp_path / data) == 0o755
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert (tmp_path / "d").readlink() == Path("..data/d")
    assert mode(tmp_path / data / "d/b") == 0o400
    assert (tmp_path / "a").read_text() == "1"
    assert (tmp_path / "d/b").read_text() == "2"
    assert {entry.name for entry in tmp_path.iterdir()} == {"..data", data.name, "a", "d"}


def test_an_unchanged_payload_writes_nothing(tmp_path: Path) -> None:
    write_payload(str(tmp_path), {"a": file("1")}, NOW)
    before = (tmp_path / "..data").readlink()
    assert not write_payload(str(tmp_path), {"a": file("1")}, NOW)
    assert (tmp_path / "..data").readlink() == before


@pytest.mark.parametrize(
    "changed",
    [{"a": file("2")}, {"a": file("1", 0o600)}, {"a": file("1"), "b": file("")}, {"b": file("1")}, {}],
)
def test_any_change_exchanges_everything_at_once(tmp_path: Path, changed: dict[str, FileProjection]) -> None:
    write_payload(str(tmp_path), {"a": file("1")}, NOW)
    before = (tmp_path / "..data").readlink()
    assert write_payload(str(tmp_path), changed, NOW)
    after = (tmp_path / "..data").readlink()
    assert before != after
    assert {entry.name for entry in tmp_path.iterdir()} == {"..data", after.name, *changed}
    for path, projected in changed.items():
        assert (tmp_path / path).read_bytes() == projected.data
        assert mode((tmp_path / path).resolve()) == projected.mode


def test_files_that_are_being_written_are_for_root_alone(tmp_path: Path) -> None:
    # A path cannot be a file and a directory: the write ends half way.
    with pytest.raises(OSError, match="a"):
        write_payload(str(tmp_path), {"a": file("1", 0o400), "a/b": file("2")}, NOW)
    (half,) = tmp_path.iterdir()
    assert (half / "a").read_text() == "1"
    assert mode(half) == 0o700


def test_an_interrupted_write_is_finished_and_cleaned_up(tmp_path: Path) -> None:
    write_payload(str(tmp_path), {"a": file("1")}, NOW)
    (tmp_path / "..2026_half").mkdir()
    (tmp_path / "..2026_half/a").write_text("half")
    (tmp_path / "..data_tmp").symlink_to("..2026_half")
    (tmp_path / "a").unlink()  # killed after the rename, before the names were shown
    assert not write_payload(str(tmp_path), {"a": file("1")}, NOW)
    data = (tmp_path / "..data").readlink().name
    assert {entry.name for entry in tmp_path.iterdir()} == {"..data", data, "a"}
    assert (tmp_path / "a").read_text() == "1"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/abs",
        "a/../b",
        "..",
        "..data",
        "./..data",
        ".//..x",
        "..x/y",
        ".",
        "x" * 256,
        "/".join(["d" * 200] * 21),
    ],
)
def test_paths_that_could_leave_the_volume_are_refused(path: str) -> None:
    with pytest.raises(VolumeError, match="invalid path"):
        check_payload({path: file("x")})


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    place = tmp_path / "pod/volumes/v"
    place.mkdir(parents=True)
    place.chmod(0o2777)
    return place


def prepare(mounter: FakeMounter, volume: Path, path: str, index: int = 0) -> str:
    pod_dir = str(volume.parent.parent)
    return prepare_subpath(mounter, pod_dir, "c", SubPath("v", str(volume), path, index))


def test_a_sub_path_is_made_with_the_volumes_mode_and_bound(volume: Path) -> None:
    mounter = FakeMounter()
    target = prepare(mounter, volume, "a/b", 3)
    assert target == f"{volume.parent.parent}/volume-subpaths/v/c/3"
    assert mode(volume / "a") == mode(volume / "a/b") == 0o2777
    (bound,) = mounter.points
    assert bound.path == target
    assert bound.source.startswith("/proc/self/fd/")
    assert Path(target).is_dir()


def test_a_file_in_a_volume_is_bound_onto_a_file(volume: Path) -> None:
    (volume / "real").write_text("x")
    (volume / "link").symlink_to("real")  # the atomic writer's layout is made of such
    assert Path(prepare(FakeMounter(), volume, "link")).is_file()


@pytest.mark.parametrize("path", ["out", "out/below", "up", "chain"])
def test_links_out_of_the_volume_are_refused_without_telling_where(
    volume: Path, tmp_path: Path, path: str
) -> None:
    (tmp_path / "secret").mkdir()
    (volume / "out").symlink_to(tmp_path / "secret")
    (volume / "up").symlink_to("../..")
    (volume / "chain").symlink_to("out")
    mounter = FakeMounter()
    with pytest.raises(VolumeError) as refused:
        prepare(mounter, volume, path)
    assert refused.value.message.endswith('for volumeMount "v" of container "c"')
    assert "secret" not in refused.value.message
    assert mounter.points == []
    assert list((tmp_path / "secret").iterdir()) == []


def test_a_dangling_link_is_refused_and_not_followed(volume: Path, tmp_path: Path) -> None:
    (volume / "dangling").symlink_to(tmp_path / "made-outside")
    with pytest.raises(VolumeError, match="failed to prepare subPath"):
        prepare(FakeMounter(), volume, "dangling")
    with pytest.raises(VolumeError, match="failed to create subPath directory"):
        prepare(FakeMounter(), volume, "dangling/below")
    assert not (tmp_path / "made-outside").exists()


def test_preparing_twice_replaces_a_bind_of_something_else(volume: Path) -> None:
    mounter = FakeMounter()
    prepare(mounter, volume, "a")
    prepare(mounter, volume, "a")
    # The fake cannot show the bound directory, so the second look differs and it is bound anew.
    assert [call.split()[0] for call in mounter.calls] == ["mount", "unmount", "mount"]
    assert len(mounter.points) == 1


def test_cleaning_unmounts_before_it_removes(volume: Path) -> None:
    mounter = FakeMounter()
    prepare(mounter, volume, "a", 0)
    prepare(mounter, volume, "b", 1)
    pod_dir = volume.parent.parent
    mounter.refuse("unmount", 16)
    with pytest.raises(OSError, match="busy"):
        clean_subpaths(mounter, str(pod_dir))
    assert (pod_dir / "volume-subpaths").exists()
    clean_subpaths(mounter, str(pod_dir))
    assert mounter.points == []
    assert not (pod_dir / "volume-subpaths").exists()
    clean_subpaths(mounter, str(pod_dir))
    assert (volume / "a").is_dir()
