"""`pykubelet ps`, `pods` and `images`: what the runtime has, as tables or JSON. The row makers are pure."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence

from cri.enums import ContainerState, PodSandboxState
from cri.errors import NotFound
from cri.types import Container, Image, ImageFilter, PodSandbox
from cri.wire import Runtime
from pykubelet.errors import CommandError
from pykubelet.runtime.connecting import look, run_connected
from pykubelet.runtime.documents import document
from pykubelet.runtime.selection import Seen, find_sandbox, pod_name
from pykubelet.tables import age, short_id, size, table

CONTAINER_HEADER = ("CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD")
POD_HEADER = ("POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "IP")
IMAGE_HEADER = ("IMAGE", "TAG", "IMAGE ID", "SIZE", "PINNED")
_NANOSECONDS = 1e9


def ps(args: Namespace) -> int:
    return run_connected(args, lambda runtime: _ps(runtime, args))


def pods(args: Namespace) -> int:
    return run_connected(args, lambda runtime: _pods(runtime, args))


def images(args: Namespace) -> int:
    return run_connected(args, lambda runtime: _images(runtime, args))


async def _ps(runtime: Runtime, args: Namespace) -> int:
    seen = await look(runtime)
    shown = choose_containers(seen, pod=args.pod, is_all=args.all)
    if args.output == "json":
        return _print_json("containers", shown)
    tags = tags_by_id(await runtime.images.list_images())
    sys.stdout.write(table(CONTAINER_HEADER, container_rows(seen, shown, tags, time.time())))
    return 0


async def _pods(runtime: Runtime, args: Namespace) -> int:
    boxes = sorted(await runtime.runtime.list_pod_sandboxes(), key=lambda box: -box.created_at)
    if args.output == "json":
        return _print_json("items", boxes)
    found = await asyncio.gather(*(_address(runtime, box.id) for box in boxes))
    addresses = dict(zip((box.id for box in boxes), found, strict=True))
    sys.stdout.write(table(POD_HEADER, pod_rows(boxes, addresses, time.time())))
    return 0


async def _address(runtime: Runtime, sandbox_id: str) -> str:
    """ "" for one that has none, or was removed meanwhile."""
    try:
        return (await runtime.runtime.pod_sandbox_status(sandbox_id)).status.network.ip
    except NotFound:
        return ""


async def _images(runtime: Runtime, args: Namespace) -> int:
    found = await runtime.images.list_images(ImageFilter())
    if args.output == "json":
        return _print_json("images", found)
    sys.stdout.write(table(IMAGE_HEADER, image_rows(found)))
    return 0


def _print_json(name: str, values: Sequence[object]) -> int:
    json.dump({name: [document(value) for value in values]}, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


def choose_containers(seen: Seen, *, pod: str | None, is_all: bool) -> list[Container]:
    """Those asked for, newest first. CommandError for a pod that is not there."""
    chosen = list(seen.containers)
    if pod is not None:
        box = find_sandbox(seen, pod)
        if box is None:
            raise CommandError(f'cannot list containers of pod "{pod}": because the runtime has no such pod')
        chosen = seen.containers_of(box)
    if not is_all:
        chosen = [one for one in chosen if one.state == ContainerState.CONTAINER_RUNNING]
    return sorted(chosen, key=lambda one: one.created_at, reverse=True)


def container_rows(
    seen: Seen, containers: Sequence[Container], tags: Mapping[str, str], now: float
) -> list[tuple[str, ...]]:
    """`tags`: a name of each image by its id, for runtimes that list the id alone; `now` in unix seconds."""
    return [
        (
            short_id(one.id),
            tags.get(one.image_ref) or _known_by(one.image.image, tags),
            age(now - one.created_at / _NANOSECONDS),
            one.state.name.removeprefix("CONTAINER_").capitalize(),
            one.metadata.name,
            str(one.metadata.attempt),
            pod_name(seen.pod_of(one)),
        )
        for one in containers
    ]


def _known_by(image: str, tags: Mapping[str, str]) -> str:
    return tags.get(image) or (short_id(image) if image.startswith("sha256:") else image)


def tags_by_id(images: Sequence[Image]) -> dict[str, str]:
    return {image.id: image.repo_tags[0] for image in images if image.repo_tags}


def pod_rows(boxes: Sequence[PodSandbox], addresses: Mapping[str, str], now: float) -> list[tuple[str, ...]]:
    """`addresses`: by sandbox id; `now` in unix seconds."""
    return [
        (
            short_id(box.id),
            age(now - box.created_at / _NANOSECONDS),
            "Ready" if box.state == PodSandboxState.SANDBOX_READY else "NotReady",
            box.metadata.name,
            box.metadata.namespace,
            str(box.metadata.attempt),
            addresses.get(box.id) or "<none>",
        )
        for box in boxes
    ]


def image_rows(images: Sequence[Image]) -> list[tuple[str, ...]]:
    """One row per tag; an image without any is shown by its digest's repository."""
    rows = []
    for image in images:
        names = [split_tag(tag) for tag in image.repo_tags]
        names = names or [(digest.partition("@")[0], "<none>") for digest in image.repo_digests[:1]]
        for name, tag in names or [("<none>", "<none>")]:
            pinned = "yes" if image.pinned else ""
            rows.append((name, tag, short_id(image.id), size(image.size), pinned))
    return sorted(rows)


def split_tag(reference: str) -> tuple[str, str]:
    """Name and tag; a colon before the last slash is a registry's port."""
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "<none>")
