"""Which images may go: thresholds, ages, use, pins and the sandbox image."""

from __future__ import annotations

import pytest

from cri.types import Image
from kubelet.images import collect
from kubelet.images.collect import ImageGcPolicy, ImageRecord

pytestmark = pytest.mark.pure

GIB = 1 << 30
POLICY = ImageGcPolicy()


def record(id: str, *, size: int = 100, first: float = 0.0, used: float = 0.0, **more: bool) -> ImageRecord:
    return ImageRecord(id, size, first, used, **more)


def table(*records: ImageRecord) -> dict[str, ImageRecord]:
    return {one.id: one for one in records}


@pytest.mark.parametrize(
    ("available_percent", "policy", "expected_percent"),
    [
        (16, POLICY, 0),
        (15, POLICY, 5),
        (10, POLICY, 10),
        (0, POLICY, 20),
        (5, ImageGcPolicy(high_percent=100), 0),
        (40, ImageGcPolicy(high_percent=60, low_percent=50), 10),
    ],
)
def test_from_the_high_threshold_on_space_is_freed_down_to_the_low_one(
    available_percent: int, policy: ImageGcPolicy, expected_percent: int
) -> None:
    wanted = collect.bytes_to_free(100 * GIB, available_percent * GIB, policy)
    assert wanted == expected_percent * GIB


def test_least_recently_used_goes_first_then_the_longest_known() -> None:
    records = table(
        record("recent", used=900.0),
        record("long-known", first=1.0),
        record("newer", first=2.0),
        record("older-use", used=500.0),
    )
    order = collect.select(records, 10_000, POLICY, now=1000.0).images
    assert [one.id for one in order] == ["long-known", "newer", "older-use", "recent"]


def test_no_more_goes_than_is_wanted() -> None:
    records = table(record("a"), record("b"), record("c"))
    selection = collect.select(records, 150, POLICY, now=1000.0)
    assert [one.id for one in selection.images] == ["a", "b"]
    assert selection.freed_bytes == 200
    assert collect.select(records, 0, POLICY, now=1000.0).images == ()


def test_images_in_use_pinned_or_young_stay() -> None:
    records = table(
        record("in-use", is_in_use=True, used=1000.0),
        record("pinned", is_kept=True),
        record("young", first=900.0),
        record("free"),
    )
    selection = collect.select(records, 10_000, POLICY, now=1000.0)
    assert [one.id for one in selection.images] == ["free"]


def test_image_counts_as_old_only_once_the_agent_ran_that_long() -> None:
    policy = ImageGcPolicy(max_age_seconds=100)
    records = table(
        record("old", first=10.0), record("used", used=950.0), record("busy", is_in_use=True, first=10.0)
    )
    assert collect.too_old(records, policy, now=1000.0, started_at=950.0) == ()
    assert [one.id for one in collect.too_old(records, policy, now=1000.0, started_at=0.0)] == ["old"]
    assert collect.too_old(records, POLICY, now=1e9, started_at=0.0) == ()


IMAGE = Image(
    id="sha256:1", repo_tags=("docker.io/library/app:1",), repo_digests=("docker.io/library/app@sha256:9",)
)


@pytest.mark.parametrize("name", ["sha256:1", "docker.io/library/app:1", "docker.io/library/app@sha256:9"])
def test_image_is_in_use_by_whatever_name_a_container_knows_it(name: str) -> None:
    seen = collect.observe({}, [IMAGE], [name], [], now=5.0)
    assert seen["sha256:1"].is_in_use
    assert seen["sha256:1"].last_used == 5.0


@pytest.mark.parametrize("name", ["app:1", "docker.io/library/app:1", "index.docker.io/library/app:1"])
def test_sandbox_image_is_never_chosen_however_its_name_is_written(name: str) -> None:
    seen = collect.observe({}, [IMAGE], [], [name], now=5.0)
    assert collect.select(seen, 10_000, POLICY, now=5000.0).images == ()
    assert collect.too_old(seen, ImageGcPolicy(max_age_seconds=1), now=5000.0, started_at=0.0) == ()


def test_pinned_image_is_kept() -> None:
    pinned = Image(id="sha256:1", pinned=True)
    assert collect.observe({}, [pinned], [], [], now=5.0)["sha256:1"].is_kept


def test_records_remember_first_sight_and_last_use_and_forget_what_is_gone() -> None:
    first = collect.observe({}, [IMAGE], ["sha256:1"], [], now=5.0)
    second = collect.observe(first, [IMAGE, Image(id="sha256:2")], [], [], now=8.0)
    assert (second["sha256:1"].first_seen, second["sha256:1"].last_used) == (5.0, 5.0)
    assert not second["sha256:1"].is_in_use
    assert second["sha256:2"].first_seen == 8.0
    assert list(collect.observe(second, [IMAGE], [], [], now=9.0)) == ["sha256:1"]


def test_message_says_what_holds_the_space() -> None:
    records = table(
        record("a", is_in_use=True), record("b", is_kept=True, size=50), record("c", first=990.0, size=7)
    )
    text = collect.explain(records, 1000, POLICY, now=1000.0)
    assert text == (
        "Of 3 images 1 (100 bytes) are in use, 1 (50 bytes) are pinned, 1 (7 bytes) are younger than 120s;"
        " 843 bytes are used by other things than images"
    )
    assert collect.insufficient(900, 1000, text).startswith(
        "Insufficient free disk space on the node's image filesystem (90.0% of 1000 bytes used)."
    )
