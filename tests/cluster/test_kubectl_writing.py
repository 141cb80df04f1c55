"""What kubectl changes: apply, the create generators (protobuf bodies), edit, patch, replace, delete, wait.

And what it is told when it asks for nonsense: Kubernetes' words, with the path of the field.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster, Kubectl, wait_until
from tests.cluster.kubectl import IMAGE, at_rest, deployment, new_namespace, put, shell_pod, started

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    """A namespace in which every test uses names of its own."""
    with new_namespace(kubectl) as name:
        yield name


class Here:
    """kubectl in one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl = kubectl
        self.namespace = namespace

    def __call__(self, command: str, *words: str, text: str = "") -> str:
        return self.kubectl(command, "-n", self.namespace, *words, text=text)

    def json(self, *words: str) -> Any:
        return self.kubectl.json("get", "-n", self.namespace, *words)

    def refused(self, command: str, *words: str, text: str = "") -> str:
        """What is said on a command that must fail."""
        done = self.kubectl.run(command, "-n", self.namespace, *words, text=text, check=False)
        assert done.returncode == 1, done
        return done.stderr


@pytest.fixture
def here(kubectl: Kubectl, place: str) -> Here:
    return Here(kubectl, place)


def manifest(kind: str, name: str, **fields: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields})


def test_apply_creates_changes_only_what_differs_and_keeps_what_others_set(here: Here) -> None:
    assert (
        here("apply", "-f", "-", text=manifest("ConfigMap", "a", data={"x": "1", "y": "1"}))
        == "configmap/a created\n"
    )
    here("patch", "configmap", "a", "--type=merge", "-p", '{"data": {"z": "other"}}')
    again = manifest("ConfigMap", "a", data={"x": "2"})
    assert here.kubectl.run("diff", "-n", here.namespace, "-f", "-", text=again, check=False).returncode == 1
    assert here("apply", "-f", "-", text=again) == "configmap/a configured\n"
    assert here.json("configmap", "a")["data"] == {"x": "2", "z": "other"}, "y was ours and is left out"
    assert here("apply", "-f", "-", text=again) == "configmap/a unchanged\n"
    assert here("apply", "view-last-applied", "configmap", "a", "-o", "json").count('"x": "2"') == 1


def test_applied_lists_are_merged_by_their_keys(here: Here) -> None:
    body = deployment("merged", 0)
    put(here.kubectl, here.namespace, body)
    containers = body["spec"]["template"]["spec"]["containers"]
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": IMAGE}]}}}}
    here("patch", "deployment", "merged", "-p", json.dumps(side))
    containers[0]["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    put(here.kubectl, here.namespace, body)
    here("set", "env", "deployment/merged", "-c", "main", "C=3")
    del containers[0]["env"][0]
    put(here.kubectl, here.namespace, body)
    made = here.json("deployment", "merged")["spec"]["template"]["spec"]["containers"]
    found = {one["name"]: sorted(env["name"] for env in one.get("env", ())) for one in made}
    assert found == {"main": ["B", "C"], "side": []}


def test_generators_make_what_they_say(here: Here, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_text("text\n")
    here("create", "configmap", "made", "--from-literal=a=1", f"--from-file={page}")
    assert here.json("configmap", "made")["data"] == {"a": "1", "page": "text\n"}
    here("create", "secret", "generic", "made", "--from-literal=key=väl")
    assert base64.b64decode(here.json("secret", "made")["data"]["key"]).decode() == "väl"
    here("create", "secret", "docker-registry", "pull", "--docker-username=u", "--docker-password=p")
    assert here.json("secret", "pull")["type"] == "kubernetes.io/dockerconfigjson"
    here("create", "service", "clusterip", "inner", "--tcp=80:8080")
    here("create", "service", "nodeport", "outer", "--tcp=80:8080")
    inner, outer = here.json("service", "inner")["spec"], here.json("service", "outer")["spec"]
    assert inner["clusterIP"].startswith("10.")
    assert inner["clusterIP"] != outer["clusterIP"]
    assert 30000 <= outer["ports"][0]["nodePort"] < 32768
    here("create", "deployment", "made", f"--image={IMAGE}", "--replicas=0", "--port=80", "--", "sleep", "9")
    made = here.json("deployment", "made")["spec"]
    assert made["template"]["spec"]["containers"][0]["command"] == ["sleep", "9"]
    assert made["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    here("expose", "deployment", "made", "--port=80", "--name=exposed")
    assert here.json("service", "exposed")["spec"]["selector"] == {"app": "made"}
    assert here("create", "configmap", "unmade", "--from-literal=a=1", "--dry-run=server") == (
        "configmap/unmade created (server dry run)\n"
    )
    assert "not found" in here.refused("get", "configmap", "unmade")
    assert "already exists" in here.refused("create", "configmap", "made")


def test_role_and_token_give_a_service_account_what_they_say(here: Here) -> None:
    here("create", "serviceaccount", "reader")
    here("create", "role", "reading", "--verb=get,list", "--resource=configmaps,deployments.apps")
    here("create", "rolebinding", "reading", "--role=reading", f"--serviceaccount={here.namespace}:reader")
    token = here("create", "token", "reader", "--duration=10m")
    words = ("--server", here.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"))
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": words[1], "insecure-skip-tls-verify": True}}],
        "users": [{"name": "c", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }  # fmt: skip
    file = here.kubectl.kubeconfig.parent / f"token-{here.namespace}"
    file.write_text(json.dumps(config))
    try:
        theirs = Here(Kubectl(here.kubectl.program, file), here.namespace)
        assert f"{here.namespace}:reader" in theirs("auth", "whoami")
        assert "kube-root-ca.crt" in theirs("get", "configmaps", "-o", "name")
        assert theirs("get", "deployments") is not None
        assert "Forbidden" in theirs.refused("get", "secrets")
        assert "Forbidden" in theirs.refused("delete", "configmap", "kube-root-ca.crt")
        here("delete", "serviceaccount", "reader")
        gone = wait_until(
            lambda: theirs.kubectl.run("get", "-n", here.namespace, "configmaps", check=False).stderr,
            "the token of a deleted account is refused",
        )
        assert "must be logged in" in gone or "Unauthorized" in gone
    finally:
        file.unlink()


def test_cluster_wide_roles_are_made_and_removed(here: Here) -> None:
    name = f"role-{here.namespace}"
    here("create", "clusterrole", name, "--verb=get", "--resource=nodes")
    try:
        here(
            "create",
            "clusterrolebinding",
            name,
            f"--clusterrole={name}",
            f"--serviceaccount={here.namespace}:default",
        )
        account = f"--as=system:serviceaccount:{here.namespace}:default"
        assert here("auth", "can-i", "get", "nodes", account) == "yes\n"
    finally:
        here("delete", f"clusterrolebinding/{name}", f"clusterrole/{name}")


def test_three_kinds_of_patch_and_one_that_does_not_apply(here: Here) -> None:
    here("create", "configmap", "patched", "--from-literal=a=1", "--from-literal=b=2")
    here("patch", "configmap", "patched", "-p", '{"data": {"a": null, "c": "3"}}')
    here("patch", "configmap", "patched", "--type=merge", "-p", '{"data": {"d": "4"}}')
    operations = [
        {"op": "test", "path": "/data/b", "value": "2"},
        {"op": "move", "from": "/data/b", "path": "/data/e"},
    ]
    here("patch", "configmap", "patched", "--type=json", "-p", json.dumps(operations))
    assert here.json("configmap", "patched")["data"] == {"c": "3", "d": "4", "e": "2"}
    said = here.refused("patch", "configmap", "patched", "--type=json", "-p", json.dumps(operations))
    assert "The request is invalid" in said
    said = here.refused("patch", "configmap", "patched", "--type=merge", "-p", '{"data": {"d": 4}}')
    assert "data" in said
    assert here.json("configmap", "patched")["data"] == {"c": "3", "d": "4", "e": "2"}


def test_edit_saves_what_the_editor_leaves(here: Here) -> None:
    here("create", "configmap", "edited", "--from-literal=word=before")
    editing = Here(here.kubectl.with_env(KUBE_EDITOR="sed -i s/before/after/"), here.namespace)
    assert editing("edit", "configmap", "edited") == "configmap/edited edited\n"
    assert here.json("configmap", "edited")["data"] == {"word": "after"}
    nothing = Here(here.kubectl.with_env(KUBE_EDITOR="true"), here.namespace)
    done = nothing.kubectl.run("edit", "-n", here.namespace, "configmap", "edited")
    assert "Edit cancelled, no changes made" in done.stdout + done.stderr


def test_replace_is_of_what_was_read(here: Here) -> None:
    here("create", "configmap", "replaced", "--from-literal=a=1")
    stale = here.json("configmap", "replaced")
    stale["data"] = {"b": "2"}
    here("patch", "configmap", "replaced", "-p", '{"data": {"a": "2"}}')
    said = here.refused("replace", "-f", "-", text=json.dumps(stale))
    assert (
        "the object has been modified; please apply your changes to the latest version and try again" in said
    )
    del stale["metadata"]["resourceVersion"]
    here("replace", "-f", "-", text=json.dumps(stale))
    found = here.json("configmap", "replaced")
    assert found["data"] == {"b": "2"}
    here("replace", "--force", "-f", "-", text=manifest("ConfigMap", "replaced", data={"c": "3"}))
    assert here.json("configmap", "replaced")["metadata"]["uid"] != found["metadata"]["uid"]


def test_labels_and_annotations_come_and_go(here: Here) -> None:
    here("create", "configmap", "marked", "--from-literal=a=1")
    assert here("label", "configmap", "marked", "colour=red", "size=big") == "configmap/marked labeled\n"
    assert "already has a value (red)" in here.refused("label", "configmap", "marked", "colour=blue")
    here("label", "configmap", "marked", "colour=blue", "size-", "--overwrite")
    assert here.json("configmap", "marked")["metadata"]["labels"] == {"colour": "blue"}
    here("annotate", "configmap", "marked", "note=a b c")
    here("annotate", "configmap", "marked", "note-", "other=d")
    assert here.json("configmap", "marked")["metadata"]["annotations"] == {"other": "d"}
    said = here.refused("label", "configmap", "marked", "bad key=1")
    assert "name part must consist of alphanumeric characters" in said


def test_run_waits_and_pod_is_deleted(here: Here) -> None:
    here("run", "ran", f"--image={IMAGE}", "--restart=Never", "--labels=of=run", "--", "sh", "-c", "exit 0")
    here("wait", "pod/ran", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert (
        here.json("pod", "ran")["status"]["containerStatuses"][0]["state"]["terminated"]["reason"]
        == "Completed"
    )
    assert "timed out waiting for the condition" in here.refused(
        "wait", "pod/ran", "--for=condition=Ready", "--timeout=1s"
    )
    with started(
        here.kubectl, "wait", "-n", here.namespace, "pod/ran", "--for=delete", "--timeout=60s"
    ) as waiting:
        assert here("delete", "pod", "-l", "of=run").startswith('pod "ran"')
        assert waiting.code() == 0
    assert here("delete", "pod", "ran", "--ignore-not-found") == ""
    assert 'pods "ran" not found' in here.refused("delete", "pod", "ran")


def test_deletion_waits_for_the_grace_of_the_pod_and_force_does_not(here: Here, cluster: Cluster) -> None:
    deaf = "trap '' TERM; while :; do sleep 0.2; done"
    put(here.kubectl, here.namespace, shell_pod("deaf", deaf, terminationGracePeriodSeconds=600))
    here("wait", "pod", "deaf", "--for=condition=Ready", "--timeout=60s")
    here("delete", "pod", "deaf", "--wait=false")
    assert here.json("pod", "deaf")["metadata"]["deletionGracePeriodSeconds"] == 600
    assert " Terminating " in here("get", "pod", "deaf")
    words = ("delete", "-n", here.namespace, "pod", "deaf", "--force", "--grace-period=0")
    assert "Immediate deletion" in here.kubectl.run(*words).stderr
    assert "not found" in here.refused("get", "pod", "deaf")
    wait_until(lambda: " deaf\n" not in cluster.run("ps").stdout, "its container is killed, too", 20)


def test_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    with new_namespace(kubectl) as name:
        put(kubectl, name, deployment("filled", 2), json.loads(manifest("ConfigMap", "c")), at_rest("lone"))
        kubectl("create", "service", "clusterip", "-n", name, "s", "--tcp=80")
        kubectl("rollout", "status", "-n", name, "deployment/filled", "--timeout=60s")
        kubectl("wait", "-n", name, "pod/lone", "--for=condition=Ready", "--timeout=60s")
        kubectl("delete", "namespace", name, "--timeout=60s")
        for kind in (
            "pods",
            "deployments",
            "replicasets",
            "configmaps",
            "secrets",
            "services",
            "serviceaccounts",
        ):
            assert kubectl("get", kind, "-n", name, "-o", "name") == ""
        assert "not found" in kubectl.run("get", "namespace", name, check=False).stderr
        kubectl("create", "namespace", name)
        assert kubectl("get", "pods", "-n", name) == ""


def with_container(**fields: Any) -> str:
    return json.dumps(at_rest("bad", container=fields))


def with_workload(**fields: Any) -> str:
    made = deployment("bad", 1)
    return json.dumps(made | {"spec": made["spec"] | fields})


CPU = {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}
TWICE = [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]
BOX = "spec.containers[0]"
BAD = {
    "unknown field": (manifest("ConfigMap", "bad", dat={"a": "b"}), 'unknown field "dat"'),
    "unknown field deep": (with_container(imag="x"), f'unknown field "{BOX}.imag"'),
    "wrong type": (with_workload(replicas="three"), "replicas"),
    "impossible quantity": (
        with_container(resources={"limits": {"cpu": "much"}}),
        "quantities must match the regular expression",
    ),
    "request over limit": (
        with_container(resources=CPU),
        f'{BOX}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    "missing volume": (
        with_container(volumeMounts=[{"name": "gone", "mountPath": "/x"}]),
        f'{BOX}.volumeMounts[0].name: Not found: "gone"',
    ),
    "port out of range": (
        with_container(ports=[{"containerPort": 70000}]),
        f"{BOX}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    "bad name": (
        json.dumps(at_rest("Bad_Name")),
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
    ),
    "selector that does not match": (
        with_workload(selector={"matchLabels": {"a": "b"}}),
        "`selector` does not match template `labels`",
    ),
    "no image": (with_container(image=""), f"{BOX}.image: Required value"),
    "duplicate name": (
        json.dumps(at_rest("bad", volumes=TWICE)),
        'spec.volumes[1].name: Duplicate value: "v"',
    ),
    "unknown kind": (manifest("Nonsense", "bad"), 'no matches for kind "Nonsense" in version "v1"'),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_in_kubernetes_words(here: Here, kind: str) -> None:
    text, words = BAD[kind]
    said = here.refused("create", "-f", "-", text=text)
    assert words in said, said
    assert "not found" in here.refused("get", "deployment,pod,configmap", "bad")
