"""Pod validation: Kubernetes' field paths and messages, one rule per row."""

# ruff: noqa: E501 - a message is easier to compare in one piece

from __future__ import annotations

import copy
from typing import Any

import pytest

from kube import defaults, objects, structure
from kube.objects.core_v1 import Pod
from kube.validation import names, validate_pod

pytestmark = pytest.mark.pure

LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NAME_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
C0 = "spec.containers[0]"
I0 = "spec.initContainers[0]"
ONLY_SIDECARS = "Forbidden: may not be set for init containers without restartPolicy=Always"


def problems(**spec: Any) -> list[str]:
    """What is wrong with a pod of one container with these spec fields changed."""
    value: dict[str, Any] = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "a", "image": "i"}], **copy.deepcopy(spec)},
    }
    return judge(value)


def judge(value: dict[str, Any]) -> list[str]:
    checked = structure.check(value, "core_v1.Pod")
    assert not checked.errors
    return [str(error) for error in validate_pod(objects.convert(defaults.default_pod(checked.value), Pod))]


def in_container(**fields: Any) -> list[str]:
    return problems(containers=[{"name": "a", "image": "i", **fields}])


def in_metadata(**fields: Any) -> list[str]:
    spec = {"containers": [{"name": "a", "image": "i"}]}
    return judge({"metadata": {"name": "web", "namespace": "shop", **fields}, "spec": spec})


def test_plain_pod_is_valid() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": ""}, ["metadata.name: Required value: name or generateName is required"]),
        ({"name": "", "generateName": "web-"}, []),
        ({"namespace": ""}, ["metadata.namespace: Required value"]),
        ({"namespace": "a.b"}, [f'metadata.namespace: Invalid value: "a.b": {LABEL_TEXT}']),
        (
            {"name": "a" * 254},
            [f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 bytes'],
        ),
        ({"labels": {"-a": ""}}, [f'metadata.labels: Invalid value: "-a": {NAME_TEXT}']),
        ({"labels": {"a/b/c": "x" * 64}}, 2),
        ({"labels": {"/a": ""}}, ['metadata.labels: Invalid value: "/a": prefix part must be non-empty']),
        ({"annotations": {"Example.com/X": "anything at all"}}, []),
        (
            {"annotations": {"a": "x" * 262144}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        ({"finalizers": ["a b"]}, 1),
        (
            {"ownerReferences": [{"apiVersion": "", "kind": "", "name": "n", "uid": "u"}]},
            [
                'metadata.ownerReferences[0].apiVersion: Invalid value: "": version must not be empty',
                'metadata.ownerReferences[0].kind: Invalid value: "": must not be empty',
            ],
        ),
        (
            {"annotations": {"kubernetes.io/config.mirror": "x"}},
            [
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": '
                "must set spec.nodeName if mirror pod annotation is set"
            ],
        ),
    ],
)
def test_metadata_rules(fields: dict[str, Any], expected: list[str] | int) -> None:
    found = in_metadata(**fields)
    assert len(found) == expected if isinstance(expected, int) else found == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"image": ""}, [f"{C0}.image: Required value"]),
        ({"image": " i"}, [f'{C0}.image: Invalid value: " i": must not have leading or trailing whitespace']),
        ({"name": "A_b"}, [f'{C0}.name: Invalid value: "A_b": {LABEL_TEXT}']),
        (
            {"imagePullPolicy": "Sometimes"},
            [f'{C0}.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'],
        ),
        (
            {"terminationMessagePolicy": "Log"},
            [f'{C0}.terminationMessagePolicy: Unsupported value: "Log": supported values: "FallbackToLogsOnError", "File"'],
        ),
        ({"ports": [{"containerPort": 0}]}, [f"{C0}.ports[0].containerPort: Required value"]),
        (
            {"ports": [{"containerPort": 1, "hostPort": 70000}]},
            [f"{C0}.ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            {"ports": [{"containerPort": 1, "protocol": "ICMP"}]},
            [f'{C0}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
        ),
        (
            {"ports": [{"containerPort": 1, "name": "p"}, {"containerPort": 2, "name": "p"}]},
            [f'{C0}.ports[1].name: Duplicate value: "p"'],
        ),
        ({"ports": [{"containerPort": 1, "name": "1-"}]}, 2),
        (
            {"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]},
            [f'{C0}.ports[1].hostPort: Duplicate value: "TCP//5"'],
        ),
        ({"env": [{"name": ""}]}, [f"{C0}.env[0].name: Required value"]),
        ({"env": [{"name": "any thing!", "value": "x"}]}, []),
        (
            {"env": [{"name": "A=B"}]},
            [
                f'{C0}.env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of '
                "printable ASCII characters other than '='"
            ],
        ),
        (
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            [f'{C0}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        ({"env": [{"name": "A", "valueFrom": {}}]}, 1),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]},
            [
                f'{C0}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": '
                "error converting fieldPath: field label not supported: spec.foo"
            ],
        ),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}}]}, []),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}, 1),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a b']"}}}]}, 1),
        ({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}, []),
        ({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "cpu"}}}]}, 1),
        (
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]},
            [
                f'{C0}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": '
                "only divisor's values 1m and 1 are supported with the cpu resource"
            ],
        ),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ".."}}}]}, 1),
        ({"envFrom": [{}]}, [f'{C0}.envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
        (
            {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}},
            [f'{C0}.resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi'],
        ),
        (
            {"resources": {"limits": {"cpu": "-1"}}},
            [
                f'{C0}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
                f'{C0}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        ({"resources": {"requests": {"gpu": "1"}}}, 2),
        (
            {"resources": {"requests": {"example.com/gpu": "1"}}},
            [f"{C0}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
        ),
        ({"resources": {"limits": {"example.com/gpu": "500m"}}}, 2),
        ({"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}, [f"{C0}.resources: Forbidden: HugePages require cpu or memory"]),
        ({"resources": {"claims": [{"name": "x"}]}}, [f'{C0}.resources.claims[0].name: Not found: "x"']),
        ({"volumeMounts": [{"name": "d", "mountPath": "/d"}]}, [f'{C0}.volumeMounts[0].name: Not found: "d"']),
        ({"securityContext": {"runAsUser": -1}}, [f"{C0}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
        ({"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, 1),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, [f"{C0}.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"]),
        ({"securityContext": {"appArmorProfile": {"type": "Unconfined", "localhostProfile": "x"}}}, 1),
        ({"securityContext": {"procMount": "Unmasked"}}, 1),
        ({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}, [f"{C0}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"]),
        ({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Stop"}]}, 2),
        ({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]}, 1),
    ],
)  # fmt: skip
def test_container_rules(fields: dict[str, Any], expected: list[str] | int) -> None:
    found = in_container(**fields)
    assert len(found) == expected if isinstance(expected, int) else found == expected


EXEC = {"exec": {"command": ["x"]}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"livenessProbe": {}}, [f"{C0}.livenessProbe: Required value: must specify a handler type"]),
        (
            {"livenessProbe": {**EXEC, "tcpSocket": {"port": 1}}},
            [f"{C0}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        ({"livenessProbe": {**EXEC, "successThreshold": 2}}, [f"{C0}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
        ({"startupProbe": {**EXEC, "successThreshold": 2}}, [f"{C0}.startupProbe.successThreshold: Invalid value: 2: must be 1"]),
        ({"readinessProbe": {**EXEC, "successThreshold": 2}}, []),
        (
            {"readinessProbe": {**EXEC, "terminationGracePeriodSeconds": 5}},
            [f"{C0}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"],
        ),
        (
            {"livenessProbe": {**EXEC, "terminationGracePeriodSeconds": 0}},
            [f"{C0}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            {"livenessProbe": {**EXEC, "timeoutSeconds": -1}},
            [f"{C0}.livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        ({"livenessProbe": {"exec": {}}}, [f"{C0}.livenessProbe.exec.command: Required value"]),
        (
            {"livenessProbe": {"httpGet": {"port": 0}}},
            [f"{C0}.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        ({"livenessProbe": {"httpGet": {"port": "http"}}}, []),
        ({"livenessProbe": {"httpGet": {"port": "Not_a_port"}}}, 1),
        ({"livenessProbe": {"httpGet": {"port": 1, "scheme": "ftp"}}}, 1),
        ({"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "a b", "value": ""}]}}}, 1),
        ({"livenessProbe": {"grpc": {"port": 70000}}}, 1),
        ({"lifecycle": {"preStop": {}}}, [f"{C0}.lifecycle.preStop: Required value: must specify a handler type"]),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, 1),
        ({"lifecycle": {"postStart": {"sleep": {"seconds": 30}}}}, []),
    ],
)  # fmt: skip
def test_probe_and_hook_rules(fields: dict[str, Any], expected: list[str] | int) -> None:
    found = in_container(**fields)
    assert len(found) == expected if isinstance(expected, int) else found == expected


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({"name": "v"}, []),
        ({"name": ""}, ["spec.volumes[0].name: Required value"]),
        ({"name": "V"}, [f'spec.volumes[0].name: Invalid value: "V": {LABEL_TEXT}']),
        (
            {"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}},
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        ({"name": "v", "hostPath": {"path": ""}}, ["spec.volumes[0].hostPath.path: Required value"]),
        (
            {"name": "v", "hostPath": {"path": "/a/../b"}},
            ["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
        ),
        ({"name": "v", "hostPath": {"path": "/a..b", "type": "Fifo"}}, 1),
        (
            {"name": "v", "configMap": {"name": "c", "defaultMode": 512}},
            ["spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"],
        ),
        ({"name": "v", "configMap": {}}, ["spec.volumes[0].configMap.name: Required value"]),
        ({"name": "v", "configMap": {"name": "c", "items": [{"key": "", "path": "../x"}]}}, 2),
        ({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "..x"}]}}, 1),
        ({"name": "v", "secret": {}}, ["spec.volumes[0].secret.secretName: Required value"]),
        ({"name": "v", "emptyDir": {"sizeLimit": "-1"}}, 1),
        ({"name": "v", "nfs": {"server": "", "path": "x"}}, 2),
        ({"name": "v", "persistentVolumeClaim": {"claimName": ""}}, 1),
        ({"name": "v", "downwardAPI": {"items": [{"path": "p"}]}}, ["spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required"]),
        ({"name": "v", "downwardAPI": {"items": [{"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}]}}, 1),
        ({"name": "v", "projected": {"sources": [{}]}}, 1),
        ({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}}, 1),
        ({"name": "v", "projected": {"sources": [
            {"configMap": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
            {"secret": {"name": "b", "items": [{"key": "k", "path": "p"}]}},
        ]}}, ['spec.volumes[0].projected: Invalid value: "p": conflicting duplicate paths']),
        ({"name": "v", "image": {"reference": ""}}, 1),
        ({"name": "v", "ephemeral": {}}, 1),
        ({"name": "v", "gitRepo": {"repository": "r", "directory": "/x"}}, 1),
    ],
)  # fmt: skip
def test_volume_rules(volume: dict[str, Any], expected: list[str] | int) -> None:
    found = problems(volumes=[volume])
    assert len(found) == expected if isinstance(expected, int) else found == expected


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({}, []),
        ({"mountPath": ""}, [f"{C0}.volumeMounts[0].mountPath: Required value"]),
        ({"subPath": "/x"}, [f'{C0}.volumeMounts[0].subPath: Invalid value: "/x": must be a relative path']),
        (
            {"subPath": "a/../b"},
            [f"{C0}.volumeMounts[0].subPath: Invalid value: \"a/../b\": must not contain '..'"],
        ),
        ({"subPath": "a", "subPathExpr": "b"}, 1),
        ({"mountPropagation": "Bidirectional"}, 1),
        ({"mountPropagation": "Up"}, 1),
        ({"recursiveReadOnly": "Enabled"}, 1),
        ({"recursiveReadOnly": "Enabled", "readOnly": True}, []),
    ],
)
def test_mount_rules(mount: dict[str, Any], expected: list[str] | int) -> None:
    container = {"name": "a", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    found = problems(volumes=[{"name": "v"}], containers=[container])
    assert len(found) == expected if isinstance(expected, int) else found == expected


def test_two_mounts_on_one_path_are_refused() -> None:
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]
    found = problems(
        volumes=[{"name": "v"}], containers=[{"name": "a", "image": "i", "volumeMounts": mounts}]
    )
    assert found == [f'{C0}.volumeMounts[1].mountPath: Invalid value: "/v": must be unique']


def test_two_volumes_of_one_name_are_refused() -> None:
    assert problems(volumes=[{"name": "v"}, {"name": "v"}]) == ['spec.volumes[1].name: Duplicate value: "v"']


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"livenessProbe": EXEC}, [f"{I0}.livenessProbe: {ONLY_SIDECARS}"]),
        ({"lifecycle": {"preStop": EXEC}}, [f"{I0}.lifecycle: {ONLY_SIDECARS}"]),
        ({"restartPolicy": "Always", "livenessProbe": EXEC, "lifecycle": {"preStop": EXEC}}, []),
        ({"restartPolicy": "Always", "startupProbe": {}}, [f"{I0}.startupProbe: Required value: must specify a handler type"]),
        ({"restartPolicy": "Sometimes"}, 1),
        ({"name": "a"}, [f'{I0}.name: Duplicate value: "a"']),
    ],
)  # fmt: skip
def test_init_container_and_sidecar_rules(container: dict[str, Any], expected: list[str] | int) -> None:
    found = problems(initContainers=[{"name": "i", "image": "i", **container}])
    assert len(found) == expected if isinstance(expected, int) else found == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, ["spec.containers: Required value"]),
        ({"restartPolicy": "Maybe"}, ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"']),
        ({"activeDeadlineSeconds": 0}, ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
        ({"hostname": "a.b"}, [f'spec.hostname: Invalid value: "a.b": {LABEL_TEXT}']),
        ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        ({"dnsPolicy": "Mine"}, 1),
        ({"dnsConfig": {"nameservers": ["1.1.1.1", "x", "::1", "8.8.8.8"]}}, 2),
        ({"dnsConfig": {"searches": [".", "a_b.example.", "-"], "options": [{}]}}, 2),
        ({"hostAliases": [{"ip": "x", "hostnames": ["A"]}]}, 2),
        ({"hostNetwork": True, "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 1, "hostPort": 2}]}]}, [f"{C0}.ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true"]),
        ({"hostPID": True, "shareProcessNamespace": True}, 1),
        ({"hostUsers": False, "hostNetwork": True}, 1),
        ({"securityContext": {"sysctls": [{"name": "net.x", "value": "1"}, {"name": "net/x", "value": "1"}, {"name": "X", "value": ""}]}}, 2),
        ({"securityContext": {"fsGroup": -1, "supplementalGroups": [2**31]}}, 2),
        ({"securityContext": {"fsGroupChangePolicy": "Never", "supplementalGroupsPolicy": "None"}}, 2),
        ({"tolerations": [{"operator": "Exists"}]}, []),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}, ['spec.tolerations[0].effect: Invalid value: "": effect must be \'NoExecute\' when `tolerationSeconds` is set']),
        ({"tolerations": [{"effect": "Sometimes"}]}, 2),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}, 1),
        ({"nodeSelector": {"a": "b c"}}, 1),
        ({"nodeName": "N"}, 1),
        ({"preemptionPolicy": "Always"}, 1),
        ({"overhead": {"cpu": "-1"}}, 1),
        ({"os": {"name": "beos"}}, 1),
        ({"readinessGates": [{"conditionType": "a b"}]}, 1),
        ({"schedulingGates": [{"name": "g"}, {"name": "g"}]}, 1),
        ({"resourceClaims": [{"name": "c"}]}, 1),
        ({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "X"}]}, 3),
        ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1}]}, 1),
        ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}, 1),
        ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]}}}, 2),
        ({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}}, 3),
        ({"ephemeralContainers": [{"name": "e", "image": "i"}]}, ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
        ({"hostnameOverride": "x", "hostNetwork": True}, 1),
        ({"resources": {"limits": {"disk": "1"}}}, 1),
        ({"resources": {"requests": {"cpu": "1"}}, "containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}, ['spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2']),
        ({"resources": {"limits": {"cpu": "1"}}, "containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "0"}}}]}, 1),
    ],
)  # fmt: skip
def test_pod_spec_rules(spec: dict[str, Any], expected: list[str] | int) -> None:
    found = problems(**spec)
    assert len(found) == expected if isinstance(expected, int) else found == expected


def test_long_names_take_no_long_time_and_one_message() -> None:
    assert names.dns_subdomain("a" * 100_000 + "!") == ["must be no more than 253 bytes"]
    assert names.dns_label("-" * 64) == ["must be no more than 63 bytes", LABEL_TEXT]
