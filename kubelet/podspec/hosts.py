"""The text of a pod's /etc/hosts, as Kubernetes writes it (kubelet_pods.go)."""

from __future__ import annotations

from collections.abc import Sequence

from kube.objects.core_v1 import HostAlias

MANAGED_HEADER = "# Kubernetes-managed hosts file.\n"
HOST_NETWORK_HEADER = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL_NAMES = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


def managed_hosts(pod_ips: Sequence[str], hostname: str, domain: str, aliases: Sequence[HostAlias]) -> str:
    """Hosts file of a pod with its own network: one line per pod address, then the aliases."""
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    own = "".join(f"{ip}\t{names}\n" for ip in pod_ips)
    return MANAGED_HEADER + _LOCAL_NAMES + own + _alias_lines(aliases)


def host_network_hosts(node_hosts: str, aliases: Sequence[HostAlias]) -> str:
    """Hosts file of a hostNetwork pod: the node's own text, then the aliases."""
    return HOST_NETWORK_HEADER + node_hosts + _alias_lines(aliases)


def _alias_lines(aliases: Sequence[HostAlias]) -> str:
    if not aliases:
        return ""
    lines = "".join("\t".join((alias.ip, *alias.hostnames)) + "\n" for alias in aliases)
    return "\n# Entries added by HostAliases.\n" + lines
