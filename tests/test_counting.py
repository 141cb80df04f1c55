"""The counts themselves: which suite a test is in, and what fails a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.counting import TESTS, shortfalls, suite_of, table


@pytest.mark.parametrize(
    ("path", "markers", "parameters", "suite"),
    [
        ("unit/kube/test_a.py", ["pure"], [], "pure"),
        ("unit/kube/test_a.py", [], [], "pure"),
        ("sim/test_a.py", ["sim", "parametrize"], ["fake"], "sim[fake]"),
        ("conformance/test_a.py", [], [3, "containerd-1.6"], "conformance[containerd-1.6]"),
        ("node/test_a.py", [], ["containerd-2.1"], "node[containerd-2.1]"),
        ("cluster/test_a.py", [], [], "cluster"),
        ("test_a.py", [], [], "project"),
        ("unit/kube/test_a.py", ["sim"], [], "sim"),
    ],
)
def test_suite_is_the_marker_else_the_folder(
    path: str, markers: list[str], parameters: list[object], suite: str
) -> None:
    assert suite_of(TESTS / path, markers, parameters) == suite


@pytest.mark.parametrize(("path", "markers"), [("else/test_a.py", []), ("unit/test_a.py", ["pure", "sim"])])
def test_test_of_no_suite_or_two_is_refused(path: str, markers: list[str]) -> None:
    with pytest.raises(ValueError, match=Path(path).name):
        suite_of(TESTS / path, markers, [])


def test_fewer_passed_than_promised_is_a_shortfall() -> None:
    (found,) = shortfalls({"pure": {"passed": 9}}, {"pure": 10})
    assert (found.suite, found.text) == ("pure", "9 passed, 10 must")


def test_suite_that_did_not_run_is_a_shortfall() -> None:
    (found,) = shortfalls({}, {"node[containerd-2.1]": 3})
    assert found.text == "0 passed, 3 must"


def test_skip_is_a_shortfall_even_with_enough_passed() -> None:
    (found,) = shortfalls({"sim": {"passed": 12, "skipped": 1}}, {"sim": 10})
    assert found.text == "1 skipped"


def test_suite_without_a_count_is_a_shortfall() -> None:
    (found,) = shortfalls({"new": {"passed": 1}}, {})
    assert found.suite == "new"


def test_enough_passed_and_nothing_skipped_is_fine() -> None:
    assert shortfalls({"pure": {"passed": 12}}, {"pure": 10}) == []


def test_table_shows_every_suite_once_with_its_numbers() -> None:
    lines = table({"pure": {"passed": 12}, "new": {"failed": 2}}, {"pure": 10})
    assert [line.split() for line in lines] == [
        ["suite", "passed", "skipped", "failed", "least"],
        ["pure", "12", "0", "0", "10"],
        ["new", "0", "0", "2", "-"],
    ]
