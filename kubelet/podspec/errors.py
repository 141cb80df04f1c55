"""What can be wrong with a pod when its containers or its sandbox are described to the runtime.

Each error carries the waiting reason that Kubernetes shows for it; the message is upstream's.
"""

from __future__ import annotations

from aio.errors import Rejected

CREATE_CONTAINER_CONFIG_ERROR = "CreateContainerConfigError"
FAILED_CREATE_POD_SANDBOX = "FailedCreatePodSandBox"


class ContainerConfigError(Rejected):
    """The container cannot be described: it waits with reason CreateContainerConfigError."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=CREATE_CONTAINER_CONFIG_ERROR)


class SandboxConfigError(Rejected):
    """The sandbox cannot be described: event FailedCreatePodSandBox, the pod stays Pending."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=FAILED_CREATE_POD_SANDBOX)


class ObjectNotFound(Exception):
    """A ConfigMap or Secret that a reference names does not exist; `optional` forgives it."""
