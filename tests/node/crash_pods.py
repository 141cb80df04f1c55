"""Manifests for the crash tests: pods that write down what happens to them.

Every container process appends a line to `<tally>/<container>` before anything else, and every hook to
`<tally>/<container>.post` or `.pre`: a container that was started twice, by whomever, is seen there even
when nothing else remembers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.node.world import Times, WantedContainer, WantedPod

IMAGE = "docker.io/library/busybox:1.35"
# As the first process it must ask for SIGTERM, or the kernel keeps it from it.
STAY = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"

RICH_MOUNTS = frozenset({"volumes/kubernetes.io~empty-dir/mem", "volume-subpaths/disk/a/2"})


def container(name: str, script: str = STAY, **more: Any) -> dict[str, Any]:
    """One that tallies its start and then runs `script`."""
    mounts = [{"name": "tally", "mountPath": "/tally"}, *more.pop("volumeMounts", ())]
    return {
        "name": name,
        "image": IMAGE,
        "command": ["sh", "-c", f"echo start >> /tally/{name}; {script}"],
        "volumeMounts": mounts,
        **more,
    }


def pod(name: str, tally: Path, *containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A static pod; `tally` is made on the host when it is missing."""
    host_path = {"path": str(tally), "type": "DirectoryOrCreate"}
    volumes = [{"name": "tally", "hostPath": host_path}, *spec.pop("volumes", ())]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 10,
            "volumes": volumes,
            "containers": list(containers),
            **spec,
        },
    }


def hook(file: str, script: str = "") -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", f"echo ran >> /tally/{file}; {script}"]}}


def plain_pod(name: str, tally: Path, *names: str, **spec: Any) -> dict[str, Any]:
    """Containers that stay, nothing else."""
    return pod(name, tally, *(container(one) for one in names or ("a",)), **spec)


def rich_pod(name: str, tally: Path) -> dict[str, Any]:
    """Init container, sidecar, both hooks, a probe, memory and plain emptyDir, subPath, hostPath."""
    memory = {"name": "mem", "mountPath": "/mem"}
    first = container("init", "echo ready > /mem/flag", volumeMounts=[memory])
    side = container("side", restartPolicy="Always")
    main = container(
        "a",
        volumeMounts=[memory, {"name": "disk", "mountPath": "/sub", "subPath": "deep/er"}],
        lifecycle={"postStart": hook("a.post"), "preStop": hook("a.pre")},
        readinessProbe={"exec": {"command": ["cat", "/mem/flag"]}, "periodSeconds": 1},
    )
    volumes = [{"name": "mem", "emptyDir": {"medium": "Memory"}}, {"name": "disk", "emptyDir": {}}]
    return pod(name, tally, main, container("b"), initContainers=[first, side], volumes=volumes)


def rich_wanted(
    name: str, uid: str, tally: Path, ids: Mapping[str, str] | None = None, **more: Any
) -> WantedPod:
    """What `rich_pod` is to become; `b` has restarted `b_restarts` times."""
    known = ids or {}
    restarts = {"b": more.pop("b_restarts", 0)}
    containers = {
        one: WantedContainer(restarts.get(one, 0), known.get(one, ""), 0 if one == "init" else None)
        for one in ("init", "side", "a", "b")
    }
    hooks = {"a.post": Times(1, more.pop("post_starts", 1)), "a.pre": Times(0, 0)}
    return WantedPod(name, uid, containers, tally, RICH_MOUNTS, hooks, **more)


def plain_wanted(name: str, uid: str, tally: Path, ids: Mapping[str, str], **more: Any) -> WantedPod:
    """Containers of those names and ids running, none restarted."""
    containers = {one: WantedContainer(id=known) for one, known in ids.items()}
    return WantedPod(name, uid, containers, tally, **more)
