"""Which images may go when the disk fills or they grow too old (pure).

`observe` keeps a record per image; `bytes_to_free`, `select` and `too_old` decide. An image in use by any
container, pinned by the runtime, protected by the agent (the sandbox image) or younger than the minimum
age is never chosen; the others go least recently used first. `explain` says what keeps the rest, since
"cannot free enough" alone leaves people guessing.
Rules: pkg/kubelet/images/image_gc_manager.go (Kubernetes 1.36).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cri.types import Image
from kubelet.images.reference import InvalidReference, normalised

HIGH_PERCENT = 85  # imageGCHighThresholdPercent
LOW_PERCENT = 80  # imageGCLowThresholdPercent
MIN_AGE_SECONDS = 120.0  # imageMinimumGCAge
DISABLED_PERCENT = 100  # a high threshold of 100 switches collection by usage off


@dataclass(frozen=True, slots=True)
class ImageGcPolicy:
    """Percentages of the image filesystem; ages in seconds, `max_age_seconds` 0 = no limit."""

    high_percent: int = HIGH_PERCENT
    low_percent: int = LOW_PERCENT
    min_age_seconds: float = MIN_AGE_SECONDS
    max_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is remembered of one image; `last_used` 0 = not since the agent started. Unix seconds."""

    id: str
    size_bytes: int
    first_seen: float
    last_used: float = 0.0
    is_in_use: bool = False
    is_kept: bool = False  # pinned by the runtime or protected by the agent

    @property
    def may_go(self) -> bool:
        return not (self.is_in_use or self.is_kept)


@dataclass(frozen=True, slots=True)
class Selection:
    """Images to remove, in this order, and how many bytes that should free."""

    images: tuple[ImageRecord, ...]
    freed_bytes: int


def observe(
    records: Mapping[str, ImageRecord],
    images: Iterable[Image],
    used: Iterable[str],
    protected: Iterable[str],
    now: float,
) -> dict[str, ImageRecord]:
    """The records after a look at all images.

    `used`: image ids, references or digests of all containers, dead ones too; `protected`: names of images
    that the agent itself needs. Images that are gone lose their record.
    """
    in_use = frozenset(used)
    names = frozenset(map(_comparable, protected))
    seen: dict[str, ImageRecord] = {}
    for image in images:
        aliases = {image.id, *image.repo_tags, *image.repo_digests}
        record = records.get(image.id) or ImageRecord(image.id, image.size, first_seen=now)
        is_in_use = not in_use.isdisjoint(aliases)
        seen[image.id] = replace(
            record,
            size_bytes=image.size,
            last_used=now if is_in_use else record.last_used,
            is_in_use=is_in_use,
            is_kept=image.pinned or not names.isdisjoint(map(_comparable, aliases)),
        )
    return seen


def bytes_to_free(capacity_bytes: int, available_bytes: int, policy: ImageGcPolicy) -> int:
    """How much must go: 0 below the high threshold, else down to the low one. `capacity_bytes` > 0."""
    if policy.high_percent >= DISABLED_PERCENT:
        return 0
    used_percent = 100 - available_bytes * 100 // capacity_bytes
    if used_percent < policy.high_percent:
        return 0
    return max(0, capacity_bytes * (100 - policy.low_percent) // 100 - available_bytes)


def select(
    records: Mapping[str, ImageRecord], wanted_bytes: int, policy: ImageGcPolicy, now: float
) -> Selection:
    """Least recently used first, then first seen, until `wanted_bytes` are covered."""
    chosen: list[ImageRecord] = []
    freed = 0
    for record in sorted(records.values(), key=lambda one: (one.last_used, one.first_seen, one.id)):
        if freed >= wanted_bytes:
            break
        if record.may_go and record.last_used < now and now - record.first_seen >= policy.min_age_seconds:
            chosen.append(record)
            freed += record.size_bytes
    return Selection(tuple(chosen), freed)


def too_old(
    records: Mapping[str, ImageRecord], policy: ImageGcPolicy, now: float, started_at: float
) -> tuple[ImageRecord, ...]:
    """Unused for longer than the maximum age.

    When an image was last used before the agent started is unknown, so nothing counts as too old before
    the agent itself has run that long.
    """
    limit = policy.max_age_seconds
    if limit <= 0 or now - started_at <= limit:
        return ()
    return tuple(
        record
        for record in records.values()
        if record.may_go and now - max(record.last_used, record.first_seen) > limit
    )


def explain(records: Mapping[str, ImageRecord], used_bytes: int, policy: ImageGcPolicy, now: float) -> str:
    """What the images that stay are, and how much of the disk is not images at all."""
    in_use = [record for record in records.values() if record.is_in_use]
    kept = [record for record in records.values() if record.is_kept and not record.is_in_use]
    young = [
        record
        for record in records.values()
        if record.may_go and now - record.first_seen < policy.min_age_seconds
    ]
    images = sum(record.size_bytes for record in records.values())
    return (
        f"Of {len(records)} images {_amount(in_use)} are in use, {_amount(kept)} are pinned,"
        f" {_amount(young)} are younger than {policy.min_age_seconds:.0f}s;"
        f" {max(0, used_bytes - images)} bytes are used by other things than images"
    )


def insufficient(used_bytes: int, capacity_bytes: int, detail: str) -> str:
    """The message of FreeDiskSpaceFailed, with `detail` from `explain`."""
    percent = 100 * used_bytes / capacity_bytes
    return (
        f"Insufficient free disk space on the node's image filesystem ({percent:.1f}% of"
        f" {capacity_bytes} bytes used). Failed to free sufficient space by deleting unused images."
        f" Consider resizing the disk or deleting unused files. {detail}"
    )


def invalid_capacity(path: str, capacity_bytes: int) -> str:
    """The message of InvalidDiskCapacity."""
    return f"invalid capacity {capacity_bytes} on image filesystem {path}".rstrip()


def _amount(records: list[ImageRecord]) -> str:
    return f"{len(records)} ({sum(record.size_bytes for record in records)} bytes)"


def _comparable(name: str) -> str:
    """Names compare in their full form; what is no name (an id) compares as it is."""
    try:
        return normalised(name)
    except InvalidReference:
        return name
