"""`python -m bench`: measure the agent against the bare runtime, a whole cluster and its API server; write
RESULTS.md. Needs root.

For the agent alone each runtime is a private containerd (`tests.runtimes`) with an agent and a floor of its
own; a cluster is what `pykubelet up` makes. All is in a directory that is gone afterwards, as is everything
that ran.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import apiserver_figures, cluster, machine, report
from bench.figures import AGENT_FLAGS, FIGURES, FULL, QUICK, START_SECONDS, Figure, Node, Scale
from bench.floor import Floor
from tests.node.agent import AgentProcess
from tests.runtimes.containerd import KINDS, PrivateContainerd, RuntimeMissing

PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(KINDS, tuple(FIGURES)),
    cluster.KIND: tuple(cluster.FIGURES),
    apiserver_figures.KIND: apiserver_figures.NAMES,
}
"""What is measured, and the groups of figures of each."""


def main() -> int:
    """0 when every figure is met, 1 when one misses, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--part", action="append", choices=tuple(PARTS), help="default all; may be given again"
    )
    every = tuple(name for names in PARTS.values() for name in names)
    parser.add_argument(
        "--only", action="append", choices=every, help="a group of figures; may be given again"
    )
    parser.add_argument("--quick", action="store_true", help="less of everything; results are only shown")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("cannot measure: because a real runtime needs root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it still cleans up
    wanted = {part: chosen(part, options.only) for part in options.part or PARTS}
    runs = {}
    figures: list[Figure] = []
    for part, names in wanted.items():
        if not names:
            continue
        try:
            version, facts, found = measure(part, names, QUICK if options.quick else FULL)
        except RuntimeMissing as missing:
            print(f"cannot measure {part}: because {missing}", file=sys.stderr)
            return 2
        runs[part] = report.record(part, version, facts, found)
        figures += found
        if not options.quick:
            report.save(runs, is_partial=bool(options.only))
    return 0 if all(figure.is_met for figure in figures) else 1


def chosen(part: str, only: Sequence[str] | None) -> tuple[str, ...]:
    """The groups of figures of a part that were asked for."""
    return tuple(name for name in PARTS[part] if only is None or name in only)


def measure(part: str, names: tuple[str, ...], scale: Scale) -> tuple[str, dict[str, str], list[Figure]]:
    """Version of what is measured, facts about the machine, and the figures."""
    if part in KINDS:
        return measure_node(part, names, scale)
    facts, version = machine.facts(), importlib.metadata.version("pykubelet")
    if part == cluster.KIND:
        return version, facts, cluster.measure(names, scale, _say)
    base = Path(tempfile.mkdtemp(prefix="pkb-", dir="/tmp"))
    try:
        found = apiserver_figures.measure(scale.api_seconds, base)
    finally:
        shutil.rmtree(base)
    for figure in found:
        _say(report.row(figure))
    return version, facts, found


def measure_node(kind: str, names: tuple[str, ...], scale: Scale) -> tuple[str, dict[str, str], list[Figure]]:
    """Version of the runtime, facts about the machine, and the figures."""
    facts = machine.facts()
    base = Path(tempfile.mkdtemp(prefix="pkb-", dir="/tmp"))
    agent: AgentProcess | None = None
    figures: list[Figure] = []
    try:
        with PrivateContainerd(kind, base / "r") as runtime:
            runtime.import_images()
            agent = AgentProcess(runtime.endpoint, base / "a")
            with Floor(runtime.endpoint, base / "f") as floor:
                for name in names:
                    began = time.monotonic()
                    agent.start(*AGENT_FLAGS, verbosity=0)
                    time.sleep(START_SECONDS)
                    node = Node(runtime.endpoint, agent, floor, scale, _say)
                    found = FIGURES[name](node)
                    agent.stop()
                    for figure in found:
                        _say(report.row(figure))
                    _say(f"{name}: {time.monotonic() - began:.0f} s")
                    figures += found
    finally:
        if agent is not None:
            agent.close()
        shutil.rmtree(base)
    return runtime.version, facts, figures


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
