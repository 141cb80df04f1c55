"""`pykubelet status`: whether the node is up, what it is made of, and its pods. Exit code 0 ready, 3 not."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from pykubelet.instance.layout import Layout
from pykubelet.instance.local import AgentAway
from pykubelet.instance.podrows import PodRow
from pykubelet.instance.record import Record, read_record
from pykubelet.instance.running import ComponentState, components, node_name, pod_rows, pod_table
from pykubelet.tables import table

NOT_READY = 3
HEADER = ("COMPONENT", "READY", "PID", "MEMORY")
_MIB = 1 << 20


def status(args: Namespace) -> int:
    layout = Layout.of(args.root)
    record = read_record(layout)
    states = components(layout, record)
    is_ready = all(state.is_ready for state in states)
    try:
        rows = pod_rows(layout) if record is not None else []
    except AgentAway:
        rows = []
    if args.json:
        json.dump(status_document(record, states, rows, node_name()), sys.stdout, indent=2)
        print()
    else:
        print("\n".join(status_lines(layout, record, states)))
        if is_ready:
            print("\n" + pod_table(rows), end="")
    return 0 if is_ready else NOT_READY


def status_document(
    record: Record | None, states: list[ComponentState], rows: list[PodRow], node: str
) -> dict[str, Any]:
    """`kubeconfig` is null while the node belongs to no cluster."""
    return {
        "node": node,
        "ready": all(state.is_ready for state in states),
        "kubeconfig": None,
        "runtime_endpoint": record.runtime_endpoint if record is not None else None,
        "components": [
            {"name": state.name, "pid": state.pid, "rss_bytes": state.rss_bytes, "ready": state.is_ready}
            for state in states
        ],
        "pods": [
            {
                "name": row.name, "ready": row.is_ready, "containers_ready": row.ready,
                "status": row.status, "restarts": row.restarts, "ip": row.ip,
            }
            for row in rows
        ],
    }  # fmt: skip


def status_lines(layout: Layout, record: Record | None, states: list[ComponentState]) -> list[str]:
    """For people."""
    if record is None:
        return [f"The node in {layout.root} is down. `pykubelet up` brings it up."]
    is_ready = all(state.is_ready for state in states)
    lines = [
        f"The node in {layout.root} is {'up' if is_ready else 'not ready'}.",
        f"runtime   {record.runtime_endpoint}",
        f"manifests {record.static}",
        "",
    ]
    cells = [
        (
            state.name,
            "yes" if state.is_ready else "no",
            str(state.pid) if state.pid is not None else "-",
            f"{state.rss_bytes / _MIB:.1f} MiB" if state.rss_bytes else "-",
        )
        for state in states
    ]
    lines.append(table(HEADER, cells).rstrip("\n"))
    if not is_ready:
        lines += ["", "`pykubelet up` starts what is missing; running containers go on."]
    return lines
