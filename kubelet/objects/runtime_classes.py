"""Which of the runtime's handlers a RuntimeClass stands for.

Mechanism: one GET when a pod that names a class is about to get its sandbox; a pod without costs nothing.
Promise: a pod never runs with another handler than its class says; while the class cannot be read the
sandbox waits (kuberuntime's sandbox is refused likewise).
"""

from __future__ import annotations

from aio.errors import Retry
from kube.client import resources as r
from kube.client.model import Client
from kube.client.unreachable import Unreachable
from kube.errors import StatusError
from kube.objects.core_v1 import Pod


async def handler_of(pod: Pod, client: Client) -> str:
    """The handler's name, "" for the runtime's default. Retry when the class cannot be read."""
    name = pod.spec.runtime_class_name
    if not name:
        return ""
    try:
        found = await client.get(r.RUNTIME_CLASSES, name)
    except StatusError as error:
        if error.status.reason == "NotFound":
            raise Retry(f'failed to get sandbox runtime: RuntimeClass "{name}" not found') from error
        raise Retry(f"failed to get sandbox runtime: {error}") from error
    except Unreachable as error:
        raise Retry(f"failed to get sandbox runtime: {error}") from error
    handler: str = found.get("handler") or ""
    return handler
