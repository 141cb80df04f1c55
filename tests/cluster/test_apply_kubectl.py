"""Server-side apply as kubectl and the Python client do it, against a control plane of its own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.clusters import NEWEST, Kubectl, KubectlMissing, find_kubectl
from tests.cluster.planes import Plane

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
LAST = "kubectl.kubernetes.io/last-applied-configuration"
SSA = ("apply", "--server-side", "-f", "-")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("plane"))
    try:
        made.start()
        yield made
    finally:
        made.close()


class Here:
    """kubectl in a namespace of its own."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl = kubectl
        self.namespace = namespace

    def __call__(self, *words: str, body: Json | None = None, env: dict[str, str] | None = None) -> str:
        kubectl = self.kubectl.with_env(**env) if env else self.kubectl
        return kubectl(*words, "-n", self.namespace, text=json.dumps(body) if body else "")

    def code(self, *words: str, body: Json) -> tuple[int, str, str]:
        done = self.kubectl.run(*words, "-n", self.namespace, text=json.dumps(body), check=False)
        return done.returncode, done.stdout, done.stderr

    def get(self, *words: str) -> Json:
        found: Json = json.loads(self("get", *words, "-o", "json", "--show-managed-fields"))
        return found

    def owners(self, *words: str) -> dict[tuple[str, str, str], Json]:
        return {
            (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
            for entry in self.get(*words)["metadata"].get("managedFields", ())
        }


@pytest.fixture(params=("PATH", NEWEST))
def here(request: pytest.FixtureRequest, plane: Plane) -> Iterator[Here]:
    try:
        kubectl = Kubectl(find_kubectl(request.param), plane.kubeconfig())
    except KubectlMissing as missing:
        pytest.skip(str(missing))
    name = f"try-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    yield Here(kubectl, name)
    kubectl("delete", "namespace", name, "--timeout=60s")


def config_map(**data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def deployment(replicas: int | None = None, **container: Any) -> Json:
    labels = {"app": "web"}
    spec: Json = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "busybox:1.35", **container}]},
        },
    }  # fmt: skip
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def test_apply_server_side_makes_changes_and_removes(here: Here) -> None:
    assert here(*SSA, body=config_map(x="1", y="1")) == "configmap/a serverside-applied\n"
    version = here.get("configmap", "a")["metadata"]["resourceVersion"]
    here(*SSA, body=config_map(x="1", y="1"))
    assert here.get("configmap", "a")["metadata"]["resourceVersion"] == version
    here(*SSA, body=config_map(x="2"))
    assert here.get("configmap", "a")["data"] == {"x": "2"}
    assert "managedFields" not in here("get", "configmap", "a", "-o", "yaml")
    assert "dry run" in here(*SSA, "--dry-run=server", body=config_map(x="3"))
    assert here.get("configmap", "a")["data"] == {"x": "2"}


def test_a_conflict_names_the_other_manager_and_force_settles_it(here: Here) -> None:
    here(*SSA, body=deployment(1))
    here("scale", "deployment/web", "--replicas=0")
    code, _, told = here.code(*SSA, body=deployment(1))
    assert code == 1
    assert (
        'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: '
        ".spec.replicas"
    ) in told
    here(*SSA, "--force-conflicts", body=deployment(1))
    assert ("kubectl", "Update", "scale") not in here.owners("deployment", "web")
    here("set", "image", "deployment/web", "main=busybox:1.36", "--field-manager=imager")
    assert here.code(*SSA, body=deployment(1))[0] == 1
    here(*SSA, body=deployment(1, image="busybox:1.36"))


def test_edit_and_patch_after_it_are_tracked(here: Here) -> None:
    here(*SSA, body=config_map(x="1"))
    here("edit", "configmap", "a", env={"KUBE_EDITOR": "sed -i s/x:/z:/"})
    found = here.owners("configmap", "a")
    assert found == {("kubectl-edit", "Update", ""): {"f:data": {"f:z": {}}}}
    here("label", "configmap", "a", "l=1")
    assert found.keys() < here.owners("configmap", "a").keys()
    refused = here.code(*SSA, body=config_map(z="2"))[2]
    assert 'conflict with "kubectl-edit" using v1: .data.z' in refused


def test_diff_server_side_shows_what_would_change(here: Here) -> None:
    words = ("diff", "--server-side", "-f", "-")
    assert here.code(*words, body=deployment(0))[0] == 1
    here(*SSA, body=deployment(0))
    assert here.code(*words, body=deployment(0))[:2] == (0, "")
    code, shown, _ = here.code(*words, body=deployment(0, env=[{"name": "A", "value": "1"}]))
    assert code == 1
    assert "+        - name: A" in shown


def test_objects_of_the_older_apply_are_taken_over(here: Here) -> None:
    here("apply", "-f", "-", body=deployment(0, env=[{"name": "A", "value": "1"}]))
    here(*SSA, body=deployment(0, env=[{"name": "B", "value": "2"}]))
    [container] = here.get("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == ["B"]
    found = here.owners("deployment", "web")
    assert ("kubectl", "Apply", "") in found
    assert ("kubectl-client-side-apply", "Update", "") not in found
    here(*SSA, body=deployment(0))
    [container] = here.get("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert "env" not in container


def test_services_and_ports_keep_what_the_server_gave(here: Here) -> None:
    body: Json = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}, {"port": 81, "name": "b"}]},
    }  # fmt: skip
    body["spec"]["ports"][0]["name"] = "a"
    here("apply", "-f", "-", body=body)
    before = here.get("service", "s")["spec"]
    del body["spec"]["ports"][1]
    here(*SSA, body=body)
    here(*SSA, body=body)
    after = here.get("service", "s")["spec"]
    assert after["clusterIP"] == before["clusterIP"]
    assert [port["port"] for port in after["ports"]] == [80]
    assert after["ports"][0]["protocol"] == "TCP"


def test_two_managers_share_an_object(here: Here) -> None:
    here(*SSA, "--field-manager=one", body=deployment(0))
    side = deployment()
    side["spec"] = {"template": {"spec": {"containers": [{"name": "side", "image": "busybox:1.35"}]}}}
    here(*SSA, "--field-manager=two", body=side)
    names = [one["name"] for one in here.get("deployment", "web")["spec"]["template"]["spec"]["containers"]]
    assert names == ["main", "side"]
    side["spec"]["template"]["spec"]["containers"] = []
    here(*SSA, "--field-manager=two", body=side)
    names = [one["name"] for one in here.get("deployment", "web")["spec"]["template"]["spec"]["containers"]]
    assert names == ["main"]


def test_the_python_client_applies(plane: Plane) -> None:
    kubernetes = pytest.importorskip("kubernetes")
    api = kubernetes.config.new_client_from_config(str(plane.kubeconfig()))
    try:
        core = kubernetes.client.CoreV1Api(api)
        body = {**config_map(x="1"), "metadata": {"name": f"py-{secrets.token_hex(3)}"}}
        name = body["metadata"]["name"]
        words: Json = {"_content_type": "application/apply-patch+yaml", "field_manager": "py"}
        made = core.patch_namespaced_config_map(name, "default", body, **words)
        assert made.metadata.managed_fields[0].manager == "py"
        body["data"] = {"y": "1"}
        changed = core.patch_namespaced_config_map(name, "default", body, force=True, **words)
        assert changed.data == {"y": "1"}
        dynamic = kubernetes.dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
        body["data"] = {"z": "1"}
        found = dynamic.server_side_apply(
            namespace="default", name=name, body=body, field_manager="py", force_conflicts=True
        )
        assert found.to_dict()["data"] == {"z": "1"}
        core.delete_namespaced_config_map(name, "default")
    finally:
        api.close()
