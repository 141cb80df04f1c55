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


def handlers(*, hook: bool = False) -> st.SearchStrategy[Json]:
    """One handler of a probe, or of a lifecycle hook."""
    port = st.integers(1, 65535)
    kinds: list[st.SearchStrategy[Json]] = [
        st.fixed_dictionaries({"exec": st.just({"command": ["true"]})}),
        st.builds(
            lambda port, optional: {"httpGet": {"port": port, **optional}},
            port,
            st.fixed_dictionaries(
                {},
                optional={
                    "path": st.sampled_from(("/", "/healthz?x=1")),
                    "scheme": st.sampled_from(("HTTP", "HTTPS")),
                    "httpHeaders": st.just([{"name": "X-Probe", "value": "1"}]),
                },
            ),
        ),
        st.builds(lambda port: {"tcpSocket": {"port": port}}, port),
    ]
    if hook:
        kinds.append(st.builds(lambda seconds: {"sleep": {"seconds": seconds}}, st.integers(0, 1)))
    else:
        kinds.append(st.builds(lambda port: {"grpc": {"port": port}}, port))
    return st.one_of(kinds)


@st.composite
def probes(draw: st.DrawFn, *, readiness: bool = False) -> Json:
    numbers = {
        "initialDelaySeconds": st.integers(0, 5),
        "periodSeconds": st.integers(1, 10),
        "timeoutSeconds": st.integers(1, 5),
        "failureThreshold": st.integers(1, 5),
    }
    if readiness:
        numbers["successThreshold"] = st.integers(1, 3)
    else:
        numbers["terminationGracePeriodSeconds"] = st.integers(1, 30)
    probe: Json = draw(st.fixed_dictionaries({}, optional=numbers))
    return {**probe, **draw(handlers())}


@st.composite
def resources(draw: st.DrawFn) -> Json:
    """Requests never above limits: each resource has one amount for both, or only one of them."""
    chosen: Json = {"requests": {}, "limits": {}}
    for name, amounts in (("cpu", CPU), ("memory", MEMORY)):
        amount = draw(st.sampled_from(amounts))
        for kind in draw(st.sampled_from(((), ("requests",), ("limits",), ("requests", "limits")))):
            chosen[kind][name] = amount
    return {kind: amounts for kind, amounts in chosen.items() if amounts}


@st.composite
def variables(draw: st.DrawFn) -> Json:
    name = draw(st.sampled_from(("NAME", "PATH", "a.b", "X-1", "_")))
    references: list[Json] = [
        {"fieldRef": {"fieldPath": path}}
        for path in (
            "metadata.name",
            "metadata.labels['app']",
            "status.podIP",
            "spec.nodeName",
            "status.hostIPs",
        )
    ]
    references += [{"resourceFieldRef": {"resource": name}} for name in ("limits.cpu", "requests.memory")]
    source = draw(st.sampled_from((None, *references)))
    return (
        {"name": name, "valueFrom": source}
        if source
        else {"name": name, "value": draw(st.sampled_from(TEXTS))}
    )


@st.composite
def containers(draw: st.DrawFn, name: str, volumes: tuple[str, ...], *, init: bool = False) -> Json:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "command": st.sampled_from((["sh", "-c", "sleep 60"], ["true"], ["false"], ["sleep", "$(NAME)"])),
        "args": st.lists(st.sampled_from(TEXTS), max_size=2),
        "env": st.lists(variables(), max_size=3),
        "workingDir": st.just("/tmp"),
        "resources": resources(),
        "imagePullPolicy": st.sampled_from(("Always", "IfNotPresent", "Never")),
        "terminationMessagePolicy": st.sampled_from(("File", "FallbackToLogsOnError")),
        "stdin": st.booleans(),
        "tty": st.booleans(),
        "securityContext": st.sampled_from(
            (
                {},
                {"runAsUser": 1000},
                {"privileged": True},
                {"capabilities": {"drop": ["ALL"]}},
                {"runAsNonRoot": True},
            )
        ),
    }
    sidecar = init and draw(st.booleans())
    if not init or sidecar:
        optional["livenessProbe"] = probes()
        optional["readinessProbe"] = probes(readiness=True)
        optional["startupProbe"] = probes()
        optional["lifecycle"] = st.fixed_dictionaries(
            {}, optional={"preStop": handlers(hook=True), "postStart": handlers(hook=True)}
        )
    container: Json = draw(st.fixed_dictionaries({}, optional=optional))
    container |= {"name": name, "image": draw(st.sampled_from(IMAGES))}
    if sidecar:
        container["restartPolicy"] = "Always"
    if volumes:
        mounted = draw(st.lists(st.sampled_from(volumes), max_size=2, unique=True))
        container["volumeMounts"] = [{"name": volume, "mountPath": f"/mnt/{volume}"} for volume in mounted]
    if draw(st.booleans()):
        container["ports"] = [{"containerPort": draw(st.integers(1, 65535)), "name": "main"}]
    return container


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
    spec: Json = draw(
        st.fixed_dictionaries(
            {},
            optional={
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
            },
        )
    )
    spec["volumes"] = [
        {"name": name, **copy.deepcopy(draw(st.sampled_from(VOLUME_SOURCES)))} for name in volumes
    ]
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
    return pod


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
    pod = copy.deepcopy(draw(valid_pods()))
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
