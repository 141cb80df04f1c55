"""Removes the images that `collect` chooses: every 5 minutes by disk usage and age, over CRI.

Looks at images and containers just before it chooses, so a container created since keeps its image. The
first failing pass after the start is only logged, later ones become an event, as upstream does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aio import log as aio_log
from aio.clock import Clock
from cri.errors import CriError, NotFound
from cri.service import ImageService, RuntimeService
from cri.types import ImageSpec
from kubelet import events
from kubelet.images import collect
from kubelet.images.collect import ImageGcPolicy, ImageRecord

INTERVAL_SECONDS = 300.0  # ImageGCPeriod, pkg/kubelet/kubelet.go

log = aio_log.get(__name__)


class ImageGcFailed(Exception):
    """A pass could not free what it should; str() is for users."""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """The filesystem of the images, in bytes."""

    path: str
    capacity_bytes: int
    available_bytes: int

    @property
    def used_bytes(self) -> int:
        return self.capacity_bytes - self.available_bytes


@dataclass(eq=False, slots=True)
class ImageCollector:
    """`disk` measures the image filesystem; `protected` gives the names of images the agent needs."""

    runtime: RuntimeService
    images: ImageService
    clock: Clock
    sink: events.EventSink
    node: events.ObjectRef
    disk: Callable[[], Awaitable[DiskUse]]
    protected: Callable[[], tuple[str, ...]]
    policy: ImageGcPolicy = field(default_factory=ImageGcPolicy)
    changed: Callable[[], None] = lambda: None  # an image is gone
    _records: dict[str, ImageRecord] = field(default_factory=dict)
    _started_at: float = field(init=False)
    _has_failed: bool = False

    def __post_init__(self) -> None:
        self._started_at = self.clock.wall()

    async def run(self) -> None:
        await self.observe_safely()
        while True:
            await self.clock.sleep(INTERVAL_SECONDS)
            try:
                await self.collect_once()
            except (ImageGcFailed, CriError, OSError) as error:
                log.error("Image garbage collection failed", err=error)
                if self._has_failed:
                    self.sink.record(events.image_gc_failed(self.node, str(error)))
                self._has_failed = True

    async def observe_safely(self) -> None:
        """Note when images were first seen; a runtime that is not there yet is asked again later."""
        try:
            await self._observe()
        except CriError as error:
            log.warning("Cannot list images", err=error)

    async def collect_once(self) -> int:
        """One pass: too old images, then as many as the thresholds ask for. Returns the bytes freed.

        Raises ImageGcFailed when that is not enough.
        """
        now = await self._observe()
        freed = 0
        for record in collect.too_old(self._records, self.policy, now, self._started_at):
            freed += await self._remove(record, "it was not used for too long")
        disk = await self.disk()
        if disk.capacity_bytes <= 0:
            message = collect.invalid_capacity(disk.path, disk.capacity_bytes)
            self.sink.record(events.invalid_disk_capacity(self.node, message))
            raise ImageGcFailed(message)
        wanted = collect.bytes_to_free(disk.capacity_bytes, disk.available_bytes, self.policy)
        if not wanted:
            return freed
        freed_for_space = await self.free(wanted)
        if freed_for_space < wanted:
            detail = collect.explain(self._records, disk.used_bytes, self.policy, now)
            message = collect.insufficient(disk.used_bytes, disk.capacity_bytes, detail)
            self.sink.record(events.free_disk_space_failed(self.node, message))
            raise ImageGcFailed(message)
        return freed + freed_for_space

    async def free(self, wanted_bytes: int) -> int:
        """Remove unused images worth at least `wanted_bytes` if there are so many; the bytes freed."""
        now = await self._observe()
        freed = 0
        for record in collect.select(self._records, wanted_bytes, self.policy, now).images:
            freed += await self._remove(record, "the image filesystem is too full")
        return freed

    async def _observe(self) -> float:
        images = await self.images.list_images()
        containers = await self.runtime.list_containers()
        used = {name for one in containers for name in (one.image_id, one.image_ref, one.image.image) if name}
        now = self.clock.wall()
        self._records = collect.observe(self._records, images, used, self.protected(), now)
        return now

    async def _remove(self, record: ImageRecord, why: str) -> int:
        """The bytes freed: 0 when the runtime refuses, which leaves the image for the next pass."""
        log.info("Removing image", image=record.id, bytes=record.size_bytes, why=why)
        try:
            await self.images.remove_image(ImageSpec(image=record.id))
        except NotFound:
            pass
        except CriError as error:
            log.error("Cannot remove image", image=record.id, err=error)
            return 0
        self._records.pop(record.id, None)
        self.changed()
        return record.size_bytes
