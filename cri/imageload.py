"""Images from archives into a runtime, without a registry.

CRI has no import call, so the runtime's own tool does it: containerd's `ctr` (the one beside the daemon that
answers the socket, else the one on PATH) into the namespace that CRI reads, or skopeo or podman into the
storage that CRI-O reads. An import counts as done only when CRI's ImageStatus shows every name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aio.clock import Clock, SystemClock
from cri import imagefile
from cri.connection import socket_path
from cri.service import ImageService, RuntimeService
from cri.types import ImageSpec

# Namespace of containerd in which its CRI plugin works (containerd docs/namespaces.md).
CONTAINERD_NAMESPACE = "k8s.io"
# Label that makes containerd's CRI plugin report Image.pinned (containerd internal/cri/labels).
PINNED_LABEL = "io.cri-containerd.pinned=pinned"
TOOL_TIMEOUT_SECONDS = 120.0
VISIBLE_TIMEOUT_SECONDS = 10.0
FIRST_LOOK_AFTER_SECONDS = 0.01
CONNECT_TIMEOUT_SECONDS = 2.0


class ImageLoadError(Exception):
    """An image archive cannot be brought into the runtime."""


@dataclass(frozen=True, slots=True)
class Target:
    """The runtime to load into: its CRI endpoint ("unix:///run/…") and the name it gives itself."""

    endpoint: str
    runtime_name: str

    @property
    def socket_path(self) -> str:
        return socket_path(self.endpoint)


async def target_of(endpoint: str, runtime: RuntimeService) -> Target:
    return Target(endpoint, (await runtime.version()).runtime_name)


async def ensure_builtin_images(
    endpoint: str,
    runtime: RuntimeService,
    images: ImageService,
    *,
    labels: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> tuple[str, ...]:
    """Import the built-in pause and busybox images under every name that the runtime lacks.

    With `labels` they are images of their own, which can be removed without taking others of the same
    content along.

    Returns the names that were imported. Raises ImageLoadError or imagefile.ImageBuildError.
    """
    target = await target_of(endpoint, runtime)
    sandbox = await sandbox_image(target, runtime)
    imported: list[str] = []
    for names, build in (
        (pause_names(sandbox), imagefile.pause_bytes),
        (imagefile.BUSYBOX_NAMES, imagefile.busybox_bytes),
    ):
        missing = await absent(images, names)
        if not missing:
            continue
        archive = await asyncio.to_thread(build, missing, labels)
        await import_bytes(target, images, archive, pinned=(sandbox,), clock=clock)
        imported += missing
    return tuple(imported)


def pause_names(sandbox: str) -> tuple[str, ...]:
    """The names of the built-in pause image where the runtime is configured with `sandbox`."""
    return tuple(dict.fromkeys((sandbox, imagefile.PAUSE_NAME)))


async def absent(images: ImageService, names: Iterable[str]) -> list[str]:
    """Those of `names` that the runtime has no image for."""
    return [name for name in names if not await is_present(images, name)]


async def import_bytes(
    target: Target,
    images: ImageService,
    archive: bytes,
    *,
    pinned: Sequence[str] = (),
    clock: Clock | None = None,
) -> tuple[str, ...]:
    """`import_archive` of an archive in memory."""
    with tempfile.TemporaryDirectory(prefix="pykubelet-image-") as directory:
        path = Path(directory, "image.tar")
        await asyncio.to_thread(path.write_bytes, archive)
        return await import_archive(target, images, path, pinned=pinned, clock=clock)


async def import_archive(
    target: Target,
    images: ImageService,
    path: Path,
    *,
    pinned: Sequence[str] = (),
    clock: Clock | None = None,
) -> tuple[str, ...]:
    """Import an OCI layout or docker archive and wait until CRI shows it. Returns the names it brought.

    Names in `pinned` that the archive holds are marked so that no one's garbage collection takes them.
    Raises ImageLoadError when the tool is missing or fails, or when CRI does not show a name in time.
    """
    names = await asyncio.to_thread(archive_names, path)
    if target.runtime_name == "containerd":
        await _import_containerd(target, path, [name for name in pinned if name in names])
    elif target.runtime_name == "cri-o":
        await _import_crio(path, names)
    else:
        raise ImageLoadError(
            f'cannot import "{path}": because the runtime calls itself "{target.runtime_name}", '
            "and only containerd and cri-o have a known way to import an archive"
        )
    for name in names:
        await _wait_visible(images, name, clock or SystemClock())
    return names


def archive_names(path: Path) -> tuple[str, ...]:
    """The image names inside an archive: of a docker archive's manifest.json, else of an OCI index.json."""
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
            names: list[str] = []
            if "manifest.json" in members:
                for image in _read_json(archive, members["manifest.json"]):
                    names += image.get("RepoTags") or ()
            elif "index.json" in members:
                index = _read_json(archive, members["index.json"])
                for manifest in index.get("manifests", ()):
                    notes = manifest.get("annotations") or {}
                    name = notes.get("io.containerd.image.name") or notes.get(
                        "org.opencontainers.image.ref.name"
                    )
                    names += [name] if name else []
            else:
                raise ImageLoadError(f'cannot import "{path}": because it is not an image archive')
    except (OSError, tarfile.TarError, json.JSONDecodeError) as error:
        raise ImageLoadError(f'cannot import "{path}": because it cannot be read: {error}') from error
    if not names:
        raise ImageLoadError(f'cannot import "{path}": because no image in it has a name')
    return tuple(dict.fromkeys(imagefile.full_name(name) for name in names))


async def is_present(images: ImageService, name: str) -> bool:
    return (await images.image_status(ImageSpec(image=name))).image is not None


async def sandbox_image(target: Target, runtime: RuntimeService) -> str:
    """The image that the runtime is configured to use for sandboxes.

    Verbose Status says it on containerd 1.x and CRI-O; newer containerd is asked for its merged configuration
    (`containerd config dump`, with the binary and the file that the running daemon uses).
    """
    info = (await runtime.status(verbose=True)).info
    named = sandbox_image_in_status(info.get("config", ""))
    if named:
        return named
    if target.runtime_name == "containerd":
        named = sandbox_image_in_dump(await _containerd_config(target))
    if not named:
        raise ImageLoadError(
            f'cannot tell the sandbox image of "{target.endpoint}": because neither its verbose Status '
            "nor its configuration names one"
        )
    return named


def sandbox_image_in_status(config: str) -> str:
    """From Status.info["config"]: JSON with sandboxImage (containerd) or TOML with pause_image (CRI-O)."""
    with contextlib.suppress(json.JSONDecodeError):
        value = json.loads(config)
        return str(value.get("sandboxImage") or "") if isinstance(value, dict) else ""
    with contextlib.suppress(tomllib.TOMLDecodeError):
        return str(_dig(tomllib.loads(config), "crio", "image", "pause_image") or "")
    return ""


def sandbox_image_in_dump(config: str) -> str:
    """From containerd's configuration file, version 2 (containerd 1.x) or 3 (2.x); "" when not named."""
    plugins = tomllib.loads(config).get("plugins", {})
    named = _dig(plugins, "io.containerd.cri.v1.images", "pinned_images", "sandbox") or _dig(
        plugins, "io.containerd.grpc.v1.cri", "sandbox_image"
    )
    return str(named or "")


async def _containerd_config(target: Target) -> str:
    pid = await asyncio.to_thread(_peer_pid, target.socket_path)
    process = Path("/proc", str(pid))
    try:
        binary = (process / "exe").readlink()
        arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError as error:
        raise ImageLoadError(
            f'cannot read the configuration of the runtime at "{target.endpoint}": because its process '
            f"{pid} cannot be inspected: {error.strerror}"
        ) from error
    if binary.name != "containerd":
        return ""
    return await _run(str(binary), *_config_flag(arguments), "config", "dump")


def _config_flag(arguments: Sequence[str]) -> tuple[str, ...]:
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in ("-c", "--config", "-config"):
            return ("--config", value if equals else arguments[index + 1])
    return ()


def _peer_pid(path: str) -> int:
    """The process that listens on a unix socket (SO_PEERCRED, unix(7))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_TIMEOUT_SECONDS)
        try:
            connection.connect(path)
        except OSError as error:
            raise ImageLoadError(f'cannot connect to "{path}": because {error.strerror}') from error
        size = struct.calcsize("3i")
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid)


async def _import_containerd(target: Target, path: Path, pinned: Sequence[str]) -> None:
    ctr = (
        await asyncio.to_thread(_find_ctr, target),
        f"--address={target.socket_path}",
        f"--namespace={CONTAINERD_NAMESPACE}",
        "images",
    )
    await _run(*ctr, "import", str(path))
    for name in pinned:
        await _run(*ctr, "label", name, PINNED_LABEL)


def _find_ctr(target: Target) -> str:
    """The ctr of the daemon's own version where it lies beside it, else the one on PATH."""
    exe = Path("/proc", str(_peer_pid(target.socket_path)), "exe")
    with contextlib.suppress(OSError):
        beside = exe.readlink().with_name("ctr")
        if beside.is_file():
            return str(beside)
    found = shutil.which("ctr")
    if found is None:
        raise ImageLoadError(
            f'cannot import into "{target.endpoint}": because containerd\'s tool "ctr" is not installed'
        )
    return found


async def _import_crio(path: Path, names: Sequence[str]) -> None:
    if (skopeo := shutil.which("skopeo")) is not None:
        for name in names:
            await _run(skopeo, "copy", f"docker-archive:{path}:{name}", f"containers-storage:{name}")
    elif (podman := shutil.which("podman")) is not None:
        await _run(podman, "load", "--quiet", "--input", str(path))
    else:
        raise ImageLoadError(
            'cannot import into cri-o: because neither "skopeo" nor "podman" is installed '
            "(apt-get install skopeo)"
        )


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TOOL_TIMEOUT_SECONDS):
            out, err = await process.communicate()
    except BaseException as error:
        # Cancelled or late: the child must not outlive the call.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise ImageLoadError(
                f'cannot run "{command[0]}": because it took over {TOOL_TIMEOUT_SECONDS:g} s'
            ) from error
        raise
    if process.returncode != 0:
        why = err.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise ImageLoadError(f'cannot run "{" ".join(command)}": because {why}')
    return out.decode(errors="replace")


async def _wait_visible(images: ImageService, name: str, clock: Clock) -> None:
    deadline = clock.monotonic() + VISIBLE_TIMEOUT_SECONDS
    pause = FIRST_LOOK_AFTER_SECONDS
    while not await is_present(images, name):
        if clock.monotonic() >= deadline:
            raise ImageLoadError(
                f'cannot use image "{name}": because CRI does not show it '
                f"{VISIBLE_TIMEOUT_SECONDS:g} s after its import"
            )
        await clock.sleep(pause)
        pause = min(pause * 2, 0.5)


def _read_json(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    stream = archive.extractfile(member)
    return json.loads(stream.read()) if stream is not None else {}


def _dig(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
