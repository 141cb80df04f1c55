"""What the agent shows of itself: pods with their status, and the story of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kube.objects.core_v1 import Pod
from kubelet.events import RingEvents
from kubelet.gc import PodsKnown
from kubelet.logrotate import RunningLog
from kubelet.model import Phase, PodState
from kubelet.record import PodRecord
from kubelet.worker import PodWorker
from kubelet.workers import Workers
from probes.lateness import BOUNDS_SECONDS
from probes.worker import Prober

READY = "Ready"


@dataclass(frozen=True, slots=True)
class PodView:
    """Implements `kubelet.server.view.AgentView`."""

    workers: Workers
    record: PodRecord
    events: RingEvents
    prober: Prober

    def pods(self) -> Sequence[Any]:
        """Every pod with its status of this moment; held ones as they were defined."""
        self.record.flush_statuses()
        shown = [_with_status(worker) for worker in self.workers.all() if worker.state.pod is not None]
        return [*shown, *(_as_json(pod) for pod in self.workers.held())]

    def summaries(self) -> Sequence[Mapping[str, Any]]:
        self.record.flush_statuses()
        return [_summary(worker) for worker in self.workers.all()]

    def running_logs(self) -> Iterable[RunningLog]:
        """The logs that grow now."""
        for worker in self.workers.all():
            observed = worker.state.observed
            for seen in observed.containers if observed is not None else ():
                if seen.phase is Phase.RUNNING and seen.log_path:
                    yield RunningLog(seen.id, seen.log_path)

    def known(self) -> PodsKnown:
        """What garbage collection must leave alone."""
        uids = {worker.uid for worker in self.workers.all()} | self.workers.unclaimed
        held = {pod.metadata.uid for pod in self.workers.held()}
        return PodsKnown(frozenset(uids | held), is_complete=self.workers.sources_delivered)

    def probes(self) -> Mapping[str, Any]:
        late = self.prober.lateness
        return {
            "count": late.count,
            "totalSeconds": late.total_seconds,
            "worstSeconds": late.worst_seconds,
            "bounds": BOUNDS_SECONDS,
            "counts": late.counts,
        }

    def story(self, uid: str) -> Mapping[str, Any] | None:
        worker = self.workers.get(uid)
        if worker is None:
            return None
        self.record.flush_statuses()
        state = worker.state
        return {
            **_summary(worker),
            "origin": worker.origin,
            "status": worker.status,
            "state": _state(state),
            "probes": [msgspec.to_builtins(probe) for probe in self.prober.view(uid)],
            "events": [
                {
                    "type": entry.event.type,
                    "reason": entry.event.reason,
                    "message": entry.event.message,
                    "count": entry.count,
                    "firstTimestamp": entry.first_at.isoformat(),
                    "lastTimestamp": entry.last_at.isoformat(),
                    "fieldPath": entry.event.about.field_path,
                }
                for entry in self.events.recorded(uid)
            ],
            "story": worker.story.documents(),
        }


def _as_json(pod: Pod) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(pod)
    return {"apiVersion": "v1", "kind": "Pod", **document}


def _with_status(worker: PodWorker) -> dict[str, Any]:
    assert worker.state.pod is not None
    return {**_as_json(worker.state.pod), "status": worker.status}


def _summary(worker: PodWorker) -> dict[str, Any]:
    pod = worker.state.pod
    return {
        "uid": worker.uid,
        "namespace": pod.metadata.namespace if pod is not None else "",
        "name": pod.metadata.name if pod is not None else "",
        "stage": worker.state.stage.name,
        "wanted": worker.state.wanted,
        "phase": worker.status.get("phase", ""),
        "ready": _is_ready(worker.status),
        "statusAt": round(worker.status_at, 6),
    }


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(one["type"] == READY and one["status"] == "True" for one in status.get("conditions", ()))


def _state(state: PodState) -> dict[str, Any]:
    """The worker's state without the definition, which is shown elsewhere."""
    return {
        "observed": msgspec.to_builtins(state.observed),
        "inFlight": [{"kind": key.kind, "target": key.target} for key in state.in_flight],
        "retries": [
            {"kind": key.kind, "target": key.target, "failures": entry.failures}
            for key, entry in state.retry.items()
        ],
        "containers": {name: msgspec.to_builtins(memory) for name, memory in state.containers.items()},
        "volumes": state.volumes.name,
        "stop": msgspec.to_builtins(state.stop),
        "networkError": state.network_error,
    }
