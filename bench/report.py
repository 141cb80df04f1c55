"""Results as a table for people (RESULTS.md) and as JSON for the next run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures import Figure

HERE = Path(__file__).parent
TABLE = HERE / "RESULTS.md"
RECORD = HERE / "results.json"
MISSES = HERE / "misses.md"
"""What is known about figures that miss, by hand; it goes into the table while one does."""

HEAD = """# Results

Written by `make bench` (`python -m bench`). The floor is the same pods driven straight over CRI against the
same containerd, in the same run, by a lean program in a process of its own (`bench/floor.py`), best of 1, 2,
4, 8 and 16 in flight. Ours and the floor take turns; medians, quartiles in parentheses. Of a cluster the user
is a process of its own too (`bench/cluster_client.py`), and a pod is ready when a watch has told that user.
"""


def record(kind: str, version: str, facts: Mapping[str, str], figures: list[Figure]) -> dict[str, Any]:
    """What is kept of one runtime's run."""
    return {
        "kind": kind,
        "version": version,
        "facts": dict(facts),
        "figures": [asdict(one) for one in figures],
    }


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A run of some figures replaces those and keeps the others of the same runtime."""
    fresh = {figure["name"] for figure in new["figures"]}
    kept = [figure for figure in old.get("figures", ()) if figure["name"] not in fresh]
    return {**new, "figures": [*kept, *new["figures"]]}


def save(runs: Mapping[str, dict[str, Any]], *, is_partial: bool) -> None:
    """Write both files; with `is_partial` what was not measured this time stays."""
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for kind, run in runs.items():
        known[kind] = merge(known.get(kind, {}), run) if is_partial else run
    RECORD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    notes = MISSES.read_text() if MISSES.exists() else ""
    TABLE.write_text(render(known, notes))


def render(runs: Mapping[str, dict[str, Any]], notes: str) -> str:
    """RESULTS.md (pure)."""
    parts = [HEAD]
    for kind in sorted(runs):
        run = runs[kind]
        facts = ", ".join(f"{name} {value}" for name, value in run["facts"].items())
        parts.append(f"## {kind} ({run['version']})\n\n{facts}\n")
        lines = ["| figure | target | measured | | how |", "|---|---|---|---|---|"]
        lines += [row(Figure(**figure)) for figure in run["figures"]]
        parts.append("\n".join(lines) + "\n")
    if notes and not all(Figure(**one).is_met for run in runs.values() for one in run["figures"]):
        parts.append(notes)
    return "\n".join(parts)


def row(figure: Figure) -> str:
    """One line of the table."""
    target = "" if figure.target is None else f"{'>=' if figure.at_least else '<='} {figure.target:g}"
    verdict = "" if figure.target is None else ("met" if figure.is_met else "**missed**")
    unit = f" {figure.unit}"
    target = f"{target}{unit}" if target else ""
    return f"| {figure.name} | {target} | {figure.value:.2f}{unit} | {verdict} | {figure.detail} |"
