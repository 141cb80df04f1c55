"""`pykubelet doctor`: what stands in the way of a node on this host, with cause and mending command."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from dataclasses import asdict

from pykubelet.instance.facts import read_facts
from pykubelet.instance.findings import Finding, errors, examine, network_finding, without_own
from pykubelet.instance.layout import Layout
from pykubelet.instance.network_trial import try_host
from pykubelet.instance.record import read_record
from pykubelet.instance.running import CONTROLPLANE, is_process_up, own_kubelet

MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "error": "ERROR  "}


def doctor(args: Namespace) -> int:
    """Exit code 1 when `up` could not work."""
    layout = Layout.of(args.root)
    record = read_record(layout)
    facts = read_facts(layout, with_kubectl=True)
    is_serving = is_process_up(record, CONTROLPLANE)
    findings = examine(without_own(facts, own_kubelet(record), is_serving=is_serving))
    if facts.is_root and facts.cni_directory and not facts.cni_missing and facts.programs.get("ip"):
        findings.append(network_finding(asyncio.run(try_host(facts.cni_directory))))
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
