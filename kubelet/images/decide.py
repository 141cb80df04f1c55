"""What to do about one container's image: a pure decision over policy, presence and back-off.

The puller asks `first_step` before anything else, `decide` once it knows what is present, and
`pull_failed` after a pull that did not work. Reasons, messages and event texts are upstream's
(pkg/kubelet/images/image_manager.go), so that tools recognise them; only the sentence on a registry
that cannot be reached is ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kube.go_duration import format_duration
from kubelet import reasons
from kubelet.images.model import ALWAYS, NEVER, ImageResult
from kubelet.images.reference import InvalidReference, with_default_tag

# pkg/kubelet/kubelet.go: imageBackOffPeriod and MaxImageBackOff
IMAGE_BACKOFF_INITIAL_SECONDS = 10.0
IMAGE_BACKOFF_MAX_SECONDS = 300.0
# flowcontrol.Backoff forgets an entry that is idle for twice the maximum
IMAGE_BACKOFF_RESET_SECONDS = 2 * IMAGE_BACKOFF_MAX_SECONDS
# A refusal that somebody may mend on the node (image loaded, runtime back): asked again after this.
RECHECK_SECONDS = 10.0
# After a failed pull the error itself is shown this long before the state becomes ImagePullBackOff.
SHOW_ERROR_SECONDS = 1.0

PULL_QPS_EXCEEDED = "pull QPS exceeded"  # pkg/kubelet/images/helpers.go

_UNREACHABLE = re.compile(
    r"connection refused|no such host|network is unreachable|no route to host|i/o timeout"
    r"|temporary failure in name resolution|server misbehaving|dial tcp|lookup \S+ on|proxyconnect"
    r"|Client\.Timeout exceeded|TLS handshake timeout|connection reset by peer",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask the runtime whether `image` is there."""

    image: str


@dataclass(frozen=True, slots=True)
class UsePresent:
    """The image is there and the policy is content with it."""

    message: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Fetch `image`, whatever is there."""

    image: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """There is no image for now; `result` says why."""

    result: ImageResult


def first_step(image: str, policy: str) -> Inspect | Pull | Refuse:
    """From the spec alone: a bad name is refused, Always pulls, everything else looks first."""
    try:
        full = with_default_tag(image)
    except InvalidReference as error:
        name = _quoted(image)
        message = f"Failed to apply default image tag {name}: couldn't parse image name {name}: {error}"
        return Refuse(ImageResult(reason=reasons.INVALID_IMAGE_NAME, message=message))
    return Pull(full) if policy == ALWAYS else Inspect(full)


def decide(image: str, full: str, policy: str, *, is_present: bool) -> UsePresent | Pull | Refuse:
    """With the runtime's answer at hand. `image` is the spec's text, `full` the one asked for."""
    if is_present:
        return UsePresent(
            f"Container image {_quoted(image)} already present on machine and can be accessed by the pod"
        )
    if policy == NEVER:
        message = f"Container image {_quoted(image)} is not present with pull policy of Never"
        return Refuse(_refused(reasons.ERR_IMAGE_NEVER_PULL, message, RECHECK_SECONDS))
    return Pull(full)


def inspect_failed(image: str, error: str) -> ImageResult:
    """The runtime could not say whether the image is there."""
    message = f"Failed to inspect image {_quoted(image)}: {error}"
    return _refused(reasons.IMAGE_INSPECT_ERROR, message, RECHECK_SECONDS)


def backing_off(image: str, previous_error: str, remaining_seconds: float) -> ImageResult:
    """A pull failed not long ago. `previous_error` as `pull_failed` made it ("REASON: message")."""
    message = f"Back-off pulling image {_quoted(image)}"
    if previous_error:
        message = f"{message}: {previous_error}"
    return _refused(reasons.IMAGE_PULL_BACK_OFF, message, remaining_seconds)


def pull_failed(image: str, error: str) -> ImageResult:
    """Name the kind of failure from the runtime's error text (evalCRIPullErr upstream)."""
    for kind, text in (
        (reasons.REGISTRY_UNAVAILABLE, "the registry is unavailable"),
        (reasons.SIGNATURE_VALIDATION_FAILED, "the signature validation failed"),
    ):
        if error.startswith(kind):
            shown = _quoted(image) if kind == reasons.SIGNATURE_VALIDATION_FAILED else image
            message = f"image pull failed for {shown} because {text}{error.removeprefix(kind)}"
            if kind == reasons.REGISTRY_UNAVAILABLE:
                message = with_registry_hint(message)
            return _refused(kind, message, SHOW_ERROR_SECONDS)
    message = with_registry_hint(error) if is_unreachable(error) else error
    return _refused(reasons.ERR_IMAGE_PULL, message, SHOW_ERROR_SECONDS)


def is_unreachable(error: str) -> bool:
    """The pull failed before any registry answered: name lookup, connection, time-out."""
    return _UNREACHABLE.search(error) is not None


def with_registry_hint(message: str) -> str:
    """Say what a node without a registry can do."""
    return (
        f"{message.rstrip('.')}. No registry could be reached; an image that is already on this node is"
        " used with imagePullPolicy: IfNotPresent or Never, and `pykubelet image load` puts one there"
    )


def pulled_message(image: str, pull_seconds: float, total_seconds: float, size_bytes: int) -> str:
    """Upstream's text of the event `Pulled`; durations as Go prints them, cut to milliseconds."""
    return (
        f"Successfully pulled image {_quoted(image)} in {format_duration(_whole_ms(pull_seconds))}"
        f" ({format_duration(_whole_ms(total_seconds))} including waiting). Image size: {size_bytes} bytes."
    )


def _whole_ms(seconds: float) -> float:
    """Cut to milliseconds, so that a message stays readable."""
    return int(seconds * 1000 + 1e-6) / 1000  # 2.01 is stored a hair below


def _refused(reason: str, message: str, retry_after_seconds: float) -> ImageResult:
    return ImageResult(reason=reason, message=message, retry_after_seconds=retry_after_seconds)


def _quoted(text: str) -> str:
    return f'"{text}"'
