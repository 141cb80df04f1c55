"""The agent's authenticated server, made from what the agent has."""

from __future__ import annotations

from pathlib import Path

from kube.client.model import Client
from kubelet.cluster import Host
from kubelet.server.healthz import Check
from kubelet.server.metrics import NodeMetrics
from kubelet.server.node_server import NodeServer, ServerParts
from kubelet.server.served_pods import Pods
from kubelet.server.serving import Host as ServingHost


def make_node_server(
    host: Host, client: Client | None, pods: Pods, metrics: NodeMetrics, syncloop: Check
) -> NodeServer:
    """Not started yet. ValueError for settings that cannot be."""
    checks: dict[str, Check] = {"ping": lambda: None, "log": lambda: None, "syncloop": syncloop}
    parts = ServerParts(
        ServingHost(host.facts.node_name, host.facts.node_ips),
        host.config,
        Path(host.flags.cert_dir),
        client,
        host.clock,
        host.executors,
        host.runtime.runtime,
        pods,
        checks,
    )
    return NodeServer(parts, metrics)
