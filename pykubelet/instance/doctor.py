"""`pykubelet doctor`: what stands in the way of a node on this host, with cause and mending command."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict

from pykubelet.instance.facts import read_facts
from pykubelet.instance.findings import Finding, errors, examine, without_own
from pykubelet.instance.layout import Layout
from pykubelet.instance.processes import is_running
from pykubelet.instance.record import read_record
from pykubelet.instance.running import KUBELET

MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "error": "ERROR  "}


def doctor(args: Namespace) -> int:
    """Exit code 1 when `up` could not work."""
    layout = Layout.of(args.root)
    record = read_record(layout)
    component = record.component(KUBELET) if record is not None else None
    own = component.pid if component is not None and is_running(component) else None
    findings = examine(without_own(read_facts(layout), own))
    if args.json:
        json.dump({"findings": [asdict(finding) for finding in findings]}, sys.stdout, indent=2)
        print()
    else:
        print("\n".join(report(findings)))
    return 1 if errors(findings) else 0


def report(findings: list[Finding]) -> list[str]:
    """For people: a line per finding, the mending command below it (pure)."""
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]} {finding.text}")
        if finding.mend and finding.level != "ok":
            lines.append(f"        -> {finding.mend}")
    count = len(errors(findings))
    verdict = "`pykubelet up` will work here." if not count else f"{count} to mend before `pykubelet up`."
    return [*lines, "", verdict]
