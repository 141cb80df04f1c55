"""From the command line to a connected runtime, with its failures as sentences.

The endpoint is the one given, else that of CONTAINER_RUNTIME_ENDPOINT (crictl's variable), else that of the
instance under `--root` when it is up, else the first of the usual sockets that is there.
"""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cri.errors import CriError
from cri.imagefile import ImageBuildError
from cri.imageload import ImageLoadError
from cri.wire import Runtime, connect
from pykubelet.errors import CommandError
from pykubelet.instance.layout import Layout
from pykubelet.instance.record import read_record
from pykubelet.runtime.selection import Seen

VARIABLE = "CONTAINER_RUNTIME_ENDPOINT"
USUAL_SOCKETS = ("/run/containerd/containerd.sock", "/run/crio/crio.sock")


def choose_endpoint(args: Namespace) -> str:
    """The runtime endpoint these arguments mean; CommandError when there is none to be found."""
    given = args.runtime_endpoint or os.environ.get(VARIABLE, "")
    if given:
        return str(given) if "://" in given else f"unix://{given}"
    record = read_record(Layout.of(args.root))
    if record is not None and record.runtime_endpoint and _is_socket(record.runtime_endpoint):
        return record.runtime_endpoint
    for path in USUAL_SOCKETS:
        if Path(path).is_socket():
            return f"unix://{path}"
    raise CommandError(
        f'cannot find a container runtime: because no instance is up under "{args.root}" and none of '
        f"{', '.join(USUAL_SOCKETS)} is there; start one with `pykubelet up`, or name one with "
        "--runtime-endpoint"
    )


def _is_socket(endpoint: str) -> bool:
    return Path(endpoint.removeprefix("unix://")).is_socket()


@asynccontextmanager
async def connected(endpoint: str) -> AsyncIterator[Runtime]:
    """The runtime at `endpoint`; its errors come out as CommandError."""
    if not _is_socket(endpoint):
        raise CommandError(f'cannot use the runtime at "{endpoint}": because there is no socket')
    try:
        runtime = await connect(endpoint)
    except (CriError, ValueError) as error:
        raise CommandError(f'cannot use the runtime at "{endpoint}": because {_reason(error)}') from error
    try:
        yield runtime
    except (CriError, ImageLoadError, ImageBuildError) as error:
        raise CommandError(str(error)) from error
    finally:
        await runtime.close()


def _reason(error: Exception) -> str:
    """gRPC wraps the one interesting word: "... last error: ... error: Connection refused"."""
    text = error.message if isinstance(error, CriError) else str(error)
    return text.rpartition("error: ")[2]


def run_connected(args: Namespace, work: Callable[[Runtime], Awaitable[int]]) -> int:
    """Run `work` on the runtime that the arguments mean, in a loop of its own."""
    endpoint = choose_endpoint(args)

    async def connected_work() -> int:
        async with connected(endpoint) as runtime:
            return await work(runtime)

    return asyncio.run(connected_work())


async def look(runtime: Runtime) -> Seen:
    """Every sandbox and container there is."""
    boxes, containers = await asyncio.gather(
        runtime.runtime.list_pod_sandboxes(), runtime.runtime.list_containers()
    )
    return Seen(boxes, containers, os.uname().nodename.lower())
