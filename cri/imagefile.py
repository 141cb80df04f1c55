"""Container images built from static binaries of this host, with no registry and no network.

An image is one tar that is at the same time an OCI image layout and a `docker save` archive, so containerd,
skopeo and podman all read it. It is reproducible: every time stamp is the epoch, entries are sorted, owners
are numbers, the layer is not compressed; the same binaries always give the same digests.

Two images are built in: pause (catatonit, whose `-P` waits and reaps) and busybox (busybox-static with a link
for each of its applets). Both binaries come from Debian packages, and a missing one is said by package name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAUSE_NAME = "registry.k8s.io/pause:3.10"
BUSYBOX_NAMES = ("docker.io/library/busybox:1.35", "localhost/pykubelet/busybox:1")
EPOCH = "1970-01-01T00:00:00Z"
PT_INTERP = 3
PATH_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# GOARCH names (image-spec, config.md "architecture") for what os.uname() calls the machine.
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
www-data:x:33:
staff:x:50:daemon
nogroup:x:65534:
"""


class ImageBuildError(Exception):
    """An image cannot be built from what this host has, or from what was asked."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file of the root filesystem; `path` is relative to its root."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class DirEntry:
    path: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A symbolic link: `path` points at `target`, which is written as it is."""

    path: str
    target: str


Entry = FileEntry | DirEntry | LinkEntry


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container of the image runs when its creator says nothing (image-spec config.md, `config`)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = (PATH_ENV,)
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        fields: dict[str, object] = {
            "Cmd": list(self.cmd),
            "Entrypoint": list(self.entrypoint),
            "Env": list(self.env),
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
            "User": self.user,
            "WorkingDir": self.working_dir,
        }
        return {name: value for name, value in fields.items() if value}


def build_image(names: Sequence[str], entries: Iterable[Entry], config: ImageConfig, *, path: Path) -> Path:
    """Write the image archive to `path` (replaced whole) and return it.

    `names` are full references ("docker.io/library/busybox:1.35"); all of them name the one image.
    """
    archive = image_bytes(names, entries, config)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(archive)
    partial.replace(path)
    return path


def image_bytes(names: Sequence[str], entries: Iterable[Entry], config: ImageConfig) -> bytes:
    """The image archive in memory. Raises ImageBuildError for a name without registry or tag."""
    if not names:
        raise ImageBuildError("cannot build an image: because it has no name")
    for name in names:
        check_name(name)
    layer = layer_bytes(entries)
    layer_digest = _digest(layer)
    config_blob = _json(
        {
            "architecture": _architecture(),
            "config": config.as_json(),
            "created": EPOCH,
            "history": [{"created": EPOCH, "created_by": "pykubelet"}],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{layer_digest}"], "type": "layers"},
        }
    )
    config_digest = _digest(config_blob)
    manifest = _json(
        {
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config_blob),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "schemaVersion": 2,
        }
    )
    blobs = {layer_digest: layer, config_digest: config_blob, _digest(manifest): manifest}
    files = {
        "index.json": _json(_index(names, manifest)),
        "manifest.json": _json(
            [
                {
                    "Config": f"blobs/sha256/{config_digest}",
                    "Layers": [f"blobs/sha256/{layer_digest}"],
                    "RepoTags": list(names),
                }
            ]
        ),
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
    }
    entries_out: list[Entry] = [DirEntry("blobs"), DirEntry("blobs/sha256")]
    entries_out += [FileEntry(f"blobs/sha256/{digest}", blob) for digest, blob in sorted(blobs.items())]
    entries_out += [FileEntry(name, content) for name, content in files.items()]
    return _tar(entries_out)


def layer_bytes(entries: Iterable[Entry]) -> bytes:
    """The root filesystem as a tar: sorted by path, so that a directory precedes what it holds."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = entry.path.strip("/")
        if not path or ".." in path.split("/"):
            raise ImageBuildError(f'cannot build an image: because "{entry.path}" is not a path inside it')
        if path in by_path:
            raise ImageBuildError(f'cannot build an image: because it holds "{entry.path}" twice')
        by_path[path] = entry
    return _tar([by_path[path] for path in sorted(by_path)])


def pause_bytes(names: Sequence[str] = (PAUSE_NAME,), labels: Mapping[str, str] | None = None) -> bytes:
    """The pause image under `names`; `labels` as for busybox."""
    binary = static_binary("catatonit", "catatonit")
    return image_bytes(
        names,
        [FileEntry("pause", binary.read_bytes(), 0o755)],
        ImageConfig(entrypoint=("/pause", "-P"), user="65535:65535", labels=labels or {}),
    )


def busybox_bytes(names: Sequence[str] = BUSYBOX_NAMES, labels: Mapping[str, str] | None = None) -> bytes:
    """The busybox image under `names`: every applet in /bin, users, a world-writable /tmp.

    `labels` make it an image of its own: runtimes remove an image under all its names at once.
    """
    binary = static_binary("busybox", "busybox-static")
    listing = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True)
    applets = sorted({name for name in listing.stdout.split() if name and "/" not in name} - {"busybox"})
    entries: list[Entry] = [
        *(DirEntry(path) for path in ("bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin")),
        *(DirEntry(path) for path in ("usr/sbin", "var", "var/www")),
        DirEntry("root", 0o700),
        DirEntry("tmp", 0o1777),
        FileEntry("bin/busybox", binary.read_bytes(), 0o755),
        *(LinkEntry(f"bin/{name}", "busybox") for name in applets),
        LinkEntry("usr/bin/env", "../../bin/busybox"),
        FileEntry("etc/passwd", PASSWD.encode()),
        FileEntry("etc/group", GROUP.encode()),
    ]
    return image_bytes(names, entries, ImageConfig(cmd=("sh",), labels=labels or {}))


def static_binary(command: str, package: str) -> Path:
    """Where `command` is. Raises ImageBuildError naming `package` when it is missing or not static."""
    search = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/bin", "/usr/bin", "/bin"))
    found = shutil.which(command, path=search)
    if found is None:
        raise ImageBuildError(
            f'cannot build an image from "{command}": because it is not installed; '
            f"the Debian package {package} has it (apt-get install {package})"
        )
    path = Path(found).resolve()
    if _has_interpreter(path.read_bytes()):
        raise ImageBuildError(
            f'cannot build an image from "{path}": because it is linked dynamically; '
            f"the Debian package {package} has a static one (apt-get install {package})"
        )
    return path


def check_name(name: str) -> None:
    """Refuse a reference that is not REGISTRY/PATH:TAG: runtimes complete short ones differently."""
    registry, slash, rest = name.partition("/")
    tagged = ":" in rest.rpartition("/")[2]
    if not slash or not ("." in registry or ":" in registry or registry == "localhost") or not tagged:
        raise ImageBuildError(f'cannot build an image named "{name}": because it is not REGISTRY/PATH:TAG')


def full_name(name: str) -> str:
    """A reference as runtimes store it: "busybox" is docker.io/library/busybox:latest."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


def _has_interpreter(elf: bytes) -> bool:
    """Whether an ELF file has a PT_INTERP program header (elf(5)), that is, needs a dynamic loader."""
    if elf[:4] != b"\x7fELF":
        raise ImageBuildError("cannot build an image: because the binary is not an ELF file")
    order = "<" if elf[5] == 1 else ">"
    is_64_bit = elf[4] == 2
    (start,) = struct.unpack_from(order + ("Q" if is_64_bit else "I"), elf, 32 if is_64_bit else 28)
    size, count = struct.unpack_from(order + "HH", elf, 54 if is_64_bit else 42)
    kinds = (struct.unpack_from(order + "I", elf, start + index * size)[0] for index in range(count))
    return PT_INTERP in kinds


def _index(names: Sequence[str], manifest: bytes) -> dict[str, object]:
    descriptor = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    platform = {"architecture": _architecture(), "os": "linux"}
    return {
        "manifests": [
            descriptor
            | {
                # containerd reads the first, skopeo and podman the second.
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name,
                },
                "platform": platform,
            }
            for name in names
        ],
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "schemaVersion": 2,
    }


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"digest": f"sha256:{_digest(blob)}", "mediaType": media_type, "size": len(blob)}


def _architecture() -> str:
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def _tar(entries: Iterable[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path.strip("/"))
            match entry:
                case FileEntry(content=content, mode=mode):
                    info.size, info.mode = len(content), mode
                    archive.addfile(info, io.BytesIO(content))
                case DirEntry(mode=mode):
                    info.type, info.mode = tarfile.DIRTYPE, mode
                    archive.addfile(info)
                case LinkEntry(target=target):
                    info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, target
                    archive.addfile(info)
    return out.getvalue()


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
