"""Which labels a node has of its own, and which it may be given by --node-labels (pure).

Rules: kubelet 1.36, cmd/kubelet/app/options (ValidateKubeletFlags), pkg/kubelet/kubelet_node_status.go
(initialNode, updateDefaultLabels), kubernetes/pkg/kubelet/apis/well_known_labels.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from kube.validation import names

HOSTNAME = "kubernetes.io/hostname"
OS = "kubernetes.io/os"
ARCH = "kubernetes.io/arch"
BETA_OS = "beta.kubernetes.io/os"
BETA_ARCH = "beta.kubernetes.io/arch"
_PLACES = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
)
# What a restarted agent corrects on a Node that exists; everything else there is left alone.
DEFAULT_LABELS = (HOSTNAME, *_PLACES, OS, ARCH, BETA_OS, BETA_ARCH)
_OPEN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_OPEN_LABELS = frozenset((HOSTNAME, OS, ARCH, BETA_OS, BETA_ARCH, *_PLACES))
_CLOSED_DOMAINS = ("kubernetes.io", "k8s.io")


def own_labels(hostname: str, architecture: str, given: Mapping[str, str]) -> dict[str, str]:
    """The labels a Node is registered with; `given` (--node-labels) wins, as upstream."""
    labels = {
        HOSTNAME: hostname, OS: "linux", ARCH: architecture, BETA_OS: "linux", BETA_ARCH: architecture,
    }  # fmt: skip
    return labels | dict(given)


def corrected(existing: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """What has to be set of an existing Node's labels: only default ones, and nothing is ever taken away, so
    that what administrators set stays."""
    return {
        name: wanted[name] for name in DEFAULT_LABELS if name in wanted and existing.get(name) != wanted[name]
    }


def problems(given: Mapping[str, str]) -> list[str]:
    """What is wrong with --node-labels, one sentence each; [] when all may be set."""
    found = []
    unknown = sorted(name for name in given if not may_set(name))
    if unknown:
        found.append(
            f"unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: {unknown}\n"
            "--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
            f"({', '.join(_OPEN_PREFIXES)}) or be in the specifically allowed set "
            f"({', '.join(sorted(_OPEN_LABELS))})"
        )
    for error in names.labels("--node-labels", given):
        found.append(f"invalid node labels: {error}")
    return found


def may_set(name: str) -> bool:
    """Whether a node may give itself this label: outside Kubernetes' own domains anything."""
    domain, slash, _ = name.rpartition("/")
    if not slash or not _is_within(domain, _CLOSED_DOMAINS):
        return True
    return name in _OPEN_LABELS or _is_within(domain, _OPEN_PREFIXES)


def _is_within(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)
