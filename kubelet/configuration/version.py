"""The version this agent speaks for.

`kubelet --version` and the node's kubeletVersion name the Kubernetes release whose behaviour the agent
follows, with our own version as build metadata, so that tools which parse `Kubernetes v1.2.3` go on working.
"""

from __future__ import annotations

from importlib.metadata import version

KUBERNETES_RELEASE = "1.36.2"


def kubelet_version() -> str:
    """Such as `v1.36.2+pykubelet.0.1.0`."""
    return f"v{KUBERNETES_RELEASE}+pykubelet.{version('pykubelet')}"
