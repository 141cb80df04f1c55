"""`python -m bench`: measure the agent against the bare runtime, write RESULTS.md. Needs root.

Each runtime is a private containerd (`tests.runtimes`) with an agent and a floor of its own, in a directory
that is gone afterwards, as is everything that ran.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, report
from bench.figures import AGENT_FLAGS, FIGURES, FULL, QUICK, Figure, Node, Scale
from bench.floor import Floor
from tests.node.agent import AgentProcess
from tests.runtimes.containerd import KINDS, PrivateContainerd, RuntimeMissing

# Until the agent has compared lists after its start; later pods of the floor are not looked at.
START_SECONDS = 1.5


def main() -> int:
    """0 when every figure is met, 1 when one misses, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runtime", choices=(*KINDS, "both"), default="both")
    parser.add_argument("--only", action="append", choices=tuple(FIGURES), help="may be given again")
    parser.add_argument("--quick", action="store_true", help="less of everything; results are only shown")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("cannot measure: because a real runtime needs root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it still cleans up
    kinds = KINDS if options.runtime == "both" else (options.runtime,)
    names = tuple(options.only or FIGURES)
    runs = {}
    figures: list[Figure] = []
    for kind in kinds:
        try:
            version, facts, found = measure(kind, names, QUICK if options.quick else FULL)
        except RuntimeMissing as missing:
            print(f"cannot measure {kind}: because {missing}", file=sys.stderr)
            return 2
        runs[kind] = report.record(kind, version, facts, found)
        figures += found
    if not options.quick:
        report.save(runs, is_partial=bool(options.only) or len(kinds) < len(KINDS))
    return 0 if all(figure.is_met for figure in figures) else 1


def measure(kind: str, names: tuple[str, ...], scale: Scale) -> tuple[str, dict[str, str], list[Figure]]:
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
