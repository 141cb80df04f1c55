"""`pykubelet inspect`: everything the runtime says of one pod, container or image, as JSON."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from cri.types import ImageSpec
from cri.wire import Runtime
from pykubelet.errors import CommandError
from pykubelet.runtime.connecting import look, run_connected
from pykubelet.runtime.documents import document, unfold
from pykubelet.runtime.selection import find_container, find_image, find_sandbox


def inspect(args: Namespace) -> int:
    return run_connected(args, lambda runtime: _inspect(runtime, args.name))


async def _inspect(runtime: Runtime, name: str) -> int:
    json.dump(await _find(runtime, name), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


async def _find(runtime: Runtime, name: str) -> dict[str, Any]:
    """A pod by that name comes before a container, a container before an image."""
    seen = await look(runtime)
    box = find_sandbox(seen, name)
    if box is not None:
        answer = await runtime.runtime.pod_sandbox_status(box.id, verbose=True)
        inside = [document(one) for one in seen.containers_of(box)]
        return {
            "kind": "pod",
            "status": document(answer.status),
            "containers": inside,
            "info": unfold(answer.info),
        }
    container = find_container(seen, name)
    if container is not None:
        status = await runtime.runtime.container_status(container.id, verbose=True)
        return {"kind": "container", "status": document(status.status), "info": unfold(status.info)}
    image = find_image(await runtime.images.list_images(), name)
    if image is not None:
        found = await runtime.images.image_status(ImageSpec(image=image.id), verbose=True)
        return {"kind": "image", "status": document(found.image), "info": unfold(found.info)}
    raise CommandError(
        f'cannot inspect "{name}": because the runtime has no pod, container or image of that name or id'
    )
