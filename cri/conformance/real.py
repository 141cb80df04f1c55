"""The suite against a real runtime: its socket, its events, and images of the suite's own.

Images that are missing are loaded before the first case and removed after the last, so that a run leaves the
runtime as it found it.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aio.clock import SystemClock
from cri import imagefile, imageload
from cri.conformance.context import Run, Target, sweep
from cri.event_sources import make_event_source
from cri.types import ImageSpec
from cri.wire import connect


@asynccontextmanager
async def prepared(endpoint: str, image_endpoint: str = "") -> AsyncIterator[tuple[Target, Run]]:
    """The runtime at `endpoint`, with the images that the cases need, and a fresh run.

    Raises CriError or ValueError when it cannot be reached, ImageLoadError or ImageBuildError when the
    images cannot be brought; both say what is needed.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        runtime = await connect(endpoint)
        stack.push_async_callback(runtime.close)
        images = runtime.images
        if image_endpoint and image_endpoint != endpoint:
            other = await connect(image_endpoint)
            stack.push_async_callback(other.close)
            images = other.images
        loader = imageload.Target(image_endpoint or endpoint, runtime.version.runtime_name)

        async def load_image(name: str) -> None:
            archive = await asyncio.to_thread(imagefile.busybox_bytes, (name,), {"pykubelet.case": name})
            await imageload.import_bytes(loader, images, archive, clock=clock)

        mark = secrets.token_hex(4)
        sandbox = await imageload.sandbox_image(loader, runtime.runtime)
        names = (*imageload.pause_names(sandbox), *imagefile.BUSYBOX_NAMES)
        for name in await imageload.absent(images, names):
            stack.push_async_callback(images.remove_image, ImageSpec(image=name))
        # Labelled, so that removing them cannot remove an image that was here before under another name.
        await imageload.ensure_builtin_images(
            image_endpoint or endpoint,
            runtime.runtime,
            images,
            labels={"pykubelet.conformance/run": mark},
            clock=clock,
        )
        target = Target(
            runtime=runtime.runtime,
            images=images,
            clock=clock,
            event_source=lambda: make_event_source(runtime, clock),
            load_image=load_image,
        )
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="cri-conformance-"))
        stack.push_async_callback(sweep, runtime.runtime, mark)
        yield target, Run(mark, Path(directory), itertools.count(1))
