"""`pykubelet image load` and `image rm`: images into and out of the runtime, without a registry."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from cri.imageload import ensure_builtin_images, import_archive, target_of
from cri.types import ImageSpec
from cri.wire import Runtime
from pykubelet.errors import CommandError
from pykubelet.runtime.connecting import choose_endpoint, run_connected
from pykubelet.runtime.selection import find_image


def load(args: Namespace) -> int:
    if not args.files and not args.builtin:
        raise CommandError("cannot load images: because neither a FILE nor --builtin is given", exit_code=2)
    endpoint = choose_endpoint(args)
    return run_connected(args, lambda runtime: _load(runtime, endpoint, args))


async def _load(runtime: Runtime, endpoint: str, args: Namespace) -> int:
    if args.builtin:
        imported = await ensure_builtin_images(endpoint, runtime.runtime, runtime.images)
        for name in imported:
            print(f"loaded {name}")
        if not imported:
            print("the built-in images are there already")
    target = await target_of(endpoint, runtime.runtime)
    for file in args.files:
        for name in await import_archive(target, runtime.images, Path(file)):
            print(f"loaded {name}")
    return 0


def remove(args: Namespace) -> int:
    return run_connected(args, lambda runtime: _remove(runtime, args.names))


async def _remove(runtime: Runtime, names: Sequence[str]) -> int:
    images = await runtime.images.list_images()
    for name in names:
        image = find_image(images, name)
        if image is None:
            raise CommandError(f'cannot remove image "{name}": because the runtime has no such image')
        await runtime.images.remove_image(ImageSpec(image=image.id))
        print(f"removed {', '.join(image.repo_tags) or image.id}")
    return 0
