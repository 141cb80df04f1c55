"""The image service of the fake runtime: images that are present, that a registry has, or that nobody has."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from aio.clock import Clock
from cri.errors import CriError, ImagePullError, InvalidArgument
from cri.fake.faults import Faults
from cri.imagefile import BUSYBOX_NAMES, PAUSE_NAME, full_name
from cri.stats import FilesystemIdentifier, FilesystemUsage, ImageFsInfoResponse
from cri.types import (
    AuthConfig,
    Image,
    ImageFilter,
    ImageSpec,
    ImageStatusResponse,
    PodSandboxConfig,
)

DEFAULT_IMAGE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Pullable:
    """An image in the fake registry; with `password`, only a pull that brings it succeeds."""

    content: str
    size: int = DEFAULT_IMAGE_BYTES
    password: str = ""


class FakeImages:
    """`ImageService` over a table of images by id; names and digests are looked up in it."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._images: dict[str, Image] = {}
        self._registry: dict[str, Pullable] = {}
        self.add(PAUSE_NAME, pinned=True)
        for name in BUSYBOX_NAMES:
            self.add(name, content="busybox")

    def add(
        self, name: str, *, content: str = "", size: int = DEFAULT_IMAGE_BYTES, pinned: bool = False
    ) -> Image:
        """Make an image present under `name`; names with the same `content` are one image."""
        name = full_name(name)
        digest = "sha256:" + hashlib.sha256((content or name).encode()).hexdigest()
        for id, image in list(self._images.items()):
            if name in image.repo_tags and id != digest:
                self._images[id] = replace(
                    image, repo_tags=tuple(tag for tag in image.repo_tags if tag != name)
                )
        known = self._images.get(digest, Image(id=digest, size=size))
        tags = tuple(dict.fromkeys((*known.repo_tags, name)))
        image = replace(known, repo_tags=tags, pinned=known.pinned or pinned, spec=ImageSpec(image=digest))
        self._images[digest] = image
        return image

    def add_to_registry(self, name: str, pullable: Pullable | None = None) -> None:
        self._registry[full_name(name)] = pullable or Pullable(name)

    def find(self, reference: str) -> Image | None:
        """By id, by name (completed as a runtime does) or by digest reference."""
        if reference in self._images:
            return self._images[reference]
        if not reference:
            return None
        name = full_name(reference)
        for image in self._images.values():
            if name in image.repo_tags or name in image.repo_digests:
                return image
        return None

    async def list_images(self, filter: ImageFilter | None = None) -> list[Image]:
        async with self._faults.call("list_images", filter):
            if filter is None or not filter.image.image:
                return list(self._images.values())
            found = self.find(filter.image.image)
            return [found] if found else []

    async def stream_images(self, filter: ImageFilter | None = None) -> AsyncIterator[Image]:
        for image in await self.list_images(filter):
            yield image

    async def image_status(self, image: ImageSpec, *, verbose: bool = False) -> ImageStatusResponse:
        async with self._faults.call("image_status", image):
            found = self.find(image.image)
            return ImageStatusResponse(found, {"info": "{}"} if verbose and found else {})

    async def pull_image(
        self,
        image: ImageSpec,
        auth: AuthConfig | None = None,
        sandbox_config: PodSandboxConfig | None = None,
    ) -> str:
        async with self._faults.call("pull_image", image, auth, sandbox_config):
            if not image.image:
                raise InvalidArgument("invalid reference format", call="PullImage")
            name = full_name(image.image)
            remote = self._registry.get(name)
            if remote is None:
                raise ImagePullError(
                    f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": '
                    f"{name}: not found",
                    call="PullImage",
                    code="NOT_FOUND",
                )
            if remote.password and (auth is None or auth.password != remote.password):
                raise ImagePullError(
                    f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": '
                    "pull access denied, repository does not exist or may require authorization: "
                    "authorization failed: no basic auth credentials",
                    call="PullImage",
                )
            pulled = self.add(name, content=remote.content, size=remote.size)
            digest = f"{name.rpartition(':')[0]}@{pulled.id}"
            digests = tuple(dict.fromkeys((*pulled.repo_digests, digest)))
            self._images[pulled.id] = replace(pulled, repo_digests=digests)
            return pulled.id

    async def remove_image(self, image: ImageSpec) -> None:
        """Removes the image under all its names, as containerd does; unknown ones are no error."""
        async with self._faults.call("remove_image", image):
            found = self.find(image.image)
            if found is not None:
                del self._images[found.id]

    async def image_fs_info(self) -> ImageFsInfoResponse:
        async with self._faults.call("image_fs_info"):
            used = sum(image.size for image in self._images.values())
            usage = FilesystemUsage(
                timestamp=int(self._clock.wall() * 1e9),
                fs_id=FilesystemIdentifier("/var/lib/fake/images"),
                used_bytes=used,
                inodes_used=len(self._images),
            )
            return ImageFsInfoResponse((usage,), (usage,))

    def require(self, image: ImageSpec, call: str) -> Image:
        """The image of a container to be created, or the error of a runtime that lacks it."""
        found = self.find(image.image)
        if found is None:
            text = f'failed to resolve image "{image.image}": not found'
            raise CriError(text, call=call, code="NOT_FOUND")
        return found
