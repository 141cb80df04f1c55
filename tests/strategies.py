"""Hypothesis strategies for Pod manifests: good ones, and ones with something wrong in them.

`valid_pods()` are pods that pass validation once they have a namespace; `broken_pods()` are such pods with
one to three random changes (a field gone, of the wrong type, unknown, out of range, doubled), most of them
invalid; `pod_manifests()` mixes both. All are JSON values (dicts), for `json.dumps`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

NAMES = ("web", "db", "cache", "log", "job-1", "a", "x" * 63)
VOLUMES = ("data", "tmp", "conf", "host")
IMAGES = (
    "localhost/pykubelet/busybox:1", "docker.io/library/busybox:1.35", "nginx", "nginx:latest",
    "registry.example:5000/team/app:v1.2", "busybox@sha256:" + "0" * 64,
)  # fmt: skip
TEXTS = ("", "x", "a b", "$(NAME)", "$$(NAME)", "$(MISSING)", "ümläut", "line\nbreak", "'\"\\")
CPU = ("10m", "0.1", "1", 1, 2, "1500m")
MEMORY = ("64Mi", "1Gi", "128974848", "129e6", "123M", 1048576)


def json_values(max_leaves: int = 20) -> st.SearchStrategy[Any]:
    """Any JSON value, small."""
    floats = st.floats(allow_nan=False, allow_infinity=False)
    scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | st.text(max_size=8)
    keys = st.sampled_from(("metadata", "spec", "containers", "name", "kind", "ports", "items")) | st.text(
        max_size=5
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=max_leaves,
    )


# Parts are picked whole from these tables: drawing them bit by bit takes Hypothesis ten times as long.
HANDLERS: tuple[Json, ...] = (
    {"exec": {"command": ["true"]}},
    {"exec": {"command": ["sh", "-c", "exit 1"]}},
    {"httpGet": {"port": 80}},
    {"httpGet": {"port": "main", "path": "/healthz?x=1", "scheme": "HTTPS"}},
    {"httpGet": {"port": 65535, "host": "127.0.0.1", "httpHeaders": [{"name": "X-Probe", "value": "1"}]}},
    {"tcpSocket": {"port": 1}},
)
PROBE_HANDLERS: tuple[Json, ...] = (
    *HANDLERS,
    {"grpc": {"port": 50051}},
    {"grpc": {"port": 9, "service": "s"}},
)
HOOK_HANDLERS: tuple[Json, ...] = (*HANDLERS, {"sleep": {"seconds": 0}})
PROBE_NUMBERS: tuple[Json, ...] = (
    {}, {"initialDelaySeconds": 5}, {"periodSeconds": 1, "failureThreshold": 1},
    {"timeoutSeconds": 5, "failureThreshold": 5},
)  # fmt: skip
PROBES: tuple[Json, ...] = tuple(
    {**probe, **numbers} for probe in PROBE_HANDLERS for numbers in PROBE_NUMBERS
)
KILLING_PROBES: tuple[Json, ...] = (*PROBES, {**PROBES[0], "terminationGracePeriodSeconds": 1})
READINESS_PROBES: tuple[Json, ...] = (*PROBES, {**PROBES[0], "successThreshold": 3})
FIELD_PATHS = ("metadata.name", "metadata.labels['app']", "status.podIP", "spec.nodeName", "status.hostIPs")
VALUES: tuple[Json, ...] = (
    *({"value": text} for text in TEXTS),
    *({"valueFrom": {"fieldRef": {"fieldPath": path}}} for path in FIELD_PATHS),
    *({"valueFrom": {"resourceFieldRef": {"resource": name}}} for name in ("limits.cpu", "requests.memory")),
)
VARIABLES: tuple[Json, ...] = tuple(
    {"name": name, **value} for name in ("NAME", "PATH", "a.b", "X-1", "_") for value in VALUES
)
SECURITY_CONTEXTS: tuple[Json, ...] = (
    {}, {"runAsUser": 1000}, {"privileged": True}, {"capabilities": {"drop": ["ALL"]}},
    {"runAsNonRoot": True},
)  # fmt: skip
COMMANDS: tuple[list[str], ...] = (["sh", "-c", "sleep 60"], ["true"], ["false"], ["sleep", "$(NAME)"], [])


def _resources() -> tuple[Json, ...]:
    """Requests never above limits: each resource has one amount for both, or only one of them."""
    cpu = [
        {kind: {"cpu": amount} for kind in kinds} for amount in CPU for kinds in (("requests",), ("limits",))
    ]
    both = [
        {kind: {"cpu": one, "memory": other} for kind in ("requests", "limits")}
        for one in CPU
        for other in MEMORY
    ]
    memory = [{"limits": {"memory": amount}} for amount in MEMORY]
    return ({}, *cpu, *memory, *both, {"requests": {"cpu": 0}})


RESOURCES = _resources()


@st.composite
def containers(draw: st.DrawFn, name: str, volumes: tuple[str, ...], *, init: bool = False) -> Json:
    """One container with a few of the optional fields set."""
    sidecar = init and draw(st.booleans())
    fields: dict[str, st.SearchStrategy[Any]] = dict(_CONTAINER_FIELDS)
    if not init or sidecar:
        fields |= _LASTING_FIELDS
    chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True))
    container: Json = {field: draw(fields[field]) for field in chosen}
    container |= {"name": name, "image": draw(st.sampled_from(IMAGES))}
    if sidecar:
        container["restartPolicy"] = "Always"
    if volumes:
        mounted = draw(st.lists(st.sampled_from(volumes), max_size=2, unique=True))
        container["volumeMounts"] = [{"name": volume, "mountPath": f"/mnt/{volume}"} for volume in mounted]
    return container


_CONTAINER_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "command": st.sampled_from(COMMANDS),
    "args": st.lists(st.sampled_from(TEXTS), max_size=2),
    "env": st.lists(st.sampled_from(VARIABLES), max_size=3),
    "workingDir": st.just("/tmp"),
    "resources": st.sampled_from(RESOURCES),
    "imagePullPolicy": st.sampled_from(("Always", "IfNotPresent", "Never")),
    "terminationMessagePolicy": st.sampled_from(("File", "FallbackToLogsOnError")),
    "stdin": st.booleans(),
    "tty": st.booleans(),
    "securityContext": st.sampled_from(SECURITY_CONTEXTS),
    "ports": st.builds(lambda port: [{"containerPort": port, "name": "main"}], st.integers(1, 65535)),
}
# For containers that stay: not for plain init containers.
_LASTING_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "livenessProbe": st.sampled_from(KILLING_PROBES),
    "readinessProbe": st.sampled_from(READINESS_PROBES),
    "startupProbe": st.sampled_from(KILLING_PROBES),
    "lifecycle": st.builds(
        dict.fromkeys,
        st.sampled_from((("preStop",), ("postStart",), ("preStop", "postStart"))),
        st.sampled_from(HOOK_HANDLERS),
    ),
}


VOLUME_SOURCES: tuple[Json, ...] = (
    {}, {"emptyDir": {}}, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
)  # fmt: skip


@st.composite
def valid_pods(draw: st.DrawFn) -> Json:
    """A pod that validation accepts once it has a namespace; its volumes need no API server."""
    volumes = tuple(draw(st.lists(st.sampled_from(VOLUMES), max_size=3, unique=True)))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    split = draw(st.integers(0, len(names) - 1))
    chosen = draw(st.lists(st.sampled_from(sorted(_SPEC_FIELDS)), max_size=4, unique=True))
    spec: Json = {field: draw(_SPEC_FIELDS[field]) for field in chosen}
    spec["volumes"] = [{"name": name, **draw(st.sampled_from(VOLUME_SOURCES))} for name in volumes]
    spec["initContainers"] = [draw(containers(name, volumes, init=True)) for name in names[:split]]
    spec["containers"] = [draw(containers(name, volumes)) for name in names[split:]]
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": draw(st.sampled_from(NAMES))},
        "spec": spec,
    }
    if draw(st.booleans()):
        pod["metadata"]["labels"] = {"app": "web", "tier.example/x": ""}
    if spec.get("hostNetwork"):
        # Host ports would collide with each other by chance.
        for container in (*spec["containers"], *spec["initContainers"]):
            container.pop("ports", None)
    return copy.deepcopy(pod)


_SPEC_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "restartPolicy": st.sampled_from(("Always", "OnFailure", "Never")),
    "terminationGracePeriodSeconds": st.integers(0, 60),
    "activeDeadlineSeconds": st.integers(1, 100),
    "hostNetwork": st.booleans(),
    "hostPID": st.just(True),
    "hostname": st.just("box"),
    "dnsPolicy": st.sampled_from(("Default", "ClusterFirst")),
    "enableServiceLinks": st.booleans(),
    "hostAliases": st.just([{"ip": "10.0.0.9", "hostnames": ["nine.example"]}]),
    "priority": st.sampled_from((0, 1000, 2_000_000_000)),
    "securityContext": st.sampled_from(({}, {"fsGroup": 1000}, {"runAsUser": 0})),
}

Place = tuple[Any, Any]


def _places(value: Any) -> list[Place]:
    """Every (container, key) of a JSON value, the outermost first."""
    found: list[Place] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found += _places(value[key])
    return found


def _drop(draw: st.DrawFn, holder: Any, key: Any) -> None:
    del holder[key]


def _replace(draw: st.DrawFn, holder: Any, key: Any) -> None:
    odd = st.sampled_from(
        (None, "", "..", "/", -1, 0, 70000, 2**31, 2**63, 1.5, True, [], {}, ["x"], {"x": 1}, "Ünder_score")
    )
    holder[key] = copy.deepcopy(draw(odd | json_values(5)))


def _double(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[f"{key}X"] = copy.deepcopy(holder[key])


CHANGES: tuple[Callable[[st.DrawFn, Any, Any], None], ...] = (_drop, _replace, _replace, _double)


@st.composite
def broken_pods(draw: st.DrawFn) -> Json:
    """A good pod with one to three random changes below `kind` and `apiVersion`."""
    pod = draw(valid_pods())
    for _ in range(draw(st.integers(1, 3))):
        places = _places({"metadata": pod.get("metadata"), "spec": pod.get("spec")})[1:]
        places = [place for place in places if place[0] is not pod]
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        draw(st.sampled_from(CHANGES))(draw, holder, key)
    return pod


def pod_manifests() -> st.SearchStrategy[Json]:
    """Good and broken pods, as an agent meets them."""
    return valid_pods() | broken_pods()
