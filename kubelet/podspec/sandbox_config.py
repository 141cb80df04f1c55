"""A Pod as the sandbox configuration that the runtime gets (kuberuntime_sandbox.go)."""

from __future__ import annotations

from cri.types import LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol
from kube.objects.core_v1 import Pod
from kubelet.podspec.context import NodeFacts, SandboxContext
from kubelet.podspec.hostname import pod_hostname
from kubelet.podspec.names import PodIdentity, pod_labels, pod_log_dir
from kubelet.podspec.resolv import DnsDecision, pod_dns
from kubelet.podspec.security import sandbox_security

_PROTOCOLS = {"TCP": Protocol.TCP, "UDP": Protocol.UDP, "SCTP": Protocol.SCTP}


def sandbox_config(pod: Pod, attempt: int, ctx: SandboxContext) -> PodSandboxConfig:
    """What RunPodSandbox is called with. Raises SandboxConfigError (names) or ContainerConfigError."""
    meta = pod.metadata
    # A host-network pod has the node's host name, which the runtime finds itself.
    hostname = "" if pod.spec.host_network else pod_hostname(pod, ctx.node.cluster_domain).kernel
    return PodSandboxConfig(
        metadata=PodSandboxMetadata(meta.name, meta.uid, meta.namespace, attempt),
        hostname=hostname,
        log_directory=pod_log_dir(ctx.node.pod_logs_dir, PodIdentity(meta.name, meta.namespace, meta.uid)),
        dns_config=dns_for_pod(pod, ctx.node).config,
        port_mappings=port_mappings(pod),
        labels=pod_labels(pod),
        annotations=meta.annotations,
        linux=LinuxPodSandboxConfig(
            cgroup_parent=ctx.cgroup_parent,
            security_context=sandbox_security(pod, ctx),
            sysctls=sysctls(pod),
            overhead=ctx.overhead,
            resources=ctx.resources,
        ),
    )


def dns_for_pod(pod: Pod, node: NodeFacts) -> DnsDecision:
    """The DNS settings and the Warning events they deserve (the caller records those once per pod)."""
    return pod_dns(
        pod,
        node.resolv_conf,
        cluster_dns=node.cluster_dns,
        cluster_domain=node.cluster_domain,
        node_ips=node.node_ips,
    )


def sysctls(pod: Pod) -> dict[str, str]:
    """The pod's sysctls with dots, as CRI wants them; `net/ipv4/x` may be written with slashes.

    In the slash form a dot is part of a name (`net/ipv4/conf/eth0.1/x`), so the two are swapped.
    """
    if pod.spec.security_context is None:
        return {}
    return {_dotted(item.name): item.value for item in pod.spec.security_context.sysctls}


def _dotted(name: str) -> str:
    first = next((char for char in name if char in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))


def port_mappings(pod: Pod) -> tuple[PortMapping, ...]:
    """Ports of containers and sidecars; the runtime publishes those with a host port."""
    spec = pod.spec
    boxes = (*(box for box in spec.init_containers if box.restart_policy == "Always"), *spec.containers)
    return tuple(
        PortMapping(
            protocol=_PROTOCOLS.get(port.protocol or "TCP", Protocol.TCP),
            container_port=port.container_port,
            host_port=port.host_port or 0,
            host_ip=port.host_ip or "",
        )
        for box in boxes
        for port in box.ports
    )
