"""The kinds of volume this agent has. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from kubelet.podspec.context import NodeFacts
from kubelet.volumes.computed import COMPUTED, ComputedPlugin
from kubelet.volumes.empty_dir import EmptyDirPlugin
from kubelet.volumes.host_path import HostPathPlugin
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.plugin import VolumePlugin


def builtin_plugins(mounter: Mounter, node: Callable[[], NodeFacts]) -> tuple[VolumePlugin, ...]:
    """Every kind. What the computed ones show of the API is gathered by `PodVolumes`."""
    return (
        EmptyDirPlugin(mounter, node),
        HostPathPlugin(),
        *(ComputedPlugin(kind, mounter, node) for kind in COMPUTED),
    )
