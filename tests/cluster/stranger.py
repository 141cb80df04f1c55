"""A client that shares no code with ours: the standard library's HTTPS, JSON, and Kubernetes' paths.

Promise: every answer is shown in full when it is not the one that was expected; a watch is closed with its
block; `Pods.run` starts many pods at once, so that a suite waits for the slowest and not for the sum.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.cluster.clusters import wait_until
from tests.cluster.kubectl import IMAGE

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
ANSWER_SECONDS = 60

GROUPS = {
    "deployments": "apps/v1", "replicasets": "apps/v1", "leases": "coordination.k8s.io/v1",
    "endpointslices": "discovery.k8s.io/v1", "runtimeclasses": "node.k8s.io/v1",
    "priorityclasses": "scheduling.k8s.io/v1", "tokenreviews": "authentication.k8s.io/v1",
    "roles": "rbac.authorization.k8s.io/v1", "rolebindings": "rbac.authorization.k8s.io/v1",
    "clusterroles": "rbac.authorization.k8s.io/v1", "clusterrolebindings": "rbac.authorization.k8s.io/v1",
    "subjectaccessreviews": "authorization.k8s.io/v1",
    "selfsubjectaccessreviews": "authorization.k8s.io/v1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def path_to(resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of a collection, an object or a subresource; `resource` in the plural."""
    version = GROUPS.get(resource, "v1")
    parts = ["apis" if "/" in version else "api", version]
    parts += ["namespaces", namespace] if namespace else []
    parts += [part for part in (resource, name, subresource) if part]
    return "/" + "/".join(parts)


class Api:
    """Requests as the administrator of a kubeconfig, or as whoever holds `token`."""

    def __init__(self, kubeconfig: Path, token: str = "") -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.kubeconfig = kubeconfig
        self.server = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        if not token:
            with tempfile.NamedTemporaryFile() as pem:
                for part in ("client-certificate-data", "client-key-data"):
                    pem.write(base64.b64decode(user[part]))
                pem.flush()
                self.context.load_cert_chain(pem.name)

    def holder(self, token: str) -> Api:
        return Api(self.kubeconfig, token)

    def _begin(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], query: Mapping[str, Any]
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        if query:
            path += ("&" if "?" in path else "?") + urlencode(query, doseq=True)
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPSConnection(
            str(self.server.hostname), self.server.port, context=self.context, timeout=ANSWER_SECONDS
        )
        connection.request(method, path, raw, {"Content-Type": JSON, **self.headers, **headers})
        return connection, connection.getresponse()

    def ask(self, method: str, path: str, body: Any = None, *, send: str = JSON, accept: str = JSON,
            **query: Any) -> Reply:  # fmt: skip
        """Any answer. `send` is the type of the body."""
        connection, response = self._begin(
            method, path, body, {"Content-Type": send, "Accept": accept}, query
        )
        with contextlib.closing(connection):
            return Reply(
                response.status, dict(response.headers.items()), response.read().decode("utf-8", "replace")
            )

    def must(self, reply: Reply) -> Any:
        """The body of an answer that is a success."""
        assert 200 <= reply.code < 300, (reply.code, reply.text)
        return reply.json

    def get(self, path: str, **query: Any) -> Any:
        return self.must(self.ask("GET", path, **query))

    def create(self, path: str, body: Any, **query: Any) -> Any:
        return self.must(self.ask("POST", path, body, **query))

    def replace(self, path: str, body: Any, **query: Any) -> Any:
        return self.must(self.ask("PUT", path, body, **query))

    def patch(self, path: str, body: Any, send: str = STRATEGIC, **query: Any) -> Any:
        return self.must(self.ask("PATCH", path, body, send=send, **query))

    def delete(self, path: str, **options: Any) -> Any:
        return self.must(self.ask("DELETE", path, options or None))

    def is_gone(self, path: str) -> bool:
        return self.ask("GET", path).code == 404

    def text(self, path: str, **query: Any) -> str:
        reply = self.ask("GET", path, accept="*/*", **query)
        assert reply.code == 200, (reply.code, reply.text)
        return reply.text

    @contextlib.contextmanager
    def watch(self, path: str, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """The events, as they come; ends where the server ends it."""
        connection, response = self._begin("GET", path, None, {"Accept": JSON}, {"watch": "true", **query})
        with contextlib.closing(connection), response:
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)

    def until(self, path: str, is_so: Callable[[Any], Any], seconds: float = 60) -> Any:
        """The object once it is as it should be; fails with the last one seen."""
        last: dict[str, Any] = {}

        def so() -> bool:
            last["seen"] = self.get(path)
            return bool(is_so(last["seen"]))

        try:
            wait_until(so, path, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}: {json.dumps(last.get('seen'))}") from None
        return last["seen"]


def container(script: str = "", name: str = "main", **fields: Any) -> dict[str, Any]:
    """A busybox; without `script` it ends when told to."""
    shell = script or "trap exit TERM INT; while :; do sleep 0.1; done"
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", shell], **fields}


def pod_of(name: str, *containers: dict[str, Any], labels: dict[str, str] | None = None,
           annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:  # fmt: skip
    metadata: dict[str, Any] = {"name": name, "labels": {"app": name, **(labels or {})}}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {
            "terminationGracePeriodSeconds": 2, "containers": list(containers) or [container()], **spec,
        },
    }  # fmt: skip


def once(name: str, script: str, *, box: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that runs `script` to its end; `box` adds fields to its container."""
    return pod_of(name, container(script, **(box or {})), **{"restartPolicy": "Never", **spec})


class Place:
    """A client in one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def at(self, resource: str, name: str = "", subresource: str = "") -> str:
        return path_to(resource, self.namespace, name, subresource)

    def make(self, resource: str, body: dict[str, Any], **query: Any) -> Any:
        return self.api.create(self.at(resource), body, **query)

    def find(self, resource: str, name: str) -> Any:
        return self.api.get(self.at(resource, name))

    def items(self, resource: str, **query: Any) -> list[Any]:
        found: list[Any] = self.api.get(self.at(resource), **query)["items"]
        return found

    def until(self, resource: str, name: str, is_so: Callable[[Any], Any], seconds: float = 60) -> Any:
        return self.api.until(self.at(resource, name), is_so, seconds)

    def log(self, pod: str, **query: Any) -> str:
        return self.api.text(self.at("pods", pod, "log"), **query)

    def ended(self, pod: str, phase: str = "Succeeded") -> Any:
        """The pod when it is over, in the phase it should be."""
        over = self.until("pods", pod, lambda seen: seen["status"].get("phase") in ("Succeeded", "Failed"))
        assert over["status"]["phase"] == phase, (over["status"], self.log(pod))
        return over

    def output(self, pod: str) -> str:
        """What a pod that succeeded said."""
        self.ended(pod)
        return self.log(pod)

    def ready(self, pod: str, seconds: float = 60) -> Any:
        return self.until("pods", pod, is_ready, seconds)


def condition(one: dict[str, Any], kind: str) -> str:
    """ "True", "False", "Unknown", or "" where there is none."""
    found = {row["type"]: row["status"] for row in one.get("status", {}).get("conditions", ())}
    return str(found.get(kind, ""))


def is_ready(one: dict[str, Any]) -> bool:
    return condition(one, "Ready") == "True"


def config_map(name: str, data: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data, **fields}


def secret(name: str, data: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data, **fields}
