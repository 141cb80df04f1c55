"""What a manifest directory holds: good news at once, bad news after it settled."""

from __future__ import annotations

import pytest

from kube.errors import FieldError
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.sources.fileset import SETTLE_SECONDS, FileSet, Reading, delivery, is_manifest_name, take

pytestmark = pytest.mark.pure

FAULT = (FieldError("spec.containers", "Required value", line=3),)


def good(name: str, pod: str, digest: str = "d1") -> Reading:
    return Reading(
        name, digest, (Pod(metadata=ObjectMeta(name=pod, namespace="default", uid=f"{pod}-{digest}")),)
    )


def broken(name: str, digest: str = "bad") -> Reading:
    return Reading(name, digest, faults=FAULT)


def uids(files: FileSet) -> list[str]:
    return [pod.metadata.uid for pod in delivery(files, "/m").pods]


def test_good_manifest_counts_at_once() -> None:
    files, report = take(FileSet(), [good("b.yaml", "b"), good("a.yaml", "a")], now=0.0)
    assert uids(files) == ["a-d1", "b-d1"]
    assert report == ()
    assert files.next_due() is None


def test_vanished_file_keeps_its_pod_until_it_settled() -> None:
    files, _ = take(FileSet(), [good("a.yaml", "a")], now=0.0)
    files, _ = take(files, [Reading("a.yaml")], now=1.0)
    assert uids(files) == ["a-d1"]
    assert files.next_due() == 1.0 + SETTLE_SECONDS
    assert files.names_due(1.0) == frozenset()
    due = files.names_due(1.0 + SETTLE_SECONDS)
    files, _ = take(files, [Reading("a.yaml")], now=1.1, settled=due)
    assert uids(files) == []
    assert files.next_due() is None


def test_file_that_comes_back_in_time_was_never_gone() -> None:
    files, _ = take(FileSet(), [good("a.yaml", "a")], now=0.0)
    files, _ = take(files, [Reading("a.yaml")], now=1.0)
    files, _ = take(files, [good("a.yaml", "a", "d2")], now=1.01)
    assert uids(files) == ["a-d2"]
    assert files.next_due() is None


def test_renamed_file_hands_its_pod_over_without_a_moment_of_two() -> None:
    files, _ = take(FileSet(), [good("a.yaml", "web")], now=0.0)
    files, _ = take(files, [Reading("a.yaml"), good("z.yaml", "web", "d2")], now=1.0)
    assert uids(files) == ["web-d2"]
    assert files.next_due() is None


def test_broken_manifest_keeps_the_running_pod_and_is_reported_once() -> None:
    files, _ = take(FileSet(), [good("a.yaml", "a")], now=0.0)
    files, report = take(files, [broken("a.yaml")], now=1.0)
    assert report == ()
    assert uids(files) == ["a-d1"]
    assert delivery(files, "/m").undecodable == {"/m/a.yaml"}
    files, report = take(files, [broken("a.yaml")], now=1.1, settled=frozenset({"a.yaml"}))
    assert report == (broken("a.yaml"),)
    assert uids(files) == ["a-d1"]
    files, report = take(files, [broken("a.yaml")], now=21.0)  # the relist sees it again
    assert report == ()
    assert files.next_due() is None
    files, report = take(files, [broken("a.yaml", "worse")], now=30.0)
    files, report = take(files, [broken("a.yaml", "worse")], now=30.1, settled=frozenset({"a.yaml"}))
    assert len(report) == 1


def test_mended_manifest_runs_and_breaking_it_alike_again_is_reported_again() -> None:
    files = FileSet()
    reports = 0
    for round_ in range(2):
        at = 10.0 * round_
        files, _ = take(files, [broken("a.yaml")], now=at)
        files, report = take(files, [broken("a.yaml")], now=at + 0.1, settled=frozenset({"a.yaml"}))
        reports += len(report)
        files, _ = take(files, [good("a.yaml", "a", f"d{round_}")], now=at + 1)
        assert delivery(files, "/m").undecodable == frozenset()
    assert reports == 2


def test_half_written_file_that_is_completed_is_not_reported() -> None:
    files, _ = take(FileSet(), [broken("a.yaml", "half")], now=0.0)
    files, report = take(files, [good("a.yaml", "a")], now=0.01)
    assert report == ()
    assert files.names_due(1.0) == frozenset()


def test_broken_manifest_of_a_restarted_agent_starts_nothing_and_is_listed() -> None:
    files, _ = take(FileSet(), [broken("a.yaml"), good("b.yaml", "b")], now=0.0)
    assert uids(files) == ["b-d1"]
    assert delivery(files, "/m/").undecodable == {"/m/a.yaml"}


def test_broken_manifest_that_is_taken_away_takes_its_pod_along() -> None:
    files, _ = take(FileSet(), [good("a.yaml", "a")], now=0.0)
    files, _ = take(files, [broken("a.yaml")], now=1.0)
    files, _ = take(files, [Reading("a.yaml")], now=2.0)
    files, _ = take(files, [Reading("a.yaml")], now=2.1, settled=frozenset({"a.yaml"}))
    assert uids(files) == []
    assert delivery(files, "/m").undecodable == frozenset()


@pytest.mark.parametrize(
    ("name", "counts"),
    [("web.yaml", True), ("web", True), (".web.yaml", False), (".web.yaml.swp", False), ("web.yaml~", False)],
)
def test_names_with_a_dot_in_front_and_editors_backups_are_left_out(name: str, counts: bool) -> None:
    assert is_manifest_name(name) is counts
