"""The kinds of volume this agent has. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from kubelet.podspec.context import NodeFacts
from kubelet.volumes.empty_dir import EmptyDirPlugin
from kubelet.volumes.host_path import HostPathPlugin
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.payload import ProjectionSource
from kubelet.volumes.plugin import VolumePlugin
from kubelet.volumes.projected import ComputedVolumes, DownwardApiPlugin, ProjectedPlugin


def builtin_plugins(
    mounter: Mounter, node: Callable[[], NodeFacts], source: ProjectionSource | None = None
) -> tuple[VolumePlugin, ...]:
    """Every kind; `source` gives the API-backed parts of projected volumes when there is an API server."""
    computed = ComputedVolumes(mounter, node)
    return (
        EmptyDirPlugin(mounter, node),
        HostPathPlugin(),
        DownwardApiPlugin(computed),
        ProjectedPlugin(computed, source),
    )
