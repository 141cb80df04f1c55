"""From the sources' deliveries to the workers: merged, told apart, reported."""

from __future__ import annotations

from dataclasses import dataclass

from aio import log as aio_log
from aio.clock import Clock
from kube.meta import format_time
from kubelet import events
from kubelet.sources.merge import Changes, SourceState, merge
from kubelet.sources.model import Delivery, Problem
from kubelet.workers import Workers

log = aio_log.get(__name__)


@dataclass(slots=True)
class DesiredPods:
    """`deliver` and `report` are what sources call; both return at once."""

    workers: Workers
    sink: events.EventSink
    clock: Clock
    state: SourceState

    def deliver(self, delivery: Delivery) -> None:
        self.state, changes = merge(self.state, delivery, now=format_time(self.clock.now()))
        for problem in changes.problems:
            self.report(problem)
        self.workers.apply(changes, self.state)

    def settle(self) -> None:
        """There is no source: nothing is wanted."""
        self.workers.apply(Changes(), self.state)

    def report(self, problem: Problem) -> None:
        """Say once what is wrong with an input: in the log with file, line and field, and as an event."""
        for line in problem.lines():
            log.error("Cannot use a manifest", source=problem.source, problem=line)
        pod = problem.pod
        if pod is not None:
            meta = pod.metadata
            about = events.pod_ref(meta.namespace, meta.name, meta.uid)
            self.sink.record(events.failed_validation(about, "; ".join(problem.lines())))
