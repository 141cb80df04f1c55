"""Which probes a pod should have right now (pure).

The worker states the whole set after every step; the prober compares it with what it runs. A
probe belongs to one container id: a restarted container gets a new one. Until a container has
started (postStart done, startup probe passed) only its startup probe runs; when a pod stops only
readiness goes on, so that Ready can drop (kubelet 1.36, pkg/kubelet/prober).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from aio.errors import Rejected
from kube.objects.core_v1 import Container, Probe
from kubelet.model import NANOSECONDS_PER_SECOND, ObservedContainer, Phase, PodState, Stage
from kubelet.plan_container import is_started
from kubelet.podspec.env import static_env
from kubelet.podspec.expansion import expand_with
from kubelet.restart import is_sidecar
from probes.outcome import ProbeKind
from probes.spec import ProbeSpec, broken_spec, build_spec
from probes.target import ProbeKey, ProbeTarget

LIVENESS: ProbeKind = "liveness"
READINESS: ProbeKind = "readiness"
STARTUP: ProbeKind = "startup"


def wanted_probes(state: PodState, node_ip: str) -> Mapping[ProbeKey, ProbeTarget]:
    """The probes of the pod by key; `node_ip` is where a hostNetwork pod is reached."""
    pod, observed = state.pod, state.observed
    if pod is None or observed is None or state.stage > Stage.TERMINATING:
        return {}
    sandbox = observed.sandbox()
    if sandbox is None:
        return {}
    host = node_ip if pod.spec.host_network else next(iter(state.ips), "")
    wanted: dict[ProbeKey, ProbeTarget] = {}
    sidecars = [container for container in pod.spec.init_containers if is_sidecar(container)]
    for container in (*sidecars, *pod.spec.containers):
        seen = observed.latest(container.name, sandbox.id)
        if seen is None or seen.phase is not Phase.RUNNING:
            continue
        ready_id = state.memory(container.name).ready_id
        for kind, probe in _due(state, container, seen):
            spec = _spec(container, probe, kind)
            began = seen.started_at / NANOSECONDS_PER_SECOND
            key = ProbeKey(state.uid, container.name, kind)
            wanted[key] = ProbeTarget(
                spec=spec,
                container_id=seen.id,
                started_at_wall=began,
                pod_ip=host,
                seed=True if kind == READINESS and ready_id == seen.id else None,
            )
    return wanted


def _due(state: PodState, container: Container, seen: ObservedContainer) -> list[tuple[ProbeKind, Probe]]:
    started = is_started(state, container, seen)
    memory = state.memory(container.name)
    stopping = state.stage is not Stage.SYNCING
    due: list[tuple[ProbeKind, Probe]] = []
    if container.startup_probe is not None and not started and not stopping:
        due.append((STARTUP, container.startup_probe))
    if not started:
        return due
    if container.readiness_probe is not None:
        due.append((READINESS, container.readiness_probe))
    doomed = memory.must_stop is not None and memory.must_stop.container_id == seen.id
    if container.liveness_probe is not None and not stopping and not doomed:
        due.append((LIVENESS, container.liveness_probe))
    return due


def _spec(container: Container, probe: Probe, kind: ProbeKind) -> ProbeSpec:
    """Made once per definition: structs of a pod live as long as the pod is wanted."""
    return _cached_spec(_ByIdentity(container), _ByIdentity(probe), kind)


class _ByIdentity:
    """Hashable stand-in for a struct that holds maps; keeps it alive so that its id stays taken."""

    __slots__ = ("value",)

    def __init__(self, value: Container | Probe) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.value is self.value


@lru_cache(maxsize=1024)
def _cached_spec(container: _ByIdentity, probe: _ByIdentity, kind: ProbeKind) -> ProbeSpec:
    owner, definition = container.value, probe.value
    assert isinstance(owner, Container) and isinstance(definition, Probe)
    env = static_env(owner)
    try:
        return build_spec(
            definition, owner.ports, path=f"{kind}Probe", expand=lambda text: expand_with(text, env)
        )
    except Rejected as refused:  # validation lets a name pass that no port has
        return broken_spec(definition, refused.message)
