"""How the agent is run in an instance: its configuration file and its command line (pure)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kubelet.configuration.types import API_VERSION, KIND
from pykubelet.instance.layout import Layout

CLUSTER_DOMAIN = "cluster.local"
API_QPS = 500
STUB_RESOLVER = "127.0.0.53"
RESOLVED_CONF = "/run/systemd/resolve/resolv.conf"


@dataclass(frozen=True, slots=True)
class AgentNeeds:
    """What the host and the runtime ask of the agent's configuration."""

    runtime_endpoint: str
    healthz_port: int
    is_cgroup2_unified: bool = True
    has_swap: bool = False
    resolv_conf: str = "/etc/resolv.conf"
    port: int = 0  # of the agent's server in a cluster; 0: the agent alone, which has none


def kubelet_config(layout: Layout, needs: AgentNeeds) -> str:
    """The KubeletConfiguration, with a comment at each setting that this host forced."""
    settings: list[tuple[str, object, str]] = [
        ("apiVersion", API_VERSION, ""),
        ("kind", KIND, ""),
        ("staticPodPath", str(layout.manifests), ""),
        ("containerRuntimeEndpoint", needs.runtime_endpoint, ""),
        ("podLogsDir", str(layout.pod_logs), ""),
        ("healthzBindAddress", "127.0.0.1", ""),
        ("healthzPort", needs.healthz_port, ""),
        ("resolvConf", needs.resolv_conf, ""),
        # The API server is on this host: many pods at once must not wait for the right to say so.
        ("kubeAPIQPS", API_QPS, ""),
        ("kubeAPIBurst", 2 * API_QPS, ""),
        *_server(layout, needs.port),
    ]
    if not needs.is_cgroup2_unified:
        why = "this host has cgroup v1: the runtime keeps the cgroups"
        settings += [
            ("failCgroupV1", False, why),
            ("cgroupsPerQOS", False, why),
            ("enforceNodeAllocatable", [], why),
        ]
    if needs.has_swap:
        settings.append(("failSwapOn", False, "swap is on here"))
    lines = ["# Written by `pykubelet up`; it is written again when the agent is started again."]
    for name, value, why in settings:
        lines.append(f"{name}: {json.dumps(value)}" + (f"  # {why}" if why else ""))
    return "\n".join(lines) + "\n"


def _server(layout: Layout, port: int) -> list[tuple[str, object, str]]:
    """Who may ask the agent, and how it shows who it is: as kubeadm sets a node up."""
    if not port:
        return [("enableServer", False, "no cluster, nobody who may ask")]
    return [
        ("port", port, ""),
        ("authentication", {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        }, ""),
        ("authorization", {"mode": "Webhook"}, ""),
        ("tlsCertFile", str(layout.kubelet_pki / "kubelet.crt"), ""),
        ("tlsPrivateKeyFile", str(layout.kubelet_pki / "kubelet.key"), ""),
        ("clusterDomain", CLUSTER_DOMAIN, ""),
    ]  # fmt: skip


def kubelet_arguments(
    layout: Layout, *, is_in_cluster: bool = False, conflist: str = "", cni_directory: str = ""
) -> list[str]:
    """`conflist` is where the runtime reads the network that the agent keeps, "" where it keeps none."""
    arguments = [
        "--config", str(layout.kubelet_config),
        "--root-dir", str(layout.kubelet),
        "--local-socket", str(layout.kubelet_socket),
        "-v", "2",
    ]  # fmt: skip
    if is_in_cluster:
        arguments += ["--kubeconfig", str(layout.kubelet_kubeconfig), "--cert-dir", str(layout.kubelet_pki)]
    if is_in_cluster and conflist:
        arguments += [
            "--pod-network-bridge", layout.bridge,
            "--pod-network-conflist", conflist,
            "--pod-network-leases", str(layout.leases),
            "--cni-bin-dir", cni_directory,
        ]  # fmt: skip
    return arguments


def choose_resolv_conf(text: str, *, has_resolved: bool) -> str:
    """The file pods' resolv.conf is made from: a stub on the host's loopback would not answer in a pod."""
    return RESOLVED_CONF if has_resolved and f"nameserver {STUB_RESOLVER}" in text else "/etc/resolv.conf"
