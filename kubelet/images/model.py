"""What goes in and out of the image service of the agent: a request, a result, the limits.

Values only. `ImageSource` is what the pod worker holds; `kubelet.images.puller` implements it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kubelet.events import ObjectRef

if TYPE_CHECKING:
    from cri.types import AuthConfig, PodSandboxConfig

ALWAYS = "Always"
IF_NOT_PRESENT = "IfNotPresent"
NEVER = "Never"


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One container wants its image.

    `about` is the container's event reference (`events.container_ref`), its `uid` the pod's.
    `image` is the text of the spec. `auths` are tried in turn; none = anonymous.
    """

    about: ObjectRef
    image: str
    policy: str = IF_NOT_PRESENT
    auths: tuple[AuthConfig, ...] = ()
    sandbox_config: PodSandboxConfig | None = field(default=None, compare=False)
    runtime_handler: str = ""

    @property
    def pod_uid(self) -> str:
        return self.about.uid


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image to create the container with, or why there is none.

    Good: `reason` is "", `image_id` is what CreateContainer takes, `uid` and `username` are the
    user the image names (for runAsNonRoot). Bad: `reason` and `message` are the container's waiting
    reason and message; `retry_after_seconds` says when asking again can help, None = not before
    the pod changes.
    """

    image_id: str = ""
    uid: int | None = None
    username: str = ""
    reason: str = ""
    message: str = ""
    retry_after_seconds: float | None = None

    @property
    def is_ready(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class PullLimits:
    """KubeletConfiguration's serializeImagePulls, maxParallelImagePulls, registryPullQPS, registryBurst.

    `parallel` None = no cap; a serial queue is `parallel=1`. `per_second` 0 = no rate limit.
    """

    parallel: int | None = 1
    per_second: float = 5.0
    burst: int = 10


class ImageSource(Protocol):
    """Provides images for containers."""

    async def ensure(self, request: ImageRequest, *, fresh: bool = False) -> ImageResult:
        """The image of `request`, pulled when policy and back-off allow. Records all events.

        Never raises for an image that cannot be had. `fresh` ignores what was seen in the last
        second: use it after CreateContainer said that the image is not there.
        """

    def forget_pod(self, pod_uid: str) -> None:
        """Drop the back-off entries of a pod that is gone."""
