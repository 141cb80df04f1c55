"""The loops that keep the node clean: log rotation, dead containers and directories, images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aio import log as aio_log
from aio.clock import Clock
from aio.executors import Executors
from cri.errors import CriError
from cri.imageload import ImageLoadError, sandbox_image, target_of
from cri.service import ImageService, RuntimeService
from kube.quantity import parse
from kubelet import events
from kubelet.configuration import KubeletConfiguration
from kubelet.gc_run import GarbageCollector, GcPaths
from kubelet.images.collect import ImageGcPolicy
from kubelet.images.collector import ImageCollector
from kubelet.images.disk import ImageDisk
from kubelet.logrotate import LogRotator, RotationPolicy
from kubelet.podspec.context import NodeFacts
from kubelet.view import PodView

log = aio_log.get(__name__)
Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What the loops need; `loops` gives them by name."""

    runtime: RuntimeService
    images: ImageService
    clock: Clock
    executors: Executors
    sink: events.EventSink
    view: PodView
    images_changed: Callable[[], None] = lambda: None

    async def loops(self, config: KubeletConfiguration, facts: NodeFacts) -> dict[str, Loop]:
        node = events.node_ref(facts.node_name)
        rotation = RotationPolicy(
            parse(config.container_log_max_size).to_int(),
            config.container_log_max_files,
            config.container_log_monitor_interval,
        )
        paths = GcPaths(facts.root_dir, facts.pod_logs_dir, facts.container_logs_dir)
        protected = await self._sandbox_images(config.container_runtime_endpoint)
        collector = ImageCollector(
            self.runtime,
            self.images,
            self.clock,
            self.sink,
            node,
            ImageDisk(self.images, self.executors).measure,
            lambda: protected,
            image_policy(config),
            self.images_changed,
        )
        garbage = GarbageCollector(
            self.runtime, self.executors, self.clock, self.sink, node, self.view.known, paths
        )
        rotator = LogRotator(self.runtime, self.executors, self.clock, self.view.running_logs, rotation)
        return {
            "log rotation": rotator.run,
            "garbage collection": garbage.run,
            "image collection": collector.run,
        }

    async def _sandbox_images(self, endpoint: str) -> tuple[str, ...]:
        """The image that must never be collected: without it no pod starts."""
        try:
            return (await sandbox_image(await target_of(endpoint, self.runtime), self.runtime),)
        except (CriError, ImageLoadError) as error:
            log.warning("Runtime does not tell its sandbox image", err=error)
            return ()


def image_policy(config: KubeletConfiguration) -> ImageGcPolicy:
    return ImageGcPolicy(
        config.image_gc_high_threshold_percent,
        config.image_gc_low_threshold_percent,
        config.image_minimum_gc_age,
        config.image_maximum_gc_age,
    )
