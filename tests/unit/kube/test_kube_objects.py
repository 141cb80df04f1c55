"""Typed views: names, round trips, nulls, and that the generated files are fresh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from kube import objects, schema
from kube.objects import cluster_v1, core_v1

pytestmark = pytest.mark.pure

ROOT = Path(__file__).resolve().parents[3]

POD = json.loads(
    """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop","uid":"0b7f","resourceVersion":
"12345","creationTimestamp":"2026-11-20T10:00:00Z","labels":{"app":"web"},"ownerReferences":[{"apiVersion":"apps/v1",
"kind":"ReplicaSet","name":"web-1","uid":"x","controller":true}]},"spec":{"containers":[{"name":"a","image":"nginx",
"command":["sh"],"env":[{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}],"ports":[{"containerPort":
80,"hostPort":8080,"hostIP":"127.0.0.1","protocol":"TCP","name":"http"}],"resources":{"limits":{"cpu":"500m"}},
"livenessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":10},"readinessProbe":{"tcpSocket":{"port":80}},
"securityContext":{"runAsNonRoot":true,"capabilities":{"drop":["ALL"]}}}],"volumes":[{"name":"d","emptyDir":{}},
{"name":"api","downwardAPI":{"items":[{"path":"l","fieldRef":{"fieldPath":"metadata.labels"}}]}}],"hostPID":true,
"setHostnameAsFQDN":true,"securityContext":{}},"status":{"phase":"Running","hostIP":"10.0.0.1","podIPs":[{"ip":
"10.244.0.5"}],"containerStatuses":[{"name":"a","state":{"running":{"startedAt":"2026-11-20T10:00:01Z"}},"lastState":
{},"ready":false,"restartCount":0,"image":"nginx","imageID":"sha256:1","containerID":"containerd://1"}]}}"""
)


def test_pod_survives_a_round_trip_with_its_json_names() -> None:
    pod = objects.decode(json.dumps(POD), core_v1.Pod)
    assert pod.metadata.name == "web"
    assert pod.spec.host_pid is True
    assert pod.spec.set_hostname_as_fqdn is True
    assert pod.spec.containers[0].ports[0].host_ip == "127.0.0.1"
    assert pod.status.pod_ips == (core_v1.PodIP(ip="10.244.0.5"),)
    assert objects.to_json(pod) == POD
    assert json.loads(objects.encode(pod)) == POD


def test_zero_values_of_required_fields_are_written() -> None:
    status = core_v1.ContainerStatus(name="a", image="", image_id="", ready=False, restart_count=0)
    assert objects.to_json(status) == {
        "name": "a", "image": "", "imageID": "", "ready": False, "restartCount": 0,
    }  # fmt: skip


def test_null_lists_and_maps_read_as_empty() -> None:
    body = b'{"metadata":{"name":"n","labels":null},"spec":{"containers":[],"volumes":null}}'
    pod = objects.decode(body, core_v1.Pod)
    assert pod.metadata.labels == {}
    assert pod.spec.volumes == ()


def test_wrong_type_is_named_with_its_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.spec\.hostNetwork"):
        objects.decode(b'{"spec":{"containers":[],"hostNetwork":"yes"}}', core_v1.Pod)


def test_secret_data_is_bytes_and_quantities_are_strings() -> None:
    secret = objects.decode(b'{"metadata":{"name":"s"},"data":{"k":"aGk="}}', core_v1.Secret)
    assert secret.data == {"k": b"hi"}
    node = objects.decode(b'{"metadata":{"name":"n"},"status":{"capacity":{"cpu":"4"}}}', cluster_v1.Node)
    assert node.status.capacity == {"cpu": "4"}


def test_generated_objects_match_the_schema() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts/generate_objects.py"), "--check"], check=False)
    assert done.returncode == 0, "run scripts/generate_objects.py"


def test_every_reference_in_the_schema_resolves() -> None:
    seen = 0
    for file in schema.files():
        for fact in schema.load_file(file).values():
            for field in fact.fields.values():
                seen += 1
                if not field.type.is_scalar and field.type.name not in schema.SCALARS:
                    assert schema.load(field.type.name).name == field.type.name.partition(".")[2]
                for key in field.list_keys:
                    assert key in schema.load(field.type.name).fields, (fact.name, field.name)
    assert seen > 2000


def test_schema_knows_list_keys_and_patch_strategies() -> None:
    container = schema.load("core_v1.Container").fields
    assert container["name"].required
    assert container["ports"].list_keys == ("containerPort", "protocol")
    assert container["ports"].merge_key == "containerPort"
    assert schema.load("core_v1.PodSpec").fields["volumes"].patch == ("merge", "retainKeys")
    assert schema.load("core_v1.Pod").gvk == "v1/Pod"
    assert schema.load("apps_v1.Deployment").gvk == "apps/v1/Deployment"
    assert schema.load("meta_v1.LabelSelector").atomic
