"""Counts per suite, held against tests/counts.toml: a suite that silently shrinks is a failure.

Mechanism: every test belongs to one suite, by its marker or else by its folder; suites that run against
several runtimes are counted once per runtime, as `node[containerd-1.6]`. A small table is printed before
pytest's own summary line. Promise: with `--counts` (as `make test` gives it), as root on Debian 12, a skipped
test or a suite below its count fails the run; on other hosts the table only reports.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.reports import TestReport
from _pytest.terminal import TerminalReporter

from tests.runtimes.containerd import KINDS

TESTS = Path(__file__).parent
COUNTS = TESTS / "counts.toml"
FOLDERS = {
    "unit": "pure",
    "sim": "sim",
    "conformance": "conformance",
    "node": "node",
    "cluster": "cluster",
    "": "project",
}
MARKERS = ("pure", "sim", "conformance", "node", "cluster")
ORDER = ("pure", "sim", "project", "conformance", "node", "cluster")
RUNTIMES = ("fake", *KINDS)
OUTCOMES = ("passed", "skipped", "failed")
SUITE = pytest.StashKey[str]()


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One suite that is not what it should be, in words."""

    suite: str
    text: str


def shortfalls(seen: Mapping[str, Mapping[str, int]], least: Mapping[str, int]) -> list[Shortfall]:
    """What is wrong with the counts `seen` (suite -> outcome -> number), given the least that must pass."""
    found = []
    for suite in sorted({*seen, *least}):
        outcome = seen.get(suite, {})
        if outcome.get("skipped"):
            found.append(Shortfall(suite, f"{outcome['skipped']} skipped"))
        passed = outcome.get("passed", 0)
        if suite not in least:
            found.append(Shortfall(suite, "has no count in tests/counts.toml"))
        elif passed < least[suite]:
            found.append(Shortfall(suite, f"{passed} passed, {least[suite]} must"))
    return found


def table(seen: Mapping[str, Mapping[str, int]], least: Mapping[str, int]) -> list[str]:
    """The counts as lines of text, suites in the order of counts.toml and then by name."""
    order = [*least, *sorted(set(seen) - set(least))]
    width = max((len(suite) for suite in order), default=0)
    lines = [f"{'suite':<{width}}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES) + f"{'least':>9}"]
    for suite in order:
        numbers = "".join(f"{seen.get(suite, {}).get(outcome, 0):>9}" for outcome in OUTCOMES)
        lines.append(f"{suite:<{width}}{numbers}{least.get(suite, '-'):>9}")
    return lines


def suite_of(path: Path, markers: Iterable[str], parameters: Iterable[object]) -> str:
    """The suite of one test: by marker, else by folder; with the runtime it is parametrised by, if any.

    Raises ValueError for a test that belongs to none, or to two.
    """
    marked = [marker for marker in MARKERS if marker in set(markers)]
    if len(marked) > 1:
        raise ValueError(f"{path}: has the markers {' and '.join(marked)}; a test belongs to one suite")
    inner = path.relative_to(TESTS).parts
    folder = inner[0] if len(inner) > 1 else ""
    if not marked and folder not in FOLDERS:
        raise ValueError(f"{path}: belongs to no suite; give it a marker ({', '.join(MARKERS)})")
    suite = marked[0] if marked else FOLDERS[folder]
    runtimes = [value for value in parameters if isinstance(value, str) and value in RUNTIMES]
    return f"{suite}[{runtimes[0]}]" if runtimes else suite


def is_reference_host() -> bool:
    """Root on Debian 12, where every suite can run."""
    if os.geteuid() != 0:
        return False
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    return "\nID=debian\n" in f"\n{text}" and 'VERSION_ID="12"' in text


class Counting:
    """The plugin: notes each test's outcome, prints the table, fails the run when asked to."""

    def __init__(self, config: pytest.Config) -> None:
        self._asked = bool(config.getoption("counts"))
        self._strict = self._asked and is_reference_host()
        self._least: dict[str, int] = tomllib.loads(COUNTS.read_text())["least"]
        self._suites: dict[str, str] = {}
        self._outcomes: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if TESTS not in item.path.parents:
                continue
            callspec = getattr(item, "callspec", None)
            parameters = callspec.params.values() if callspec is not None else ()
            try:
                suite = suite_of(item.path, (mark.name for mark in item.iter_markers()), parameters)
            except ValueError as problem:
                raise pytest.UsageError(str(problem)) from None
            self._suites[item.nodeid] = suite
            marker = suite.partition("[")[0]
            if marker in MARKERS and item.get_closest_marker(marker) is None:
                item.add_marker(marker)

    @pytest.hookimpl(specname="pytest_collection_modifyitems", trylast=True)
    def order_by_suite(self, items: list[pytest.Item]) -> None:
        """The quick suites first; the order within a suite, by runtime, is pytest's."""
        rank = {suite: number for number, suite in enumerate(ORDER)}
        items.sort(key=lambda item: rank.get(self._suites.get(item.nodeid, "").partition("[")[0], 0))

    def pytest_runtest_logreport(self, report: TestReport) -> None:
        # Three reports a test; a failure in set-up or clean-up outweighs what the test itself said.
        known = self._outcomes.get(report.nodeid)
        weightier = report.failed or known is None or (known == "passed" and report.skipped)
        if weightier and known != "failed":
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._problems() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if not self._asked:
            return
        terminalreporter.section("counts")
        for line in table(self._seen(), self._least):
            terminalreporter.write_line(line)
        for problem in self._problems():
            text = f"{problem.suite}: {problem.text}"
            terminalreporter.write_line(f"COUNT {text}", red=True)
            # Listed among the errors, so that pytest's last line says that the run failed.
            nodeid = f"tests/counts.toml::{problem.suite}"
            report = TestReport(nodeid, (nodeid, None, ""), {}, "failed", text, "teardown")
            terminalreporter.stats.setdefault("error", []).append(report)

    def _seen(self) -> dict[str, Counter[str]]:
        seen: dict[str, Counter[str]] = defaultdict(Counter)
        for nodeid, outcome in self._outcomes.items():
            seen[self._suites.get(nodeid, "project")][outcome] += 1
        return seen

    def _problems(self) -> list[Shortfall]:
        return shortfalls(self._seen(), self._least) if self._strict else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--counts",
        action="store_true",
        help="a full run: print the counts per suite and hold them against tests/counts.toml",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Counting(config), "pykubelet-counting")
