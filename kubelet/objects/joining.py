"""Makes an agent's door to the objects of the API, and joins it to the volumes and workers it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aio.clock import Clock
from kube.client.model import Client
from kubelet import events
from kubelet import happened as h
from kubelet.objects.pod_inputs import ApiPodInputs
from kubelet.objects.runtime_classes import handler_of
from kubelet.objects.services import ServiceVariables
from kubelet.objects.store import ObjectStore
from kubelet.tokens import Tokens
from kubelet.volumes.refresh import VolumeRefresher
from kubelet.volumes.service import PodVolumes
from kubelet.worker import PodWorker


def make_inputs(client: Client, clock: Clock, sink: events.EventSink) -> ApiPodInputs:
    """On the running loop. The caller runs `loops()` and calls `close()` at the end."""
    return ApiPodInputs(
        ObjectStore(client, clock), Tokens(client, clock), ServiceVariables(client, clock), sink,
        lambda pod: handler_of(pod, client),
    )  # fmt: skip


def join(
    inputs: ApiPodInputs,
    volumes: PodVolumes,
    worker_of: Callable[[str], PodWorker | None],
    clock: Clock,
    sink: events.EventSink,
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Let changes reach the files and the waiting pods; returns every loop to run, by name.

    The caller also sets `record.redefined = inputs.redefined`.
    """
    refresher = VolumeRefresher(volumes, inputs.pod, clock, sink)

    def wake(uid: str) -> None:
        worker = worker_of(uid)
        if worker is not None:
            worker.post(h.InputsChanged())

    inputs.bind(refresher.want, wake)
    return {**inputs.loops(), "volume refresh": refresher.run}
