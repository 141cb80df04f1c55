"""What is filled in when a Pod leaves it out, and image names."""

from __future__ import annotations

from typing import Any

import pytest

from kube import defaults, image_reference

pytestmark = pytest.mark.pure


def filled(spec: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = defaults.default_pod({"spec": spec})["spec"]
    return result


def test_pod_spec_defaults() -> None:
    assert filled({"containers": []}) == {
        "containers": [],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": True,
    }


def test_what_is_set_stays_even_when_it_is_zero() -> None:
    spec = filled({"containers": [], "terminationGracePeriodSeconds": 0, "enableServiceLinks": False})
    assert (spec["terminationGracePeriodSeconds"], spec["enableServiceLinks"]) == (0, False)


def test_container_defaults() -> None:
    probe = {"httpGet": {"port": 80}}
    spec = filled({
        "containers": [{
            "image": "nginx", "ports": [{"containerPort": 80}], "livenessProbe": probe,
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }],
    })  # fmt: skip
    (container,) = spec["containers"]
    assert container["imagePullPolicy"] == "Always"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    assert container["lifecycle"]["preStop"]["httpGet"]["path"] == "/"
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"


def test_requests_default_to_limits() -> None:
    spec = filled(
        {"containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0"}}}]}
    )
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "0", "memory": "1Gi"}


def test_pod_level_requests_default_to_what_containers_need_else_to_limits() -> None:
    def ask(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = filled({
        "resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
        "containers": [ask("100m"), ask("200m")],
        "initContainers": [ask("50m", restartPolicy="Always"), ask("500m")],
    })  # fmt: skip
    assert spec["resources"]["requests"] == {"cpu": "550m", "memory": "1Gi"}
    assert "requests" not in filled({"containers": [ask("1")], "resources": {}})["resources"]


def test_host_network_ports_are_host_ports() -> None:
    spec = filled({"hostNetwork": True, "containers": [{"ports": [{"containerPort": 80}]}]})
    assert spec["containers"][0]["ports"][0]["hostPort"] == 80


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"configMap": {"name": "c"}}, {"configMap": {"name": "c", "defaultMode": 420}}),
        ({"secret": {"defaultMode": 0}}, {"secret": {"defaultMode": 0}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                "defaultMode": 420,
            }},
        ),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
        ({"iscsi": {}}, {"iscsi": {"iscsiInterface": "default"}}),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"ephemeral": {"volumeClaimTemplate": {"spec": {"volumeMode": "Filesystem"}}}},
        ),
    ],
)  # fmt: skip
def test_volume_defaults(volume: dict[str, Any], expected: dict[str, Any]) -> None:
    spec = filled({"containers": [], "volumes": [{"name": "v", **volume}]})
    assert spec["volumes"] == [{"name": "v", **expected}]


def test_both_names_of_the_service_account_are_set() -> None:
    assert filled({"containers": [], "serviceAccount": "me"})["serviceAccountName"] == "me"
    assert filled({"containers": [], "serviceAccountName": "me"})["serviceAccount"] == "me"


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "name", "tag", "digest", "policy"),
    [
        ("busybox", "busybox", "latest", "", "Always"),
        ("busybox:1.35", "busybox", "1.35", "", "IfNotPresent"),
        ("host:5000/a/b", "host:5000/a/b", "latest", "", "Always"),
        ("host:5000/a/b:x", "host:5000/a/b", "x", "", "IfNotPresent"),
        ("localhost/a__b/c.d:latest", "localhost/a__b/c.d", "latest", "", "Always"),
        (f"a@{DIGEST}", "a", "", DIGEST, "IfNotPresent"),
        (f"a:b@{DIGEST}", "a", "b", DIGEST, "IfNotPresent"),
        ("[::1]:5000/a", "[::1]:5000/a", "latest", "", "Always"),
    ],
)
def test_image_names_are_taken_apart(image: str, name: str, tag: str, digest: str, policy: str) -> None:
    assert image_reference.parse(image) == image_reference.ImageReference(name, tag, digest)
    assert defaults.pull_policy(image) == policy


@pytest.mark.parametrize(
    "image", ["", "A", "a b", "a:", "a@sha256:1", "/a", "a//b", "-a", "x" * 300, "a" * 5000 + "!"]
)
def test_what_is_no_image_name_is_none(image: str) -> None:
    assert image_reference.parse(image) is None
    assert defaults.pull_policy(image) == "IfNotPresent"
