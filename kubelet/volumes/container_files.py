"""What must be on disk before a container is created: hosts file, termination file, log directory, subPaths.

One blocking function for all of it, so that a container start costs one hop to the executor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cri.types import Mount
from kube.objects.core_v1 import HostAlias
from kubelet.podspec.hosts import host_network_hosts, managed_hosts
from kubelet.podspec.mounts import ETC_HOSTS, PlannedMount
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.subpath import prepare_subpath

HOSTS_FILE_MODE = 0o644  # kubelet_pods.go
TERMINATION_FILE_MODE = 0o666  # any user of the container may write it (kuberuntime_container.go)
LOG_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True)
class HostsFile:
    """The pod's /etc/hosts. With `node_hosts_path` it is the node's own text and the aliases."""

    path: str
    pod_ips: tuple[str, ...] = ()
    hostname: str = ""
    domain: str = ""
    aliases: Sequence[HostAlias] = ()
    node_hosts_path: str = ""


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """Everything that one container needs on disk. Empty strings and None leave a part out."""

    pod_dir: str
    container: str
    log_dir: str
    mounts: tuple[PlannedMount, ...] = ()
    hosts: HostsFile | None = None
    termination_file: str = ""
    termination_path: str = ""
    selinux: bool = False


def prepare_files(mounter: Mounter, files: ContainerFiles) -> tuple[Mount, ...]:
    """Make it all and return the container's mounts. Blocking; raises OSError or VolumeError."""
    Path(files.log_dir).mkdir(mode=LOG_DIRECTORY_MODE, parents=True, exist_ok=True)
    mounts = [_resolved(mounter, files, planned) for planned in files.mounts]
    if files.hosts is not None:
        write_hosts(files.hosts)
        mounts.append(Mount(ETC_HOSTS, files.hosts.path, selinux_relabel=files.selinux))
    if files.termination_file:
        _make_termination_file(Path(files.termination_file))
        mounts.append(Mount(files.termination_path, files.termination_file, selinux_relabel=files.selinux))
    return tuple(mounts)


def write_hosts(hosts: HostsFile) -> None:
    """Write the file if its text differs, in place: running containers have this very file mounted."""
    if hosts.node_hosts_path:
        text = host_network_hosts(Path(hosts.node_hosts_path).read_text("utf-8"), hosts.aliases)
    else:
        text = managed_hosts(hosts.pod_ips, hosts.hostname, hosts.domain, hosts.aliases)
    path = Path(hosts.path)
    try:
        if path.read_text("utf-8") == text:
            return
    except FileNotFoundError:
        path.touch(mode=HOSTS_FILE_MODE)
    path.write_text(text, "utf-8")
    path.chmod(HOSTS_FILE_MODE)


def _resolved(mounter: Mounter, files: ContainerFiles, planned: PlannedMount) -> Mount:
    if planned.sub_path is None:
        return planned.mount
    path = prepare_subpath(mounter, files.pod_dir, files.container, planned.sub_path)
    return replace(planned.mount, host_path=path)


def _make_termination_file(path: Path) -> None:
    """An empty file that everybody may write: a repeated create starts from nothing again."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, TERMINATION_FILE_MODE)
    finally:
        os.close(fd)
