"""A simulated node of a cluster whose pods read ConfigMaps, Secrets, Services and tokens from the API.

`tests.simcluster` with `kubelet.objects` joined to it as the agent does; files are real, in the test's own
directory, and mounts are kept in a table.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from kubelet.objects.joining import join, make_inputs
from kubelet.objects.pod_inputs import ApiPodInputs, PodInputs
from kubelet.volumes.inputs import InputSource
from tests.simcluster import NAMESPACE, ClusterNode, simulate_node

T = TypeVar("T")


class ObjectNode(ClusterNode):
    """`inputs` is the agent's door to the objects."""

    inputs: ApiPodInputs

    def make_inputs(self) -> tuple[PodInputs, InputSource | None]:
        self.inputs = make_inputs(self.api.client("node"), self.clock, self.sink)
        return self.inputs, self.inputs

    async def start(self) -> None:
        self.put_account("default")
        await super().start()
        self.record.redefined = self.inputs.redefined
        loops = join(self.inputs, self.volumes, self.workers.get, self.clock, self.sink)
        self._tasks += [asyncio.ensure_future(loop()) for loop in loops.values()]

    async def _end(self) -> None:
        await super()._end()
        await self.inputs.close()

    # What others put into the API

    def put_map(self, name: str, /, **data: str) -> dict[str, Any]:
        return self._put("ConfigMap", name, data=data)

    def put_immutable_map(self, name: str, /, **data: str) -> dict[str, Any]:
        return self._put("ConfigMap", name, data=data, immutable=True)

    def put_secret(self, name: str, /, *, type: str = "Opaque", **data: str) -> dict[str, Any]:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        return self._put("Secret", name, data=encoded, type=type)

    def put_account(self, name: str) -> dict[str, Any]:
        return self._put("ServiceAccount", name)

    def put_service(self, name: str, cluster_ip: str, *ports: int, namespace: str = NAMESPACE) -> None:
        spec = {"clusterIP": cluster_ip, "ports": [{"port": port, "protocol": "TCP"} for port in ports]}
        self._put("Service", name, namespace=namespace, spec=spec)

    def _put(self, kind: str, name: str, *, namespace: str = NAMESPACE, **fields: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": namespace}
        return self.api.put({"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields})

    # Questions

    def files(self, pod: str, volume: str) -> dict[str, str]:
        """What the volume shows: path -> text."""
        uid = self.pod(pod)["metadata"]["uid"]
        found = (self.volumes.mounted(uid) or {}).get(volume)
        if found is None:
            return {}
        top = Path(found.host_path)
        shown = (path for entry in top.iterdir() if not entry.name.startswith("..") for path in walk(entry))
        return {str(path.relative_to(top)): path.read_text() for path in shown}

    def env(self, pod: str, container: str = "app") -> dict[str, str]:
        """The environment that the runtime was given."""
        key = self.running(pod)[container]
        config = self.runtime.world.containers[key].config
        return {one.key: one.value.decode() for one in config.envs}

    def asked(self, verb: str, plural: str = "", name: str = "") -> int:
        """How often the node asked for it."""
        return sum(
            1
            for one in self.api.requests
            if one.user == "node"
            and one.verb == verb
            and (not plural or (one.resource is not None and one.resource.plural == plural))
            and name in ("", one.name)
        )

    def watches(self, plural: str) -> int:
        """Open watches on a collection."""
        return sum(1 for one in self.api.watches.open if one.resource.plural == plural)


def walk(path: Path) -> list[Path]:
    if path.is_dir():
        return [found for entry in sorted(path.iterdir()) for found in walk(entry)]
    return [path]


def token_volume(name: str = "kube-api-access") -> dict[str, Any]:
    """The volume that ServiceAccount admission adds to every pod."""
    sources: list[dict[str, Any]] = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": name, "projected": {"defaultMode": 0o644, "sources": sources}}


def simulate_objects(root: Path, scenario: Callable[[ObjectNode], Awaitable[T]], **options: Any) -> T:
    """Run a scenario on a fresh node of a fresh cluster."""
    return simulate_node(lambda clock: ObjectNode(clock, root, **options), scenario)
