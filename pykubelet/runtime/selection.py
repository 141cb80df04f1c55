"""Which pod, container or image a user means by a name, NAMESPACE/NAME, an id or the beginning of one (pure).

Order: a full id, then names, then a prefix of an id; so that a pod called "cafe" is never taken for an id.
What fits several is refused with their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar

from cri.enums import ContainerState, PodSandboxState
from cri.types import Container, Image, PodSandbox
from pykubelet.errors import CommandError
from pykubelet.tables import short_id

CONTAINER_NAME = "io.kubernetes.container.name"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
MIN_PREFIX_CHARS = 2


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_HasId)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the runtime. `node`: a static pod "web" is called "web-NODE", and is found as "web" too."""

    sandboxes: Sequence[PodSandbox]
    containers: Sequence[Container]
    node: str = ""

    def pod_of(self, container: Container) -> PodSandbox | None:
        return next((box for box in self.sandboxes if box.id == container.pod_sandbox_id), None)

    def containers_of(self, box: PodSandbox) -> list[Container]:
        """Of every sandbox of that pod, newest first: a restarted sandbox keeps its name and uid."""
        same = {other.id for other in self.sandboxes if other.metadata.uid == box.metadata.uid}
        found = [one for one in self.containers if one.pod_sandbox_id in same]
        return sorted(found, key=lambda one: (one.created_at, one.metadata.attempt), reverse=True)


def pod_name(box: PodSandbox | None) -> str:
    """NAMESPACE/NAME, the namespace left out when it is "default"."""
    if box is None:
        return ""
    meta = box.metadata
    return meta.name if meta.namespace in ("", "default") else f"{meta.namespace}/{meta.name}"


def find_sandbox(seen: Seen, reference: str) -> PodSandbox | None:
    """The sandbox meant, the newest when its pod has several; None when there is none."""
    exact = [box for box in seen.sandboxes if box.id == reference]
    named = exact or _named(seen, reference)
    pods = {box.metadata.uid for box in named}
    if len(pods) > 1:
        _ambiguous("pod", reference, {f"{box.metadata.namespace}/{box.metadata.name}" for box in named})
    if named:
        return max(named, key=lambda box: (box.state == PodSandboxState.SANDBOX_READY, box.created_at))
    return _by_prefix(seen.sandboxes, reference, "pod")


def _named(seen: Seen, reference: str) -> list[PodSandbox]:
    """Those of exactly that name, else those of that name on this node."""
    for suffix in ("", f"-{seen.node}"):
        namespace, _, name = f"{reference}{suffix}".rpartition("/")
        found = [
            box
            for box in seen.sandboxes
            if box.metadata.name == name and namespace in ("", box.metadata.namespace)
        ]
        if found:
            return found
    return []


def find_container(seen: Seen, reference: str, name: str | None = None) -> Container | None:
    """The container meant by its id, by [NAMESPACE/]POD[/CONTAINER], or by a container's own name.

    `name` picks one of a pod's. Of several runs of one container the newest is meant.
    """
    exact = next((one for one in seen.containers if one.id == reference), None)
    if exact is not None:
        return exact
    pod, inner = _split(seen, reference)
    box = find_sandbox(seen, pod) if pod else None
    if box is not None:
        return _of_pod(seen, box, inner or name)
    called = [one for one in seen.containers if one.metadata.name == reference]
    owners = {pod_name(seen.pod_of(one)) for one in called}
    if len(owners) > 1:
        _ambiguous("container", reference, {f"{owner}/{reference}" for owner in owners})
    if called:
        return max(called, key=lambda one: one.created_at)
    return _by_prefix(seen.containers, reference, "container")


def _split(seen: Seen, reference: str) -> tuple[str, str | None]:
    """The pod's part of [NAMESPACE/]POD[/CONTAINER] and the container's."""
    parts = reference.split("/")
    if len(parts) == 3:
        return "/".join(parts[:2]), parts[2]
    if len(parts) == 2 and not _named(seen, reference):
        return parts[0], parts[1]
    return reference, None


def _of_pod(seen: Seen, box: PodSandbox, name: str | None) -> Container:
    found = seen.containers_of(box)
    names = list(dict.fromkeys(one.metadata.name for one in reversed(found)))
    if not found:
        raise CommandError(f'cannot choose a container of pod "{pod_name(box)}": because it has none yet')
    if name is None:
        name = _default_name(box, found, names)
    newest = next((one for one in found if one.metadata.name == name), None)
    if newest is None:
        raise CommandError(
            f'cannot find container "{name}": because pod "{pod_name(box)}" has only {", ".join(names)}'
        )
    return newest


def _default_name(box: PodSandbox, found: Sequence[Container], names: Sequence[str]) -> str:
    """The annotated one, the only one, or the only one that runs."""
    annotated = box.annotations.get(DEFAULT_CONTAINER, "")
    if annotated in names:
        return annotated
    running = {one.metadata.name for one in found if one.state == ContainerState.CONTAINER_RUNNING}
    candidates = list(names) if len(names) == 1 else sorted(running)
    if len(candidates) != 1:
        raise CommandError(
            f'cannot choose a container of pod "{pod_name(box)}": because it has {", ".join(names)}; '
            "name one with -c"
        )
    return candidates[0]


def earlier_run(seen: Seen, container: Container) -> Container | None:
    """The run of the same container of the same pod before this one, None when it is not there any more."""
    box = seen.pod_of(container)
    if box is None:
        return None
    runs = [one for one in seen.containers_of(box) if one.metadata.name == container.metadata.name]
    older = [one for one in runs if one.metadata.attempt < container.metadata.attempt]
    return max(older, key=lambda one: one.metadata.attempt, default=None)


def find_image(images: Sequence[Image], reference: str) -> Image | None:
    """By name (a short one as runtimes complete it), digest, id or prefix of the id."""
    from cri.imagefile import full_name

    wanted = {reference, full_name(reference)}
    for image in images:
        if image.id in (reference, f"sha256:{reference}") or wanted & {*image.repo_tags, *image.repo_digests}:
            return image
    stripped = reference.removeprefix("sha256:")
    found = [image for image in images if image.id.removeprefix("sha256:").startswith(stripped)]
    if len(stripped) < MIN_PREFIX_CHARS or not found:
        return None
    if len(found) > 1:
        _ambiguous("image", reference, {short_id(image.id) for image in found})
    return found[0]


def _by_prefix(things: Iterable[T], reference: str, kind: str) -> T | None:
    if len(reference) < MIN_PREFIX_CHARS:
        return None
    found = [thing for thing in things if thing.id.startswith(reference)]
    if len(found) > 1:
        _ambiguous(kind, reference, {short_id(thing.id) for thing in found})
    return found[0] if found else None


def _ambiguous(kind: str, reference: str, candidates: Iterable[str]) -> NoReturn:
    raise CommandError(
        f'cannot tell which {kind} "{reference}" is: because it may be {", ".join(sorted(candidates))}'
    )
