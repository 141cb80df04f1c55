"""How far history is compacted: pure. Measured by revisions, by age, and by size above all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Retention(NamedTuple):
    """The last `revisions` are always kept, and those younger than `seconds` unless history since the last
    compaction has grown by more than `bytes`."""

    revisions: int = 1000
    seconds: float = 300.0
    bytes: int = 256 << 20


class Sample(NamedTuple):
    """The store's `revision` at a moment (monotonic seconds), and all bytes of history written until then."""

    at: float
    revision: int
    written: int


def target(samples: Sequence[Sample], latest: Sample, retention: Retention) -> int:
    """The revision to compact to, at the moment of `latest`, from earlier samples; 0 or less for none."""
    old = [sample.revision for sample in samples if sample.at <= latest.at - retention.seconds]
    return min(max(old, default=0), latest.revision - retention.revisions)


def target_by_size(samples: Sequence[Sample], latest: Sample, retention: Retention) -> int:
    """The same for a history that is too large: leaves as much as is allowed, and one sample's more."""
    large = [sample.revision for sample in samples if sample.written < latest.written - retention.bytes]
    return min(max(large, default=0), latest.revision - retention.revisions)


def noted(samples: Sequence[Sample], latest: Sample, compacted: int) -> list[Sample]:
    """Samples that may yet become a target, with `latest` unless nothing has happened since the last one."""
    needed = [sample for sample in samples if sample.revision > compacted]
    if needed and needed[-1].revision == latest.revision:
        return needed
    return [*needed, latest]
