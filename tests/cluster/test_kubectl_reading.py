"""What kubectl shows: get in every form, watches, describe, logs, explain, discovery, permissions.

One namespace with a Deployment behind a Service, a pod that has ended and one that crashes, is read by all.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.clusters import Cluster, Kubectl, wait_until
from tests.cluster.kubectl import deployment, new_namespace, put, shell_pod, started

pytestmark = pytest.mark.cluster

SERVED = (
    "trap 'kill $!; exit' TERM; mkdir /www; echo page > /www/index.html; httpd -f -p 8080 -h /www & wait $!"
)
ENDED = "for n in 1 2 3 4 5; do echo line $n; sleep 0.1; done"
CRASHED = "echo run on $(cat /proc/sys/kernel/random/uuid); exit 3"
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
    "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    shop = deployment("shop", 2, SERVED)
    ended = shell_pod("ended", ENDED, restartPolicy="Never")
    with new_namespace(kubectl) as name:
        put(kubectl, name, shop, SERVICE, ended, shell_pod("crash", CRASHED))
        kubectl("rollout", "status", "-n", name, "deployment/shop", "--timeout=60s")
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("wait", "-n", name, "pod/ended", succeeded, "--timeout=60s")
        crashes = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
        wait_until(
            lambda: kubectl("get", "-n", name, "pod", "crash", "-o", crashes) == "CrashLoopBackOff",
            "the pod that crashes waits",
        )
        yield name


def shop_pods(kubectl: Kubectl, place: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kubectl.json("get", "pods", "-n", place, "-l", "app=shop")["items"]
    return found


def columns(line: str) -> list[str]:
    return re.split(r"\s{2,}|\t", line.strip())


def test_pods_are_shown_in_columns(kubectl: Kubectl, place: str) -> None:
    head, *rows = kubectl("get", "pods", "-n", place).splitlines()
    assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    shown = {row.split()[0]: row.split()[1:3] for row in rows}
    assert shown.pop("crash") == ["0/1", "CrashLoopBackOff"]
    assert shown.pop("ended") == ["0/1", "Completed"]
    assert list(shown.values()) == [["1/1", "Running"]] * 2
    head, *rows = kubectl("get", "pods", "-n", place, "-o", "wide", "-l", "app=shop").splitlines()
    assert columns(head)[-4:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in shop_pods(kubectl, place)}
    assert {row.split()[0]: row.split()[5] for row in rows} == addresses


def test_every_form_of_output_shows_the_same_pods(kubectl: Kubectl, place: str) -> None:
    names = [pod["metadata"]["name"] for pod in shop_pods(kubectl, place)]
    words = ("get", "pods", "-n", place, "-l", "app=shop", "-o")
    assert len(names) == 2
    assert kubectl(*words, "name").split() == [f"pod/{name}" for name in names]
    assert kubectl(*words, "jsonpath={.items[*].metadata.name}").split() == names
    rows = kubectl(*words, "custom-columns=WHO:.metadata.name,WHERE:.spec.nodeName").splitlines()
    assert [row.split()[0] for row in rows] == ["WHO", *names]
    template = "go-template={{range .items}}{{.metadata.name}}{{'\\n'}}{{end}}".replace("'", '"')
    assert kubectl(*words, template).split() == names
    assert [line for line in kubectl(*words, "yaml").splitlines() if line == "kind: List"]
    assert kubectl("get", "pod", "-n", place, names[0], "-o", "yaml").startswith(
        "apiVersion: v1\nkind: Pod\n"
    )


def test_selectors_and_order_choose_what_is_shown(kubectl: Kubectl, place: str) -> None:
    def names(*words: str) -> list[str]:
        return kubectl("get", "pods", "-n", place, "-o", "name", *words).split()

    assert names("--field-selector", "status.phase=Succeeded") == ["pod/ended"]
    assert names("-l", "app in (ended, crash)") == ["pod/crash", "pod/ended"]
    assert names("-l", "app,app notin (shop,crash)") == ["pod/ended"]
    assert names("--field-selector", "metadata.name!=crash,status.phase!=Succeeded", "-l", "app!=shop") == []
    by_age = kubectl.json("get", "pods", "-n", place, "--sort-by=.metadata.name")["items"]
    assert [pod["metadata"]["name"] for pod in by_age][:2] == ["crash", "ended"]
    shown = kubectl("get", "pods", "-n", place, "--show-labels", "-L", "app", "-l", "app=ended").splitlines()
    assert shown[0].split()[-2:] == ["APP", "LABELS"]
    assert shown[1].split()[-2:] == ["ended", "app=ended"]
    everywhere = kubectl("get", "pods", "-A").splitlines()
    assert everywhere[0].split()[0] == "NAMESPACE"
    assert {place} <= {line.split()[0] for line in everywhere[1:]}
    refused = kubectl.run("get", "pods", "-n", place, "--field-selector", "spec.colour=red", check=False)
    assert "field label not supported: spec.colour" in refused.stderr


def test_watch_shows_a_change_when_it_happens(kubectl: Kubectl, place: str) -> None:
    kubectl("create", "configmap", "-n", place, "seen", "--from-literal=a=1")
    try:
        with started(kubectl, "get", "configmap", "-n", place, "seen", "-w") as watch:
            watch.wait_for("seen ")
            kubectl("patch", "configmap", "-n", place, "seen", "-p", '{"data": {"b": "2"}}')
            said = watch.wait_for("seen ", times=2)
            assert [line.split()[1] for line in said.splitlines()[1:]] == ["1", "2"]
        with started(kubectl, "get", "cm", "-n", place, "-w", "--output-watch-events", "-o", "name") as watch:
            watch.wait_for("configmap/seen")
            kubectl("delete", "configmap", "-n", place, "seen")
            watch.wait_for("configmap/seen", times=2)
    finally:
        kubectl("delete", "configmap", "-n", place, "seen", "--ignore-not-found")


def test_every_kind_is_shown_and_nothing_is_said_of_none(kubectl: Kubectl, place: str) -> None:
    served = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert len(served) > 15
    for resource in served:
        done = kubectl.run("get", resource, "-A")
        assert "NAME" in done.stdout or done.stderr == "No resources found\n", resource
    nothing = kubectl.run("get", "replicationcontrollers", "-n", place)
    assert nothing.stderr == f"No resources found in {place} namespace.\n"
    assert "deployment.apps/shop" in kubectl("get", "all", "-n", place)


def test_described_pod_tells_its_state_and_its_events(kubectl: Kubectl, place: str) -> None:
    name = shop_pods(kubectl, place)[0]["metadata"]["name"]
    said = kubectl("describe", "pod", "-n", place, name)
    assert "Controlled By:  ReplicaSet/shop-" in said
    assert re.search(r"State: +Running\n +Started: ", said)
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert re.search(rf"Normal +{reason} ", said), said
    said = kubectl("describe", "pod", "-n", place, "crash")
    assert re.search(r"State: +Waiting\n +Reason: +CrashLoopBackOff", said)
    assert re.search(r"Last State: +Terminated\n +Reason: +Error\n +Exit Code: +3", said)
    assert re.search(r"Warning +BackOff .*restarting failed container main in pod crash_", said), said


def test_described_workload_node_and_service_are_whole(kubectl: Kubectl, place: str) -> None:
    said = kubectl("describe", "deployment", "-n", place, "shop")
    assert re.search(r"2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable", said)
    assert re.search(r"Normal +ScalingReplicaSet .*Scaled up replica set shop-\w+ from 0 to 2", said)
    said = kubectl("describe", "replicaset", "-n", place, "-l", "app=shop")
    assert len(re.findall(r"Normal +SuccessfulCreate .*Created pod: shop-", said)) == 2
    said = kubectl("describe", "service", "-n", place, "shop")
    addresses = [pod["status"]["podIP"] for pod in shop_pods(kubectl, place)]
    shown = re.search(r"Endpoints: +(\S+)", said)
    assert shown is not None
    assert sorted(shown[1].split(",")) == sorted(f"{address}:8080" for address in addresses)
    said = kubectl("describe", "node")
    assert re.search(r"Ready +True .*KubeletReady", said)
    assert re.search(rf"{place} +crash ", said), "it is among the pods of the node"
    assert re.search(r"HolderIdentity: ", said)
    for kind in ("namespace", "serviceaccount", "configmap", "endpointslice", "secret"):
        kubectl("describe", kind, "-n", place)


def test_events_are_listed_in_order(kubectl: Kubectl, place: str) -> None:
    said = kubectl("get", "events", "-n", place, "--sort-by=.metadata.creationTimestamp")
    assert said.splitlines()[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert re.search(r"Normal +Scheduled +pod/ended +Successfully assigned", said)
    only = kubectl("events", "-n", place, "--for", "pod/crash", "--types=Warning")
    assert re.search(r"BackOff +Pod/crash", only)


def test_logs_are_whole_or_the_part_that_is_asked_for(kubectl: Kubectl, place: str) -> None:
    words = ("logs", "-n", place, "ended")
    lines = [f"line {n}" for n in range(1, 6)]
    assert kubectl(*words).splitlines() == lines
    assert kubectl(*words, "--tail=2").splitlines() == lines[3:]
    assert kubectl(*words, "--limit-bytes=8") == "line 1\nl"
    assert kubectl(*words, "-c", "main", "--since=1h").splitlines() == lines
    assert kubectl(*words, "--since-time=2100-01-01T00:00:00Z") == ""
    stamped = kubectl(*words, "--timestamps").splitlines()
    assert [re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z (line \d)", line)[1] for line in stamped] == lines  # type: ignore[index]
    assert kubectl("logs", "-n", place, "-l", "app=ended", "--prefix") == "".join(
        f"[pod/ended/main] {line}\n" for line in lines
    )
    refused = kubectl.run(*words, "-c", "nope", check=False)
    assert "container nope is not valid for pod ended" in refused.stderr
    refused = kubectl.run(*words, "--previous", check=False)
    assert 'previous terminated container "main" in pod "ended" not found' in refused.stderr


def test_logs_of_the_run_before_are_kept(kubectl: Kubectl, place: str) -> None:
    def said(*words: str) -> str:
        return kubectl("logs", "-n", place, "crash", *words)

    wait_until(lambda: said().startswith("run on "), "the run that ended last is shown")
    wait_until(lambda: said("--previous").startswith("run on "), "and so is one before")


def test_followed_logs_end_with_the_container(kubectl: Kubectl, place: str) -> None:
    script = "echo first; while [ ! -e /go ]; do sleep 0.1; done; echo last"
    put(kubectl, place, shell_pod("spoken", script, restartPolicy="Never"))
    try:
        kubectl("wait", "-n", place, "pod/spoken", "--for=condition=Ready", "--timeout=60s")
        with started(kubectl, "logs", "-n", place, "-f", "spoken") as follow:
            follow.wait_for("first\n")
            assert follow.process.poll() is None
            kubectl("exec", "-n", place, "spoken", "--", "touch", "/go")
            assert follow.code() == 0
            follow.wait_for("last\n")
            assert follow.said == "first\nlast\n"
    finally:
        kubectl("delete", "-n", place, "pod", "spoken")


def test_fields_are_explained(kubectl: Kubectl) -> None:
    said = kubectl("explain", "deployment.spec.strategy")
    assert "GROUP:      apps\nKIND:       Deployment\nVERSION:    v1" in said
    assert re.search(r"FIELD: strategy <DeploymentStrategy>", said)
    assert re.search(r"^  rollingUpdate\t<RollingUpdateDeployment>", said, re.MULTILINE)
    tree = kubectl("explain", "pod", "--recursive")
    assert re.search(r"^ +containerPort\t<integer> -required-", tree, re.MULTILINE)
    assert len(tree.splitlines()) > 500
    refused = kubectl.run("explain", "pod.spec.nothing", check=False)
    assert refused.stderr == 'error: field "nothing" does not exist\n'
    for kind in kubectl("api-resources", "--verbs=get", "-o", "name").split():
        assert "KIND:" in kubectl("explain", kind), kind


def test_what_is_served_can_be_listed(kubectl: Kubectl) -> None:
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1", "coordination.k8s.io/v1"} <= set(versions)
    rows = [line.split() for line in kubectl("api-resources", "--no-headers").splitlines()]
    assert ["pods", "po", "v1", "true", "Pod"] in rows
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in rows
    assert "Server Version: v1." in kubectl("version")
    assert "control plane" in kubectl("cluster-info")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "[+]ping ok" in kubectl("get", "--raw", "/livez?verbose")
    refused = kubectl.run("get", "nonsense", check=False)
    assert refused.stderr == 'error: the server doesn\'t have a resource type "nonsense"\n'


def test_what_is_not_there_is_said_clearly(kubectl: Kubectl, place: str) -> None:
    for kind in ("pods", "nodes"):
        refused = kubectl.run("top", kind, check=False)
        assert (refused.returncode, refused.stderr) == (1, "error: Metrics API not available\n")
    refused = kubectl.run("create", "job", "-n", place, "none", "--image=none", check=False)
    assert "the server could not find the requested resource" in refused.stderr


def test_permissions_are_told_of_oneself_and_of_others(kubectl: Kubectl, place: str) -> None:
    other = f"--as=system:serviceaccount:{place}:default"
    assert kubectl("auth", "can-i", "delete", "nodes") == "yes\n"
    refused = kubectl.run("auth", "can-i", "get", "secrets", "-n", place, other, check=False)
    assert (refused.returncode, refused.stdout) == (1, "no\n")
    assert "*.*" in kubectl("auth", "can-i", "--list")
    assert "*.*" not in kubectl("auth", "can-i", "--list", "-n", place, other)
    refused = kubectl.run("get", "secrets", "-n", place, other, check=False)
    assert refused.stderr == (
        f'Error from server (Forbidden): secrets is forbidden: User "system:serviceaccount:{place}:default" '
        f'cannot list resource "secrets" in API group "" in the namespace "{place}"\n'
    )
    assert kubectl.json("auth", "whoami")["status"]["userInfo"]["username"] == "kubernetes-admin"


def test_proxy_reaches_the_api_and_through_it_pods_services_and_the_node(
    kubectl: Kubectl, place: str
) -> None:
    pod = shop_pods(kubectl, place)[0]
    with started(kubectl, "proxy", "--port=0") as proxy:
        said = proxy.wait_for("Starting to serve on 127.0.0.1:")
        url = "http://" + said.split()[-1]

        def get(path: str) -> str:
            with urllib.request.urlopen(url + path, timeout=20) as answer:
                return str(answer.read().decode())

        assert json.loads(get("/version"))["major"] == "1"
        inside = f"/api/v1/namespaces/{place}"
        assert get(f"{inside}/pods/{pod['metadata']['name']}:8080/proxy/") == "page\n"
        assert get(f"{inside}/services/shop:http/proxy/") == "page\n"
        assert get(f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/healthz") == "ok"


def test_instance_shows_the_same_containers_as_the_api(
    cluster: Cluster, kubectl: Kubectl, place: str
) -> None:
    listed = json.loads(cluster.run("ps", "-o", "json").stdout)["containers"]
    ids = {one["id"] for one in listed}
    for pod in shop_pods(kubectl, place):
        for status in pod["status"]["containerStatuses"]:
            assert status["containerID"].removeprefix("containerd://") in ids
