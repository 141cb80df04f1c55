"""Image archives: reproducible, readable as OCI layout and docker archive, honest about what is missing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cri import imagefile, imageload
from cri.imagefile import DirEntry, FileEntry, ImageBuildError, ImageConfig, LinkEntry
from cri.imageload import ImageLoadError

pytestmark = pytest.mark.pure

NAMES = ("localhost/a:1", "registry.example:5000/b/c:2")
ENTRIES = (
    FileEntry("bin/tool", b"#!/bin/sh\n", 0o755),
    DirEntry("bin"),
    LinkEntry("bin/sh", "tool"),
    DirEntry("tmp", 0o1777),
)


def contents(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: stream.read() for name, stream in members.items() if stream is not None}


def parsed(archive: bytes, name: str) -> Any:
    return json.loads(contents(archive)[name])


def test_same_input_in_any_order_gives_the_same_bytes() -> None:
    config = ImageConfig(cmd=("sh",))
    first = imagefile.image_bytes(NAMES, ENTRIES, config)
    assert first == imagefile.image_bytes(NAMES, reversed(ENTRIES), config)
    assert first != imagefile.image_bytes(NAMES, ENTRIES, ImageConfig(cmd=("ash",)))


def test_every_blob_has_the_name_of_its_digest_and_the_two_indexes_agree() -> None:
    archive = imagefile.image_bytes(NAMES, ENTRIES, ImageConfig(entrypoint=("/bin/tool",)))
    files = contents(archive)
    for name, blob in files.items():
        if name.startswith("blobs/sha256/"):
            assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"
    index = parsed(archive, "index.json")
    names = [item["annotations"]["io.containerd.image.name"] for item in index["manifests"]]
    assert tuple(names) == NAMES
    (digest,) = {item["digest"] for item in index["manifests"]}
    manifest = json.loads(files["blobs/sha256/" + digest.removeprefix("sha256:")])
    (docker,) = parsed(archive, "manifest.json")
    assert docker["RepoTags"] == list(NAMES)
    assert docker["Config"] == "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")
    config = json.loads(files[docker["Config"]])
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    layer = files[docker["Layers"][0]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]


def test_layer_has_fixed_times_and_owners_and_parents_first() -> None:
    with tarfile.open(fileobj=io.BytesIO(imagefile.layer_bytes(ENTRIES))) as tar:
        seen = [(member.name, member.mode, member.mtime, member.uid, member.gid) for member in tar]
    assert seen == [
        ("bin", 0o755, 0, 0, 0),
        ("bin/sh", 0o777, 0, 0, 0),
        ("bin/tool", 0o755, 0, 0, 0),
        ("tmp", 0o1777, 0, 0, 0),
    ]


@pytest.mark.parametrize("entry", [FileEntry("../x", b""), DirEntry("/"), FileEntry("a/../../b", b"")])
def test_paths_outside_the_image_are_refused(entry: imagefile.Entry) -> None:
    with pytest.raises(ImageBuildError, match="not a path inside"):
        imagefile.layer_bytes([entry])


def test_two_entries_of_one_path_are_refused() -> None:
    with pytest.raises(ImageBuildError, match="twice"):
        imagefile.layer_bytes([FileEntry("a", b"1"), FileEntry("/a", b"2")])


@pytest.mark.parametrize("name", ["busybox:1", "docker.io/library/busybox", "library/busybox:1", ""])
def test_incomplete_names_are_refused(name: str) -> None:
    with pytest.raises(ImageBuildError, match="REGISTRY/PATH:TAG"):
        imagefile.image_bytes([name], ENTRIES, ImageConfig())


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.35", "docker.io/library/busybox:1.35"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app", "host:5000/app:latest"),
        ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
    ],
)
def test_short_names_are_completed(short: str, full: str) -> None:
    assert imagefile.full_name(short) == full


def test_missing_binary_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(ImageBuildError, match="apt-get install catatonit"):
        imagefile.pause_bytes()
    with pytest.raises(ImageBuildError, match="apt-get install busybox-static"):
        imagefile.busybox_bytes()


def test_dynamically_linked_binary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    python = str(Path("/proc/self/exe").readlink())
    monkeypatch.setattr("shutil.which", lambda name, path: python)
    with pytest.raises(ImageBuildError, match="linked dynamically"):
        imagefile.static_binary("busybox", "busybox-static")


def test_file_that_is_no_binary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "busybox"
    script.write_text("#!/bin/sh\n")
    monkeypatch.setattr("shutil.which", lambda name, path: str(script))
    with pytest.raises(ImageBuildError, match="not an ELF"):
        imagefile.static_binary("busybox", "busybox-static")


def test_archive_tells_its_names_and_what_is_none_is_said(tmp_path: Path) -> None:
    path = imagefile.build_image(NAMES, ENTRIES, ImageConfig(), path=tmp_path / "image.tar")
    assert imageload.archive_names(path) == NAMES
    assert [file.name for file in tmp_path.iterdir()] == ["image.tar"]
    path.write_bytes(b"not a tar")
    with pytest.raises(ImageLoadError, match="cannot be read"):
        imageload.archive_names(path)
    path.write_bytes(imagefile.layer_bytes(ENTRIES))
    with pytest.raises(ImageLoadError, match="not an image archive"):
        imageload.archive_names(path)


@pytest.mark.parametrize(
    ("config", "image"),
    [
        ('{"sandboxImage": "a.b/pause:1"}', "a.b/pause:1"),
        ('{"cniConfDir": "/etc"}', ""),
        ('[crio.image]\npause_image = "a.b/pause:2"\n', "a.b/pause:2"),
        ("[]", ""),
        ("", ""),
        ("neither = JSON nor TOML", ""),
    ],
)
def test_sandbox_image_is_read_from_verbose_status(config: str, image: str) -> None:
    assert imageload.sandbox_image_in_status(config) == image


@pytest.mark.parametrize(
    ("config", "image"),
    [
        (
            'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "a.b/pause:1"\n',
            "a.b/pause:1",
        ),
        (
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'a.b/pause:2'\n",
            "a.b/pause:2",
        ),
        ("version = 3\n", ""),
    ],
)
def test_sandbox_image_is_read_from_containerds_configuration(config: str, image: str) -> None:
    assert imageload.sandbox_image_in_dump(config) == image
