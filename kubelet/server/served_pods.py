"""The pods as the server's handlers need them: found by name, with their containers and their status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kubelet.model import Observed, Phase
from kubelet.record import PodRecord
from kubelet.view import PodView
from kubelet.worker import PodWorker
from kubelet.workers import Workers


@dataclass(frozen=True, slots=True)
class ServedPod:
    """One pod. `containers` are the names its definition has, `status` is v1 JSON, `seen_at` (wall seconds)
    is when the agent first had it, 0 for unknown."""

    uid: str
    namespace: str
    name: str
    containers: tuple[str, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    observed: Observed | None = None
    seen_at: float = 0.0

    def running_id(self, container: str) -> str | None:
        """The id of the running container of that name."""
        seen = self.observed.latest(container) if self.observed is not None else None
        return seen.id if seen is not None and seen.phase is Phase.RUNNING else None

    def sandbox_id(self) -> str | None:
        """The id of the sandbox that is ready."""
        box = self.observed.sandbox() if self.observed is not None else None
        return box.id if box is not None and box.ready else None


class Pods(Protocol):
    """What the server asks about pods. Quick, no I/O."""

    def documents(self) -> Sequence[Any]:
        """Every pod as a v1 Pod, JSON-ready."""
        ...

    def find(self, namespace: str, name: str, uid: str = "") -> ServedPod | None: ...

    def by_uid(self, uid: str) -> ServedPod | None: ...

    def all(self) -> Iterator[ServedPod]: ...


@dataclass(frozen=True, slots=True)
class WorkersPods:
    """`Pods` over the agent's own workers."""

    workers: Workers
    record: PodRecord
    view: PodView

    def documents(self) -> Sequence[Any]:
        return self.view.pods()

    def find(self, namespace: str, name: str, uid: str = "") -> ServedPod | None:
        """The newest of that name: an old one may still be on its way out under the same name."""
        self.record.flush_statuses()
        found = None
        for worker in self.workers.all():
            pod = worker.state.pod
            if pod is None or (pod.metadata.namespace, pod.metadata.name) != (namespace, name):
                continue
            if uid and worker.uid != uid:
                continue
            if found is None or found.is_leaving or not worker.is_leaving:
                found = worker
        return _served(found) if found is not None else None

    def by_uid(self, uid: str) -> ServedPod | None:
        worker = self.workers.get(uid)
        return _served(worker) if worker is not None else None

    def all(self) -> Iterator[ServedPod]:
        return (_served(worker) for worker in self.workers.all())


def _served(worker: PodWorker) -> ServedPod:
    pod, state = worker.state.pod, worker.state
    if pod is None:
        return ServedPod(worker.uid, "", "", observed=state.observed)
    spec = pod.spec
    names = (
        *(container.name for container in (*spec.init_containers, *spec.containers)),
        *(container.name for container in spec.ephemeral_containers),
    )
    meta = pod.metadata
    return ServedPod(
        worker.uid, meta.namespace, meta.name, names, worker.status, state.observed, state.start_time
    )
