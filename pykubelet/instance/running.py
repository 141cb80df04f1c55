"""The instance as it is now: its lock, its components, its pods."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pykubelet.errors import CommandError
from pykubelet.instance import local
from pykubelet.instance.api import Api, node_path
from pykubelet.instance.layout import Layout
from pykubelet.instance.nodestate import NodeState, node_state
from pykubelet.instance.podrows import HEADER, PodRow, pod_row
from pykubelet.instance.processes import is_running, rss_bytes
from pykubelet.instance.record import Record
from pykubelet.tables import table

CONTAINERD = "containerd"
CONTROLPLANE = "kube-controlplane"
KUBELET = "kubelet"


@dataclass(frozen=True, slots=True)
class ComponentState:
    """`pid` is None for one that does not run, or that belongs to the host."""

    name: str
    pid: int | None
    rss_bytes: int
    is_ready: bool


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """One `up` or `down` at a time per instance."""
    try:
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = layout.lock.open("w")
    except OSError as error:
        raise CommandError(f'cannot use "{layout.root}": because {error.strerror}') from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f'cannot change the instance in "{layout.root}": because another `pykubelet up` or `down` '
                "is at work on it"
            ) from error
        yield


def node_name() -> str:
    """As the agent calls this node when no flag says otherwise."""
    return os.uname().nodename.lower()


def is_process_up(record: Record | None, name: str) -> bool:
    component = record.component(name) if record is not None else None
    return component is not None and is_running(component)


def own_kubelet(record: Record | None) -> int | None:
    """The pid of this instance's agent, None when it does not run."""
    component = record.component(KUBELET) if record is not None else None
    return component.pid if component is not None and is_running(component) else None


@dataclass(frozen=True, slots=True)
class Condition:
    """An instance as it is now. `node` is what the API says of the Node; the agent, for a node alone."""

    components: tuple[ComponentState, ...]
    node: NodeState

    @property
    def is_ready(self) -> bool:
        return self.node.is_ready and all(state.is_ready for state in self.components)


def look_at(layout: Layout, record: Record | None) -> Condition:
    """Ask every component; one that was never started is not ready."""
    is_runtime_ready = record is not None and is_answering(record.runtime_endpoint)
    is_agent_ready = record is not None and local.is_agent_healthy(record.healthz_port)
    states = [_state(record, CONTAINERD, is_ready=is_runtime_ready)]
    if record is not None and record.is_standalone:
        node = NodeState(is_agent_ready, "" if is_agent_ready else "its agent does not answer")
    else:
        is_serving, node = _ask_api(layout)
        states.append(_state(record, CONTROLPLANE, is_ready=is_serving))
    states.append(_state(record, KUBELET, is_ready=is_agent_ready))
    return Condition(tuple(states), node)


def _ask_api(layout: Layout) -> tuple[bool, NodeState]:
    """Whether the API server is ready, and what it says of this node."""
    try:
        with Api(layout.admin_kubeconfig) as api:
            if not api.is_ready():
                return False, NodeState(False, "the control plane does not answer")
            return True, node_state(api.get(node_path(node_name())))
    except CommandError as error:
        return False, NodeState(False, str(error))


def _state(record: Record | None, name: str, *, is_ready: bool) -> ComponentState:
    component = record.component(name) if record is not None else None
    if component is None or not is_running(component):
        # The host's own runtime is ready without being a process of ours.
        is_hosts = name == CONTAINERD and record is not None and not record.is_private_runtime
        return ComponentState(name, None, 0, is_ready and is_hosts)
    return ComponentState(name, component.pid, rss_bytes(component), is_ready)


def is_answering(endpoint: str) -> bool:
    """Whether someone listens on a unix socket ("unix:///path")."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(endpoint.removeprefix("unix://"))
        except OSError:
            return False
    return True


def pod_rows(layout: Layout) -> list[PodRow]:
    """By name. AgentAway when the agent does not answer."""
    now = datetime.now(UTC)
    rows = [pod_row(pod, now) for pod in local.get_pods(layout.kubelet_socket)]
    return sorted(rows, key=lambda row: row.name)


def pod_table(rows: list[PodRow]) -> str:
    return table(HEADER, [row.cells for row in rows]) if rows else "no pods\n"


def find_pod(pods: list[dict[str, Any]], reference: str, node: str) -> dict[str, Any] | None:
    """By NAME, NAMESPACE/NAME, uid or a prefix of the uid; a static pod "web-NODE" also as "web" (pure)."""
    by_name = [pod for pod in pods if reference in _names(pod)]
    on_node = [pod for pod in pods if f"{reference}-{node}" in _names(pod)]
    by_uid = [pod for pod in pods if pod["uid"].startswith(reference)] if len(reference) > 1 else []
    for found in (by_name, on_node, by_uid):
        if len(found) > 1:
            names = ", ".join(sorted(f"{pod['namespace']}/{pod['name']}" for pod in found))
            raise CommandError(f'cannot tell which pod "{reference}" is: because it may be {names}')
        if found:
            return found[0]
    return None


def _names(pod: dict[str, Any]) -> tuple[str, str]:
    return pod["name"], f"{pod['namespace']}/{pod['name']}"
