"""What a container is given, as Kubernetes' conformance suite checks it from inside: variables, files, modes.

Sources: test/e2e/common/{node,storage} of Kubernetes 1.36 (ConfigMap, Secrets, Downward API, Projected,
EmptyDir, Variable Expansion, Subpath). Every pod of the table starts at once; each test waits for its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.clusters import wait_until
from tests.cluster.stranger import Place, config_map, container, once, pod_of, secret

pytestmark = pytest.mark.cluster

MODES = "stat -L -c '%a %n' /v/*; cat /v/* 2>/dev/null"
LIMITS = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
ENVIRON = "cat /proc/1/environ | tr '\\0' '\\n'"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
MOUNT = [{"name": "v", "mountPath": "/v"}]


def volume(source: dict[str, Any], script: str = MODES, *, mount: dict[str, Any] | None = None,
           box: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:  # fmt: skip
    """A pod with one volume at /v."""
    mounts = [{"name": "v", "mountPath": "/v", **(mount or {})}]
    fields = {"volumeMounts": mounts, **(box or {})}
    return once("x", script, box=fields, volumes=[{"name": "v", **source}], **spec)


def field(path: str) -> dict[str, Any]:
    return {"fieldRef": {"fieldPath": path}}


def resource(name: str, divisor: str = "0") -> dict[str, Any]:
    return {"resourceFieldRef": {"containerName": "main", "resource": name, "divisor": divisor}}


def env(**sources: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "valueFrom": source} for name, source in sources.items()]


def downward(**items: dict[str, Any]) -> dict[str, Any]:
    return {"downwardAPI": {"items": [{"path": path, **source} for path, source in items.items()]}}


def empty(mode: str, user: int, medium: str) -> dict[str, Any]:
    script = (
        f"umask 0; stat -c 'dir %a' /v; echo content > /v/f; chmod {mode} /v/f; stat -c 'file %a %u' /v/f; "
        "cat /v/f; mount | grep ' /v '"
    )
    return volume({"emptyDir": {"medium": medium}}, script, securityContext={"runAsUser": user})


MAPPED = {"items": [{"key": "data-2", "path": "path/to/two"}]}
MAPPED_MODE = {"items": [{"key": "data-2", "path": "two", "mode": 0o400}]}
NON_ROOT: dict[str, Any] = {"securityContext": {"runAsUser": 1000}}
ALL_IN_ONE = {"projected": {"defaultMode": 0o440, "sources": [
    {"configMap": {"name": "map", "items": [{"key": "data-1", "path": "configmap"}]}},
    {"secret": {"name": "sec", "items": [{"key": "data-1", "path": "secret", "mode": 0o400}]}},
    {"downwardAPI": {"items": [{"path": "podname", **field("metadata.name")}]}},
]}}  # fmt: skip
TOKEN = {"projected": {"sources": [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600, "audience": "someone"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
]}}  # fmt: skip

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "map-volume": (volume({"configMap": {"name": "map"}}), ["644 /v/data-1", "value-1", "value-2"]),
    "map-mode": (volume({"configMap": {"name": "map", "defaultMode": 0o400}}), ["400 /v/data-1"]),
    "map-items": (
        volume({"configMap": {"name": "map", **MAPPED}}, "cat /v/path/to/two; ls /v"),
        ["value-2", "(?s)path\n$"],
    ),
    "map-item-mode": (volume({"configMap": {"name": "map", **MAPPED_MODE}}), ["400 /v/two", "value-2"]),
    "map-nonroot": (volume({"configMap": {"name": "map"}}, **NON_ROOT), ["644 /v/data-1", "value-1"]),
    "map-fsgroup": (
        volume(
            {"configMap": {"name": "map", "defaultMode": 0o440}},
            securityContext={"runAsUser": 1000, "fsGroup": 1001},
        ),
        ["440 /v/data-1", "value-1"],
    ),
    "map-binary": (volume({"configMap": {"name": "map"}}, "od -An -tx1 /v/raw"), ["00 ff 10"]),
    "map-missing-optional": (
        volume({"configMap": {"name": "none", "optional": True}}, "ls /v | wc -l"),
        ["^0"],
    ),
    "map-env": (
        once("x", ENVIRON, box={"env": env(ONE={"configMapKeyRef": {"name": "map", "key": "data-1"}})}),
        ["^ONE=value-1$"],
    ),
    "map-env-from": (
        once(
            "x",
            ENVIRON,
            box={
                "envFrom": [
                    {"configMapRef": {"name": "map"}},
                    {"prefix": "P_", "configMapRef": {"name": "map"}},
                ]
            },
        ),
        ["^data-1=value-1$", "^P_data-2=value-2$"],
    ),
    "secret-volume": (volume({"secret": {"secretName": "sec"}}), ["644 /v/data-1", "value-1"]),
    "secret-mode": (volume({"secret": {"secretName": "sec", "defaultMode": 0o400}}), ["400 /v/data-1"]),
    "secret-items": (
        volume({"secret": {"secretName": "sec", **MAPPED}}, "cat /v/path/to/two; mount | grep ' /v '"),
        ["value-2", "tmpfs"],
    ),
    "secret-item-mode": (volume({"secret": {"secretName": "sec", **MAPPED_MODE}}), ["400 /v/two"]),
    "secret-fsgroup": (
        volume(
            {"secret": {"secretName": "sec", "defaultMode": 0o440}},
            securityContext={"runAsUser": 1000, "fsGroup": 1001},
        ),
        ["440 /v/data-1", "value-1"],
    ),
    "secret-env": (
        once(
            "x",
            ENVIRON,
            box={
                "env": env(S={"secretKeyRef": {"name": "sec", "key": "data-1"}}),
                "envFrom": [{"secretRef": {"name": "sec"}, "prefix": "F_"}],
            },
        ),
        ["^S=value-1$", "^F_data-2=value-2$"],
    ),
    "downward-env": (
        once(
            "x",
            ENVIRON,
            box={
                "resources": LIMITS,
                "env": env(
                    NAME=field("metadata.name"),
                    SPACE=field("metadata.namespace"),
                    IP=field("status.podIP"),
                    IPS=field("status.podIPs"),
                    HOST=field("status.hostIP"),
                    HOSTS=field("status.hostIPs"),
                    UID_=field("metadata.uid"),
                    NODE=field("spec.nodeName"),
                    SA=field("spec.serviceAccountName"),
                    LABEL=field("metadata.labels['app']"),
                    CPU=resource("limits.cpu"),
                    CPUREQ=resource("requests.cpu", "1m"),
                    MEM=resource("limits.memory"),
                    MEMREQ=resource("requests.memory", "1Mi"),
                ),
            },
        ),
        [
            "^NAME=downward-env$",
            "^SPACE=room-",
            r"^IP=\d+\.\d+\.\d+\.\d+$",
            r"^IPS=[\d.]+$",
            r"^HOST=[\d.]+$",
            r"^HOSTS=[\d.]+$",
            "^UID_=[0-9a-f-]{36}$",
            "^NODE=.+$",
            "^SA=default$",
            "^LABEL=downward-env$",
            "^CPU=2$",
            "^CPUREQ=250$",
            "^MEM=67108864$",
            "^MEMREQ=32$",
        ],
    ),
    "downward-default": (
        once("x", ENVIRON, box={"env": env(CPU=resource("limits.cpu"), MEM=resource("limits.memory"))}),
        ["^CPU=[1-9]", "^MEM=[1-9][0-9]{6,}$"],
    ),
    "downward-volume": (
        volume(
            downward(
                podname=field("metadata.name"),
                labels=field("metadata.labels"),
                notes=field("metadata.annotations"),
                cpu=resource("limits.cpu", "1m"),
                memory=resource("limits.memory"),
                cpureq=resource("requests.cpu", "1m"),
            ),
            "stat -L -c '%a %n' /v/podname; cd /v; for f in *; do echo $f: $(cat $f); done",
            box={"resources": LIMITS},
        ),
        [
            "644 /v/podname",
            "podname: downward-volume$",
            'labels: app="downward-volume"$',
            "cpu: 1250$",
            "memory: 67108864$",
            "cpureq: 250$",
        ],
    ),
    "downward-mode": (
        volume(
            {
                "downwardAPI": {
                    "defaultMode": 0o400,
                    "items": [
                        {"path": "a", **field("metadata.name")},
                        {"path": "b", "mode": 0o444, **field("metadata.name")},
                    ],
                }
            }
        ),
        ["400 /v/a", "444 /v/b"],
    ),
    "downward-allocatable": (
        volume(downward(cpu=resource("limits.cpu"), memory=resource("limits.memory"))),
        [r"[1-9]\d*"],
    ),
    "projected-all": (
        volume(ALL_IN_ONE, "stat -L -c '%a %n' /v/*; cat /v/configmap /v/secret /v/podname"),
        ["440 /v/configmap", "400 /v/secret", "440 /v/podname", "value-1", "projected-all"],
    ),
    "projected-token": (
        volume(TOKEN, "stat -L -c '%a %n' /v/*; cut -d. -f2 /v/token; head -1 /v/ca.crt"),
        ["(600|644) /v/token", "^eyJ", "BEGIN CERTIFICATE"],
    ),
    "projected-token-nonroot": (
        volume(TOKEN, "stat -L -c '%a %u:%g %n' /v/token; wc -c < /v/token", **NON_ROOT),
        ["600 1000:"],
    ),
    "projected-token-fsgroup": (
        volume(
            TOKEN,
            "stat -L -c '%a %g %n' /v/token; wc -c < /v/token",
            securityContext={"runAsUser": 1000, "fsGroup": 10001},
        ),
        ["640 10001"],
    ),
    **{
        f"empty-{mode}-{user}-{medium or 'disk'}".lower(): (
            empty(mode, user, medium),
            ["dir 1?777", f"file {mode.lstrip('0')} {user}", "^content$"] + (["tmpfs"] if medium else []),
        )
        for mode in ("0644", "0666", "0777")
        for user in (0, 1001)
        for medium in ("", "Memory")
    },
    "empty-shared": (
        pod_of(
            "x",
            container("until [ -f /v/f ]; do sleep 0.1; done; cat /v/f", volumeMounts=MOUNT),
            container("echo hello > /v/f", "writer", volumeMounts=MOUNT),
            volumes=[{"name": "v", "emptyDir": {}}],
            restartPolicy="Never",
        ),
        ["hello"],
    ),
    "empty-limit": (
        volume({"emptyDir": {"medium": "Memory", "sizeLimit": "10Mi"}}, "df -k /v | tail -1"),
        [r"\b10240\b"],
    ),
    "expansion-env": (
        once(
            "x",
            ENVIRON,
            box={
                "env": [
                    {"name": "FOO", "value": "foo-value"},
                    {"name": "BAR", "value": "bar"},
                    {"name": "BOTH", "value": "$(FOO);;$(BAR)"},
                    {"name": "ESC", "value": "$$(FOO)"},
                    {"name": "NO", "value": "$(NONE)"},
                ]
            },
        ),
        ["^BOTH=foo-value;;bar$", r"^ESC=\$\(FOO\)$", r"^NO=\$\(NONE\)$"],
    ),
    "expansion-command": (
        once(
            "x",
            "",
            box={
                "command": ["sh", "-c", 'TEST_VAR=wrong echo "$(TEST_VAR)"'],
                "env": [{"name": "TEST_VAR", "value": "test-value"}],
            },
        ),
        ["^test-value$"],
    ),
    "expansion-args": (
        once(
            "x",
            "",
            box={
                "command": ["sh", "-c"],
                "args": ['TEST_VAR=wrong echo "$(TEST_VAR)"'],
                "env": [{"name": "TEST_VAR", "value": "test-value"}],
            },
        ),
        ["^test-value$"],
    ),
    "expansion-subpath": (
        volume(
            {"emptyDir": {}},
            "echo in > /v/f; cat /all/expansion-subpath/f",
            box={
                "env": env(POD=field("metadata.name")),
                "volumeMounts": [
                    {"name": "v", "mountPath": "/v", "subPathExpr": "$(POD)"},
                    {"name": "v", "mountPath": "/all"},
                ],
            },
        ),
        ["^in$"],
    ),
    "subpath-map": (
        volume({"configMap": {"name": "map"}}, "cat /v", mount={"mountPath": "/v", "subPath": "data-1"}),
        ["^value-1$"],
    ),
    "subpath-over-file": (
        volume(
            {"configMap": {"name": "map"}},
            "cat /etc/passwd",
            mount={"mountPath": "/etc/passwd", "subPath": "data-2"},
        ),
        ["^value-2$"],
    ),
    "subpath-secret": (
        volume({"secret": {"secretName": "sec"}}, "cat /v", mount={"subPath": "data-1"}),
        ["^value-1$"],
    ),
    "subpath-downward": (
        volume(
            {"downwardAPI": {"items": [{"path": "d/name", **field("metadata.name")}]}},
            "cat /v/name",
            mount={"subPath": "d"},
        ),
        ["^subpath-downward$"],
    ),
    "subpath-projected": (
        volume(ALL_IN_ONE, "cat /v", mount={"subPath": "podname"}),
        ["^subpath-projected$"],
    ),
    "host-path": (
        volume(
            {"hostPath": {"path": "/etc", "type": "Directory"}},
            "head -c 1 /v/debian_version",
            mount={"readOnly": True},
        ),
        ["."],
    ),
}


@pytest.fixture(scope="module")
def begun(room: Place) -> Iterator[Place]:
    """The namespace with every pod of the table created."""
    two = {"data-1": "value-1\n", "data-2": "value-2\n"}
    plain = {name: value.strip() for name, value in two.items()}
    room.make("configmaps", config_map("map", plain, binaryData={"raw": "AP8Q"}))
    room.make("secrets", secret("sec", plain))
    for name, (body, _) in CASES.items():
        body["metadata"]["name"] = body["metadata"]["labels"]["app"] = name
        room.make("pods", body)
    yield room


@pytest.mark.parametrize("name", CASES)
def test_container_finds_what_its_pod_says(begun: Place, name: str) -> None:
    begun.ended(name)
    said = begun.log(name, container="main")
    missing = [one for one in CASES[name][1] if not re.search(one, said, re.MULTILINE)]
    assert not missing, said


def watcher(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    script = 'trap exit TERM; while :; do for f in /v/*; do echo "$f=$(cat $f)"; done; sleep 0.2; done'
    return pod_of(name, container(script, volumeMounts=MOUNT), volumes=[{"name": "v", **source}], **spec)


@pytest.mark.parametrize("kind", ["configmaps", "secrets"])
def test_files_follow_optional_objects_that_change_go_and_come(room: Place, kind: str) -> None:
    make = config_map if kind == "configmaps" else secret

    def source(name: str) -> dict[str, Any]:
        inner = {"name": name, "optional": True}
        return (
            {"configMap": inner}
            if kind == "configmaps"
            else {"secret": {"secretName": name, "optional": True}}
        )

    prefix = kind[:3]
    for what in ("going", "changing"):
        room.make(kind, make(f"{prefix}-{what}", {"a": "1"}))
    names = {what: f"{prefix}-watch-{what}" for what in ("going", "changing", "coming")}
    for what, name in names.items():
        room.make("pods", watcher(name, source(f"{prefix}-{what}")))
    for name in names.values():
        room.ready(name)
    assert "/v/a=1" in room.log(names["going"])
    room.api.delete(room.at(kind, f"{prefix}-going"))
    room.make(kind, make(f"{prefix}-coming", {"b": "new"}))
    body = {"stringData": {"a": "2"}} if kind == "secrets" else {"data": {"a": "2"}}
    room.api.patch(room.at(kind, f"{prefix}-changing"), body)
    wait_until(lambda: "/v/b=new" in room.log(names["coming"]), "the one that came")
    wait_until(lambda: "/v/a=2" in room.log(names["changing"]), "the one that changed")
    wait_until(lambda: "/v/*=" in room.log(names["going"], tailLines=3), "the one that went")


def test_files_of_labels_and_annotations_follow_the_pod(room: Place) -> None:
    items = downward(labels=field("metadata.labels"), notes=field("metadata.annotations"))
    room.make("pods", watcher("follows", items))
    room.ready("follows")
    change = {"metadata": {"labels": {"new": "label"}, "annotations": {"new": "note"}}}
    room.api.patch(room.at("pods", "follows"), change)
    wait_until(lambda: 'new="label"' in room.log("follows"), "the label")
    wait_until(lambda: 'new="note"' in room.log("follows"), "the annotation")


def test_immutable_objects_stay_as_they_are(room: Place) -> None:
    for kind, make in (("configmaps", config_map), ("secrets", secret)):
        room.make(kind, make("fixed", {"a": "1"}))
        room.api.patch(room.at(kind, "fixed"), {"immutable": True})
        for change in ({"data": {"a": "Mg=="}}, {"immutable": False}):
            reply = room.api.ask("PATCH", room.at(kind, "fixed"), change, send="application/merge-patch+json")
            assert reply.code == 422 and "immutable" in reply.text, reply.text
        room.api.patch(room.at(kind, "fixed"), {"metadata": {"labels": {"still": "free"}}})
        room.api.delete(room.at(kind, "fixed"))


@pytest.mark.parametrize("kind", ["configmaps", "secrets"])
def test_objects_with_an_empty_key_are_refused(room: Place, kind: str) -> None:
    body = {"metadata": {"name": "empty-key"}, "data": {"": "dmFsdWU="}}
    reply = room.api.ask("POST", room.at(kind), body)
    assert reply.code == 422, reply.text
    assert json.loads(reply.text)["details"]["causes"][0]["field"] == "data[]"


def test_expansions_that_leave_the_volume_keep_the_container_from_starting(room: Place) -> None:
    for name, value in (("ticks", "..$(POD)`"), ("absolute", "/tmp")):
        box = container("true", env=[{"name": "POD", "value": value}],
                        volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": "$(POD)"}])  # fmt: skip
        room.make("pods", pod_of(name, box, volumes=[{"name": "v", "emptyDir": {}}]))
    room.until("pods", "absolute", lambda seen: _waiting(seen) == "CreateContainerConfigError")


def test_expansion_that_first_failed_succeeds_when_the_annotation_is_mended(room: Place) -> None:
    box = container(env=env(POD=field("metadata.annotations['path']")),
                    volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": "$(POD)"}])  # fmt: skip
    body = pod_of("mended", box, volumes=[{"name": "v", "emptyDir": {}}], annotations={"path": "/bad"})
    room.make("pods", body)
    room.until("pods", "mended", lambda seen: _waiting(seen) == "CreateContainerConfigError")
    room.api.patch(room.at("pods", "mended"), {"metadata": {"annotations": {"path": "good"}}})
    room.ready("mended")


def _waiting(seen: dict[str, Any]) -> str:
    rows = seen["status"].get("containerStatuses") or [{}]
    return str(rows[0].get("state", {}).get("waiting", {}).get("reason", ""))


def test_service_account_is_mounted_unless_pod_or_account_opt_out(room: Place) -> None:
    room.make("serviceaccounts", {"metadata": {"name": "plain"}})
    room.make("serviceaccounts", {"metadata": {"name": "silent"}, "automountServiceAccountToken": False})
    wanted = {
        ("plain", None): True, ("plain", True): True, ("plain", False): False,
        ("silent", None): False, ("silent", True): True, ("silent", False): False,
    }  # fmt: skip
    for number, ((account, choice), mounted) in enumerate(wanted.items()):
        spec: dict[str, Any] = {} if choice is None else {"automountServiceAccountToken": choice}
        made = room.make("pods", once(f"sa{number}", "true", serviceAccountName=account, **spec))
        paths = [row["mountPath"] for row in made["spec"]["containers"][0].get("volumeMounts", ())]
        assert (ACCOUNT in paths) is mounted, (account, choice)
    script = "cd $ACCOUNT; cat namespace; echo; head -1 ca.crt; cat token"
    room.make("pods", once("sa-look", f"ACCOUNT={ACCOUNT}; {script}"))
    space, authority, token = room.output("sa-look").split("\n")[:3]
    assert space == room.namespace and "BEGIN" in authority
    review = room.api.create(
        "/apis/authentication.k8s.io/v1/tokenreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.strip()}},
    )
    assert review["status"]["user"]["username"] == f"system:serviceaccount:{room.namespace}:default"
    assert "system:serviceaccounts" in review["status"]["user"]["groups"]
