"""Names that outlive the agent: labels, annotations, hashes, paths.

Labels and annotations on sandboxes and containers are the only durable record of a pod whose object is
gone; log shippers and other tools read the paths. All spelled as upstream does (kuberuntime/labels.go,
helpers.go), so that a node can change from one agent to the other and keep its containers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from kube.objects.core_v1 import Container, ContainerPort, EphemeralContainer, LifecycleHandler, Pod

AnyContainer = Container | EphemeralContainer

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
POD_DELETION_GRACE_PERIOD = "io.kubernetes.pod.deletionGracePeriod"
POD_TERMINATION_GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"
CONTAINER_HASH = "io.kubernetes.container.hash"
CONTAINER_RESTART_COUNT = "io.kubernetes.container.restartCount"
CONTAINER_TERMINATION_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
CONTAINER_TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
CONTAINER_PRE_STOP_HANDLER = "io.kubernetes.container.preStopHandler"
CONTAINER_PORTS = "io.kubernetes.container.ports"

FILE_NAME_MAX_CHARS = 255  # ext4
_LOG_SUFFIX = ".log"
_LOG_FILE = re.compile(r"(\d+)\.log(\..*)?\Z")
_FNV32_OFFSET = 2166136261
_FNV32_PRIME = 16777619


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Which pod a sandbox or container belongs to; `name` is for display, `uid` identifies."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What a container's labels and annotations tell. None = not recorded or not readable."""

    pod: PodIdentity
    container_name: str
    hash: str = ""
    restart_count: int | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    termination_grace_seconds: int | None = None
    deletion_grace_seconds: int | None = None
    pre_stop_json: str = ""

    def pre_stop(self) -> LifecycleHandler | None:
        """The recorded preStop handler; None when there is none or it cannot be read."""
        if not self.pre_stop_json:
            return None
        try:
            return msgspec.json.decode(self.pre_stop_json, type=LifecycleHandler)
        except msgspec.MsgspecError:
            return None


def all_containers(pod: Pod) -> tuple[AnyContainer, ...]:
    """Init, regular and ephemeral containers, in this order."""
    spec = pod.spec
    return (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)


def pod_labels(pod: Pod) -> dict[str, str]:
    """Labels of the sandbox: the pod's own, then the identity, which wins."""
    meta = pod.metadata
    return {**meta.labels, POD_NAME: meta.name, POD_NAMESPACE: meta.namespace, POD_UID: meta.uid}


def container_labels(pod: Pod, container: AnyContainer) -> dict[str, str]:
    meta = pod.metadata
    return {
        POD_NAME: meta.name,
        POD_NAMESPACE: meta.namespace,
        POD_UID: meta.uid,
        CONTAINER_NAME: container.name,
    }


def container_annotations(
    pod: Pod, container: AnyContainer, restart_count: int, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a restarted agent must know of this container when the Pod object is gone."""
    annotations = dict(extra or {})
    annotations[CONTAINER_HASH] = container_hash(container)
    annotations[CONTAINER_RESTART_COUNT] = str(restart_count)
    annotations[CONTAINER_TERMINATION_MESSAGE_PATH] = container.termination_message_path or ""
    annotations[CONTAINER_TERMINATION_MESSAGE_POLICY] = container.termination_message_policy or ""
    if pod.metadata.deletion_grace_period_seconds is not None:
        annotations[POD_DELETION_GRACE_PERIOD] = str(pod.metadata.deletion_grace_period_seconds)
    if pod.spec.termination_grace_period_seconds is not None:
        annotations[POD_TERMINATION_GRACE_PERIOD] = str(pod.spec.termination_grace_period_seconds)
    if container.lifecycle is not None and container.lifecycle.pre_stop is not None:
        annotations[CONTAINER_PRE_STOP_HANDLER] = _json(container.lifecycle.pre_stop)
    if container.ports:
        annotations[CONTAINER_PORTS] = _json(container.ports)
    return annotations


def pod_identity(labels: Mapping[str, str]) -> PodIdentity | None:
    """Whose sandbox or container this is; None when it is not a pod's."""
    uid = labels.get(POD_UID, "")
    if not uid:
        return None
    return PodIdentity(labels.get(POD_NAME, ""), labels.get(POD_NAMESPACE, ""), uid)


def container_facts(labels: Mapping[str, str], annotations: Mapping[str, str]) -> ContainerFacts | None:
    """Reads back what `container_labels` and `container_annotations` wrote; None for a stranger."""
    pod = pod_identity(labels)
    name = labels.get(CONTAINER_NAME, "")
    if pod is None or not name:
        return None
    return ContainerFacts(
        pod=pod,
        container_name=name,
        hash=annotations.get(CONTAINER_HASH, ""),
        restart_count=_int(annotations.get(CONTAINER_RESTART_COUNT)),
        termination_message_path=annotations.get(CONTAINER_TERMINATION_MESSAGE_PATH, ""),
        termination_message_policy=annotations.get(CONTAINER_TERMINATION_MESSAGE_POLICY, ""),
        termination_grace_seconds=_int(annotations.get(POD_TERMINATION_GRACE_PERIOD)),
        deletion_grace_seconds=_int(annotations.get(POD_DELETION_GRACE_PERIOD)),
        pre_stop_json=annotations.get(CONTAINER_PRE_STOP_HANDLER, ""),
    )


def container_ports(annotations: Mapping[str, str]) -> tuple[ContainerPort, ...]:
    """The recorded ports, for hooks that name one; empty when there are none or they are unreadable."""
    text = annotations.get(CONTAINER_PORTS)
    if not text:
        return ()
    try:
        return msgspec.json.decode(text, type=tuple[ContainerPort, ...])
    except msgspec.MsgspecError:
        return ()


def container_hash(container: AnyContainer) -> str:
    """Hex of the hash over name and image, the two fields whose change restarts a container.

    FNV-1a 32 over the way Go's dumper prints the bytes of the JSON (container/helpers.go HashContainer).
    """
    return _hash_of(container.image or "", container.name)


@lru_cache(maxsize=1024)
def _hash_of(image: str, name: str) -> str:
    picked = msgspec.json.encode({"image": image, "name": name})
    # Go's encoder escapes these three for HTML.
    for raw, escaped in ((b"&", b"\\u0026"), (b"<", b"\\u003c"), (b">", b"\\u003e")):
        picked = picked.replace(raw, escaped)
    dumped = "([]uint8)[" + " ".join(map(str, picked)) + "]"
    return f"{fnv1a_32(dumped.encode()):x}"


def fnv1a_32(data: bytes) -> int:
    value = _FNV32_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV32_PRIME) & 0xFFFFFFFF
    return value


def pod_full_name(name: str, namespace: str) -> str:
    return f"{name}_{namespace}"


def pod_display(pod: Pod) -> str:
    """`name_namespace(uid)`, as upstream's messages name a pod (kubelet/util/format)."""
    meta = pod.metadata
    return f"{meta.name}_{meta.namespace}({meta.uid})"


def pods_dir(root_dir: str) -> str:
    return f"{root_dir}/pods"


def pod_dir(root_dir: str, uid: str) -> str:
    return f"{root_dir}/pods/{uid}"


def etc_hosts_path(root_dir: str, uid: str) -> str:
    return f"{root_dir}/pods/{uid}/etc-hosts"


def pod_log_dir(pod_logs_dir: str, pod: PodIdentity) -> str:
    return f"{pod_logs_dir}/{pod.namespace}_{pod.name}_{pod.uid}"


def parse_pod_log_dir(directory_name: str) -> PodIdentity | None:
    """The pod that a directory below the pod logs directory belongs to; None for a foreign name."""
    parts = directory_name.split("_")
    if len(parts) != 3 or not all(parts):
        return None
    return PodIdentity(name=parts[1], namespace=parts[0], uid=parts[2])


def container_log_path(container_name: str, restart_count: int) -> str:
    """Relative to the pod's log directory, as CRI wants it."""
    return f"{container_name}/{restart_count}{_LOG_SUFFIX}"


def container_log_symlink(directory: str, pod: PodIdentity, container: str, container_id: str) -> str:
    """The legacy name below /var/log/containers, cut to what ext4 takes."""
    stem = f"{pod_full_name(pod.name, pod.namespace)}_{container}-{container_id}"
    return f"{directory}/{stem[: FILE_NAME_MAX_CHARS - len(_LOG_SUFFIX)]}{_LOG_SUFFIX}"


def termination_file(root_dir: str, uid: str, container_name: str, restart_count: int) -> str:
    """The host file behind terminationMessagePath: 8 hex digits, the same for the same attempt.

    Derived, not random: a create that is repeated after a crash of the agent reuses its file.
    """
    token = fnv1a_32(f"{uid}/{container_name}/{restart_count}".encode())
    return f"{root_dir}/pods/{uid}/containers/{container_name}/{token:08x}"


def restart_count_from_logs(file_names: Iterable[str]) -> int:
    """The next restart count when nothing but the log directory is left; 0 for an empty one."""
    counts = [int(match[1]) for match in map(_LOG_FILE.match, file_names) if match is not None]
    return max(counts) + 1 if counts else 0


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _int(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
