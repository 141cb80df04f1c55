"""`pykubelet status`: whether the node is up, what it is made of, and its pods. Exit code 0 ready, 3 not.

Whether the node is ready is what the API says of it, as everybody else in the cluster sees it.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from pykubelet.instance.layout import Layout
from pykubelet.instance.local import AgentAway
from pykubelet.instance.podrows import PodRow
from pykubelet.instance.record import Record, read_record
from pykubelet.instance.running import Condition, look_at, node_name, pod_rows, pod_table
from pykubelet.tables import table

NOT_READY = 3
HEADER = ("COMPONENT", "READY", "PID", "MEMORY")
_MIB = 1 << 20


def status(args: Namespace) -> int:
    layout = Layout.of(args.root)
    record = read_record(layout)
    condition = look_at(layout, record)
    try:
        rows = pod_rows(layout) if record is not None else []
    except AgentAway:
        rows = []
    if args.json:
        json.dump(status_document(layout, record, condition, rows), sys.stdout, indent=2)
        print()
    else:
        print("\n".join(status_lines(layout, record, condition)))
        if condition.is_ready:
            print("\n" + pod_table(rows), end="")
    return 0 if condition.is_ready else NOT_READY


def status_document(
    layout: Layout, record: Record | None, condition: Condition, rows: list[PodRow]
) -> dict[str, Any]:
    """`kubeconfig` is null where there is no cluster; `why` for a node that is not ready."""
    has_cluster = record is not None and not record.is_standalone
    return {
        "node": node_name(),
        "ready": condition.is_ready,
        "why": condition.node.why or None,
        "kubeconfig": str(layout.admin_kubeconfig) if has_cluster else None,
        "runtime_endpoint": record.runtime_endpoint if record is not None else None,
        "components": [
            {"name": state.name, "pid": state.pid, "rss_bytes": state.rss_bytes, "ready": state.is_ready}
            for state in condition.components
        ],
        "pods": [
            {
                "name": row.name, "ready": row.is_ready, "containers_ready": row.ready,
                "status": row.status, "restarts": row.restarts, "ip": row.ip,
            }
            for row in rows
        ],
    }  # fmt: skip


def status_lines(layout: Layout, record: Record | None, condition: Condition) -> list[str]:
    """For people."""
    if record is None:
        return [f"The node in {layout.root} is down. `pykubelet up` brings it up."]
    lines = [
        f"The node in {layout.root} is {'up' if condition.is_ready else 'not ready'}.",
        f"node       {node_name()}" + (f" ({condition.node.why})" if condition.node.why else ""),
        f"runtime    {record.runtime_endpoint}",
        f"manifests  {record.static}",
    ]
    if not record.is_standalone:
        lines.append(f"kubeconfig {layout.admin_kubeconfig}")
    lines.append("")
    cells = [
        (
            state.name,
            "yes" if state.is_ready else "no",
            str(state.pid) if state.pid is not None else "-",
            f"{state.rss_bytes / _MIB:.1f} MiB" if state.rss_bytes else "-",
        )
        for state in condition.components
    ]
    lines.append(table(HEADER, cells).rstrip("\n"))
    if not condition.is_ready:
        lines += ["", "`pykubelet up` starts what is missing; running containers go on."]
    return lines
