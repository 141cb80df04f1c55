"""How full the filesystem of the images is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from aio.executors import Executors
from cri.service import ImageService
from kubelet.images.collector import DiskUse

MEASURE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ImageDisk:
    images: ImageService
    executors: Executors

    async def measure(self) -> DiskUse:
        """Ask the runtime where its images are, and that filesystem for its size. CriError, OSError."""
        answer = await self.images.image_fs_info()
        paths = [usage.fs_id.mountpoint for usage in answer.image_filesystems if usage.fs_id is not None]
        path = paths[0] if paths else "/"
        stat = await self.executors.run("walk", os.statvfs, path, key=path, timeout=MEASURE_TIMEOUT_SECONDS)
        return DiskUse(path, stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
