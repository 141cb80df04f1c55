"""The logs of a pod's containers on the node: links that log shippers follow, and their removal.

Every method blocks for a moment on the log filesystem; paths are those other tools read (kubelet
1.36, pkg/kubelet/kuberuntime/helpers.go and legacy.go).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kubelet.model import ObservedContainer
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.names import PodIdentity, container_log_symlink, pod_log_dir, termination_file
from kubelet.volumes.trees import remove_tree

LINK_DIR_MODE = 0o755


@dataclass(frozen=True, slots=True)
class LogFiles:
    """`node` tells the directories."""

    node: Callable[[], NodeFacts]

    def link(self, pod: PodIdentity, seen: ObservedContainer) -> None:
        """The link under /var/log/containers. Made anew if it is there."""
        link = self._link_of(pod, seen)
        link.parent.mkdir(mode=LINK_DIR_MODE, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        os.symlink(seen.log_path, link)  # noqa: PTH211 - the target is text, not a path here

    def forget_containers(self, pod: PodIdentity, gone: Iterable[ObservedContainer]) -> None:
        """What removed containers leave: logs, rotated ones too, links, termination files."""
        node = self.node()
        for seen in gone:
            self._link_of(pod, seen).unlink(missing_ok=True)
            directory = Path(pod_log_dir(node.pod_logs_dir, pod)) / seen.name
            for path in directory.glob(f"{seen.restart_count}.log*"):
                path.unlink(missing_ok=True)
            message = termination_file(node.root_dir, pod.uid, seen.name, seen.restart_count)
            Path(message).unlink(missing_ok=True)

    def forget_pod(self, pod: PodIdentity) -> None:
        """The pod's whole log directory."""
        remove_tree(pod_log_dir(self.node().pod_logs_dir, pod))

    def _link_of(self, pod: PodIdentity, seen: ObservedContainer) -> Path:
        directory = self.node().container_logs_dir
        return Path(container_log_symlink(directory, pod, seen.name, seen.id))
