"""Running containers that read the API: files, environment and tokens, as kubectl and they see them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.clusters import Kubectl

pytestmark = pytest.mark.cluster

PATIENCE_SECONDS = 60.0
IMAGE = "docker.io/library/busybox:1.35"


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


def put(kubectl: Kubectl, namespace: str, *bodies: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
    kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(listed))


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def pod(name: str, *volumes: dict[str, Any], **container: Any) -> dict[str, Any]:
    mounts = [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes]
    box = {
        "name": "app", "image": IMAGE, "command": ["sleep", "1000"], "volumeMounts": mounts, **container,
    }  # fmt: skip
    metadata = {"name": name, "labels": {"app": name}}
    spec = {"containers": [box], "volumes": list(volumes), "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def is_ready(kubectl: Kubectl, namespace: str, name: str) -> bool:
    state = kubectl.json("get", "pod", name, "-n", namespace).get("status", {})
    return any(one["type"] == "Ready" and one["status"] == "True" for one in state.get("conditions", ()))


def inside(kubectl: Kubectl, namespace: str, name: str, *words: str) -> str:
    return kubectl("exec", "-n", namespace, name, "--", *words)


def test_files_and_environment_of_a_running_pod_follow_the_api(kubectl: Kubectl, namespace: str) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    reference = {"secretKeyRef": {"name": "keys", "key": "word"}}
    put(
        kubectl,
        namespace,
        config_map("settings", color="red"),
        secret("keys", word="sesame"),
        pod(
            "web",
            {"name": "config", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
            {"name": "me", "downwardAPI": {"items": items}},
            env=[{"name": "WORD", "valueFrom": reference}],
            envFrom=[{"configMapRef": {"name": "settings"}}],
        ),
    )
    until(lambda: is_ready(kubectl, namespace, "web"), "web is ready")
    shown = inside(
        kubectl, namespace, "web", "sh", "-c", "cat /config/color /keys/word /me/labels; echo; env"
    )
    assert shown.startswith('redsesameapp="web"')
    lines = shown.split("\n")
    assert "WORD=sesame" in lines and "color=red" in lines and "KUBERNETES_SERVICE_PORT=443" in lines
    access = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert inside(kubectl, namespace, "web", "cat", f"{access}/namespace") == namespace
    assert inside(kubectl, namespace, "web", "cat", f"{access}/ca.crt").startswith("-----BEGIN CERTIFICATE")
    token = inside(kubectl, namespace, "web", "cat", f"{access}/token")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    user = json.loads(kubectl("create", "-f", "-", "-o", "json", text=json.dumps(review)))["status"]["user"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["web"]

    put(kubectl, namespace, config_map("settings", color="blue"))
    look = "while ! grep -q blue /config/color; do :; done; cat /config/color"
    assert inside(kubectl, namespace, "web", "sh", "-c", look) == "blue"
    kubectl("label", "pod", "web", "-n", namespace, "tier=front")
    until(lambda: "front" in inside(kubectl, namespace, "web", "cat", "/me/labels"), "the label is shown")


def test_pod_waits_for_what_it_names_and_says_so(kubectl: Kubectl, namespace: str) -> None:
    put(kubectl, namespace, pod("late", {"name": "config", "configMap": {"name": "settings"}}))
    text = 'MountVolume.SetUp failed for volume "config" : configmap "settings" not found'
    until(lambda: text in kubectl("describe", "pod", "late", "-n", namespace), "kubectl describe tells")
    put(kubectl, namespace, config_map("settings", color="red"))
    until(lambda: is_ready(kubectl, namespace, "late"), "late is ready")
    assert inside(kubectl, namespace, "late", "cat", "/config/color") == "red"
