"""What an action of the pod core is about, looked up in the state it was ordered in. Pure."""

from __future__ import annotations

from aio.errors import Rejected, Retry
from kube.objects.core_v1 import EphemeralContainer, LifecycleHandler, Pod
from kubelet import actions as a
from kubelet import reasons
from kubelet.model import PodState
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.names import AnyContainer, ContainerFacts, PodIdentity, all_containers


def pod_of(state: PodState) -> Pod:
    if state.pod is None:
        raise Rejected(f"cannot act for pod {state.uid}: because its definition is gone")
    return state.pod


def container_of(pod: Pod, name: str) -> AnyContainer:
    for container in all_containers(pod):
        if container.name == name:
            return container
    raise Rejected(f'cannot find container "{name}": because the definition has none of that name')


def group_of(pod: Pod | None, name: str) -> str:
    """The field of the pod's spec that has the container of that name, as events point to it."""
    spec = pod.spec if pod is not None else None
    if spec is not None and any(container.name == name for container in spec.init_containers):
        return "initContainers"
    if spec is not None and any(container.name == name for container in spec.ephemeral_containers):
        return "ephemeralContainers"
    return "containers"


def target_of(state: PodState, container: AnyContainer) -> str:
    """The id of the container whose processes an ephemeral container wants to see; "" when it names none.

    Raises Retry: one that is not there yet may come.
    """
    if not isinstance(container, EphemeralContainer) or not container.target_container_name:
        return ""
    name = container.target_container_name
    seen = state.observed.latest(name) if state.observed is not None else None
    if seen is None:
        text = f"unable to find target container {name}"
        raise Retry(text, reason=reasons.CREATE_CONTAINER_CONFIG_ERROR)
    return seen.id


def propagates_mounts(pod: Pod) -> bool:
    return any(
        mount.mount_propagation not in (None, "", "None")
        for container in all_containers(pod)
        for mount in container.volume_mounts
    )


def identity_of(state: PodState) -> PodIdentity | None:
    if state.pod is None:
        return None
    meta = state.pod.metadata
    return PodIdentity(meta.name, meta.namespace, state.uid)


def pod_ips(state: PodState, node: NodeFacts) -> tuple[str, ...]:
    if state.pod is not None and state.pod.spec.host_network:
        return node.node_ips
    return state.ips


def host_of(state: PodState, node: NodeFacts) -> str:
    """Where hooks reach the pod."""
    return next(iter(pod_ips(state, node)), "")


def attempt_of(state: PodState, sandbox_id: str) -> int:
    boxes = state.observed.sandboxes if state.observed is not None else ()
    return next((box.attempt for box in boxes if box.id == sandbox_id), 0)


def sandbox_of(state: PodState, container_id: str) -> str:
    seen = state.observed.by_id(container_id) if state.observed is not None else None
    return seen.sandbox_id if seen is not None else ""


def pre_stop_of(state: PodState, action: a.RunPreStop) -> LifecycleHandler | None:
    """From the definition, or from what the container itself carries when that is gone."""
    if state.pod is not None:
        lifecycle = container_of(state.pod, action.container).lifecycle
        return lifecycle.pre_stop if lifecycle is not None else None
    seen = state.observed.by_id(action.container_id) if state.observed is not None else None
    if seen is None or not seen.pre_stop:
        return None
    return ContainerFacts(PodIdentity("", "", ""), seen.name, pre_stop_json=seen.pre_stop).pre_stop()
