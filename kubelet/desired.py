"""From the sources' deliveries to the workers: merged, told apart, reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aio import log as aio_log
from aio.clock import Clock
from kube.meta import format_time, is_static
from kube.objects.core_v1 import Pod
from kubelet import events
from kubelet.sources.merge import Changes, SourceState, merge, merge_one
from kubelet.sources.model import Delivery, PodChange, Problem
from kubelet.workers import Workers

log = aio_log.get(__name__)


class StaticPods(Protocol):
    """Who keeps the API's copies of static pods (`kubelet.mirror.MirrorPods`)."""

    def static_changed(self, pod: Pod) -> None: ...

    def static_gone(self, pod: Pod) -> None: ...

    def poke(self) -> None:
        """Every source has delivered now."""
        ...


@dataclass(slots=True)
class DesiredPods:
    """`deliver`, `change` and `report` are what sources call; all return at once.

    `static_pods` is None for a node without a cluster.
    """

    workers: Workers
    sink: events.EventSink
    clock: Clock
    state: SourceState
    static_pods: StaticPods | None = None
    is_draining: bool = False

    def deliver(self, delivery: Delivery) -> None:
        """Everything a source has."""
        if self.is_draining:
            return
        was_complete = self.state.all_delivered()
        self.state, changes = merge(self.state, delivery, now=format_time(self.clock.now()))
        self._apply(changes)
        if self.static_pods is not None and not was_complete and self.state.all_delivered():
            self.static_pods.poke()

    def change(self, change: PodChange) -> None:
        """One pod of a source that has delivered before."""
        if self.is_draining:
            return
        before = self.state
        self.state, changes = merge_one(before, change, now=format_time(self.clock.now()))
        if changes or self.state.undecodable is not before.undecodable:
            self._apply(changes)

    def drain(self) -> None:
        """From now on nothing is wanted, whatever the sources say: every pod ends in order, with its hooks
        and its grace. The API's copies of static pods stay: the node is only about to be switched off."""
        log.info("Ending every pod", pods=sum(len(pods) for pods in self.state.pods.values()))
        self.is_draining = True
        for source in self.state.expected:
            delivery = Delivery(source, ())
            self.state, changes = merge(self.state, delivery, now=format_time(self.clock.now()))
            self.workers.apply(changes, self.state)

    def all_delivered(self) -> bool:
        """Every source has delivered once: what is missing now is wanted by nobody."""
        return self.state.all_delivered()

    def _apply(self, changes: Changes) -> None:
        for problem in changes.problems:
            self.report(problem)
        if self.static_pods is not None:
            self._tell_mirrors(self.static_pods, changes)
        self.workers.apply(changes, self.state)

    def _tell_mirrors(self, static_pods: StaticPods, changes: Changes) -> None:
        for pod in filter(is_static, changes.removed):
            static_pods.static_gone(pod)
        for pod in filter(is_static, (*changes.added, *changes.updated)):
            static_pods.static_changed(pod)

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
