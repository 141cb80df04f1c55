"""Host name and domain of a pod, and what the kernel is told (kubelet_pods.go, util/pod_name)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kube.objects.core_v1 import Pod
from kubelet.podspec.errors import SandboxConfigError

HOSTNAME_MAX_CHARS = 63  # kubelet_pods.go truncatePodHostnameIfNeeded
KERNEL_NODENAME_MAX_CHARS = 64  # __NEW_UTS_LEN
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@dataclass(frozen=True, slots=True)
class PodHostname:
    """`kernel` is what uname shows inside; `domain` is "" without a subdomain."""

    hostname: str
    domain: str
    kernel: str


def pod_hostname(pod: Pod, cluster_domain: str) -> PodHostname:
    """The pod's names; raises SandboxConfigError when they are invalid or the FQDN is too long."""
    spec = pod.spec
    if spec.hostname_override:
        return PodHostname(spec.hostname_override, "", spec.hostname_override)
    hostname = _checked(spec.hostname, "Hostname") if spec.hostname else pod.metadata.name or ""
    hostname = _truncated(hostname, pod.metadata.name or "")
    domain = ""
    if spec.subdomain:
        subdomain = _checked(spec.subdomain, "Subdomain")
        domain = f"{subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"
    kernel = hostname
    if domain and spec.set_hostname_as_fqdn:
        kernel = f"{hostname}.{domain}"
        if len(kernel) > KERNEL_NODENAME_MAX_CHARS:
            raise SandboxConfigError(
                "failed to construct FQDN from pod hostname and cluster domain, "
                f"FQDN {kernel} is too long ({KERNEL_NODENAME_MAX_CHARS} characters is the max, "
                f"{len(kernel)} characters requested)"
            )
    return PodHostname(hostname, domain, kernel)


def _checked(value: str, field: str) -> str:
    if len(value) > HOSTNAME_MAX_CHARS:
        rule = f"must be no more than {HOSTNAME_MAX_CHARS} characters"
    elif _LABEL.match(value) is None:
        rule = _LABEL_RULE
    else:
        return value
    raise SandboxConfigError(f'pod {field} "{value}" is not a valid DNS label: {rule}')


def _truncated(hostname: str, pod_name: str) -> str:
    if len(hostname) <= HOSTNAME_MAX_CHARS:
        return hostname
    cut = hostname[:HOSTNAME_MAX_CHARS].rstrip("-.")
    if not cut:
        raise SandboxConfigError(f'hostname for pod "{pod_name}" was invalid: "{hostname}"')
    return cut
