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

        loaded = await imageload.ensure_builtin_images(
            image_endpoint or endpoint, runtime.runtime, images, clock=clock
        )
        target = Target(
            runtime=runtime.runtime,
            images=images,
            clock=clock,
            event_source=lambda: make_event_source(runtime, clock),
            load_image=load_image,
        )
        with tempfile.TemporaryDirectory(prefix="cri-conformance-") as directory:
            mark = secrets.token_hex(4)
            run = Run(mark, Path(directory), itertools.count(1))
            try:
                yield target, run
            finally:
                await sweep(runtime.runtime, mark)
                for name in loaded:
                    await images.remove_image(ImageSpec(image=name))
