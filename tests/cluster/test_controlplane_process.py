"""kube-controlplane as a process: what it starts with, who gets in, how it stops, and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane import credentials
from controlplane.access import ISSUER
from controlplane.authn.claims import Binding, Named
from controlplane.authn.tokens import Signer
from kube import pki
from kube.pki import Subject, Usage
from pykubelet.instance.backup import backup_store, restore_store
from tests.cluster import planes
from tests.cluster.clusters import Kubectl, find_kubectl
from tests.cluster.planes import Plane, User

pytestmark = pytest.mark.cluster

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
STOP_SECONDS = 2.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One for the tests that disturb nobody."""
    made = Plane(tmp_path_factory.mktemp("plane"))
    tokens = made.root / "tokens.csv"
    tokens.write_text('s3cr3t,bob,u1,"readers,writers"\n')
    try:
        made.start("--token-auth-file", str(tokens))
        yield made
    finally:
        made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def admin(shared: Plane) -> User:
    return shared.admin()


def eventually(is_true: Callable[[], Any], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.05)


def fresh(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


# --- what is there from the start ---


def test_a_new_cluster_has_what_every_cluster_has(shared: Plane, admin: User) -> None:
    names = [item["metadata"]["name"] for item in admin.get("/api/v1/namespaces")["items"]]
    assert {"default", "kube-node-lease", "kube-public", "kube-system"} <= set(names)
    service = admin.get("/api/v1/namespaces/default/services/kubernetes")["spec"]
    port = int(shared.address.rpartition(":")[2])
    assert (service["clusterIP"], service["ports"][0]["targetPort"]) == ("10.96.0.1", port)
    (subset,) = admin.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]
    assert (subset["addresses"], subset["ports"][0]["port"]) == ([{"ip": "127.0.0.1"}], port)
    slices = admin.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert slices["endpoints"][0]["addresses"] == ["127.0.0.1"]
    for namespace in ("default", "kube-system"):
        assert admin.code("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default") == 200
        trust = admin.get(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")["data"]["ca.crt"]
        assert trust == shared.pki.ca_file.read_text()
    roles = admin.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/edit")["rules"]
    assert any("pods" in rule["resources"] and "create" in rule["verbs"] for rule in roles)
    classes = admin.get("/apis/scheduling.k8s.io/v1/priorityclasses")["items"]
    assert {item["value"] for item in classes} >= {2000000000, 2000001000}


def test_kubectl_is_served(shared: Plane) -> None:
    kubectl = Kubectl(find_kubectl("PATH"), shared.kubeconfig())
    assert "kube-system" in kubectl("get", "ns", "-o", "name")
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert "kubernetes-admin@kubernetes" in kubectl("config", "get-contexts", "-o", "name")
    said = kubectl.run(
        "auth", "can-i", "list", "secrets", "--as", "system:serviceaccount:default:default", check=False
    )
    assert (said.returncode, said.stdout.strip()) == (1, "no")


def test_readiness_names_its_checks(shared: Plane) -> None:
    said = shared.nobody().ask("GET", "/readyz?verbose")
    assert said.code == 200
    assert "[+]poststarthook/bootstrap ok" in said.text
    assert "[+]store ok" in said.text
    assert said.text.rstrip().endswith("readyz check passed")


def test_a_new_namespace_gets_its_account_and_the_ca(admin: User) -> None:
    name = fresh("ns")
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    admin.create("/api/v1/namespaces", body)
    eventually(
        lambda: (
            admin.code("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default") == 200
            and admin.code("GET", f"/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt") == 200
        ),
        "account and CA",
    )
    admin.ask("DELETE", f"/api/v1/namespaces/{name}")
    eventually(lambda: admin.code("GET", f"/api/v1/namespaces/{name}") == 404, "the namespace is gone")


def test_a_deployment_becomes_a_pod_that_waits_for_a_node(admin: User) -> None:
    name = fresh("web")
    template = {"metadata": {"labels": {"app": name}}, "spec": planes.pod("x")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    path = "/apis/apps/v1/namespaces/default/deployments"
    admin.create(path, body)
    place = f"{PODS}?labelSelector=app%3D{name}"

    def condition() -> dict[str, Any]:
        items = admin.get(place)["items"]
        found = items[0]["status"].get("conditions", []) if items else []
        return found[0] if found else {}

    eventually(lambda: condition().get("reason") == "Unschedulable", "the scheduler said why")
    assert condition()["type"] == "PodScheduled"
    admin.ask("DELETE", f"{path}/{name}")
    eventually(lambda: not admin.get(place)["items"], "the collector removed the pod")


def test_a_role_is_aggregated_into_view(admin: User) -> None:
    path, name = "/apis/rbac.authorization.k8s.io/v1/clusterroles", fresh("extra")
    rule = {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    meta = {"name": name, "labels": labels}
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta}
    admin.create(path, {**body, "rules": [rule]})
    eventually(lambda: rule in admin.get(f"{path}/view")["rules"], "view holds the rule")
    admin.ask("DELETE", f"{path}/{name}")
    eventually(lambda: rule not in admin.get(f"{path}/view")["rules"], "view lost the rule")


# --- who gets in ---


def test_strangers_see_health_and_version_alone(shared: Plane) -> None:
    nobody = shared.nobody()
    assert [nobody.code("GET", path) for path in ("/readyz", "/livez", "/healthz", "/version")] == [200] * 4
    refused = nobody.ask("GET", SECRETS)
    assert refused.code == 403
    assert 'User "system:anonymous" cannot list resource "secrets"' in refused.json["message"]
    assert nobody.code("GET", "/api") == 403


def test_a_certificate_of_another_authority_is_refused(shared: Plane) -> None:
    other = pki.make_ca("kubernetes", planes.now())
    pair = pki.issue(other, Subject("ann", ("system:masters",)), Usage.CLIENT, planes.now())
    try:
        code = User(shared, shared.context(pair)).code("GET", "/version")
    except (ssl.SSLError, ConnectionError):
        return  # in the handshake already
    assert code == 401


def test_a_certificate_for_servers_and_one_that_has_ended_are_refused(shared: Plane) -> None:
    masters = Subject("ann", ("system:masters",))
    long_ago = planes.now() - timedelta(days=3)
    ended = pki.issue(shared.pki.ca, masters, Usage.CLIENT, long_ago, lifetime=timedelta(days=1))
    serving = pki.issue(shared.pki.ca, masters, Usage.SERVING, planes.now())
    for pair in (ended, serving):
        try:
            code = User(shared, shared.context(pair)).code("GET", SECRETS)
        except (ssl.SSLError, ConnectionError):
            continue
        assert code == 401


def test_static_tokens_name_their_user(shared: Plane) -> None:
    refused = shared.holder("s3cr3t").ask("GET", SECRETS)
    assert (refused.code, 'User "bob"' in refused.json["message"]) == (403, True)
    assert shared.holder("wrong").code("GET", "/readyz") == 401


def test_a_token_ends_with_its_time(shared: Plane, admin: User) -> None:
    uid = admin.get(f"{ACCOUNTS}/default")["metadata"]["uid"]
    signer = Signer(ISSUER, shared.pki.token_key.read_bytes())
    binding = Binding("default", Named("default", uid))

    def token(seconds: int) -> str:
        issued = planes.now() - timedelta(seconds=600)
        return signer.sign(binding, (ISSUER,), seconds, issued, str(uuid.uuid4()))[0]

    assert shared.holder(token(1200)).code("GET", SECRETS) == 403, "known, and not allowed"
    assert shared.holder(token(599)).code("GET", SECRETS) == 401
    stranger = Signer(ISSUER, pki.make_key()).sign(binding, (ISSUER,), 1200, planes.now(), "x")[0]
    assert shared.holder(stranger).code("GET", SECRETS) == 401


def ask_token(admin: User, account: str, **bound: str) -> str:
    spec: dict[str, Any] = {"expirationSeconds": 600}
    if bound:
        spec["boundObjectRef"] = {"apiVersion": "v1", **bound}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    token: str = admin.create(f"{ACCOUNTS}/{account}/token", body)["status"]["token"]
    return token


def test_a_token_dies_with_its_account(shared: Plane, admin: User) -> None:
    name = fresh("sa")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    admin.create(ACCOUNTS, account)
    holder = shared.holder(ask_token(admin, name))
    assert holder.code("GET", SECRETS) == 403
    admin.ask("DELETE", f"{ACCOUNTS}/{name}")
    assert holder.code("GET", SECRETS) == 401
    admin.create(ACCOUNTS, account)
    assert holder.code("GET", SECRETS) == 401, "another account of that name"


def test_a_pods_token_is_its_accounts_and_dies_with_the_pod(shared: Plane, admin: User) -> None:
    name = fresh("pod")
    admin.create(PODS, planes.pod(name))
    holder = shared.holder(ask_token(admin, "default", kind="Pod", name=name))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    me = holder.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    assert me["username"] == "system:serviceaccount:default:default"
    assert me["extra"]["authentication.kubernetes.io/pod-name"] == [name]
    for path in (SECRETS, MAPS, PODS, "/api/v1/nodes"):
        assert holder.code("GET", path) == 403
    assert holder.code("POST", f"{ACCOUNTS}/default/token", {}) == 403
    assert holder.patch("/api/v1/nodes/any/status", {}).code == 403
    assert holder.code("GET", "/api") == 200, "discovery is for everybody who is known"
    admin.ask("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
    assert holder.code("GET", SECRETS) == 401


def test_a_node_reads_what_its_own_pods_reference(shared: Plane, admin: User) -> None:
    one, two = fresh("one"), fresh("two")
    first, second = shared.node(one), shared.node(two)
    first.create("/api/v1/nodes", planes.node(one))
    used, other = fresh("used"), fresh("other")
    for name in (used, other):
        admin.create(SECRETS, planes.secret(name))
    web = fresh("web")
    admin.create(PODS, planes.pod(web, one, used))
    assert first.code("GET", f"{SECRETS}/{used}") == 200
    assert first.code("GET", f"{SECRETS}/{other}") == 403
    assert first.code("GET", SECRETS) == 403
    assert second.code("GET", f"{SECRETS}/{used}") == 403
    assert first.code("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{one}") == 200
    assert second.code("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{one}") == 403
    admin.ask("DELETE", f"{PODS}/{web}?gracePeriodSeconds=0")
    assert first.code("GET", f"{SECRETS}/{used}") == 403, "no pod of it needs that any more"


def test_a_node_writes_itself_and_its_pods_alone(shared: Plane, admin: User) -> None:
    one, two = fresh("one"), fresh("two")
    first, second = shared.node(one), shared.node(two)
    assert first.code("POST", "/api/v1/nodes", planes.node(two)) == 403
    first.create("/api/v1/nodes", planes.node(one))
    second.create("/api/v1/nodes", planes.node(two))
    change = {"status": {"phase": "Running"}}
    web = fresh("web")
    admin.create(PODS, planes.pod(web, one))
    assert first.patch(f"{PODS}/{web}/status", change).code == 200
    assert second.patch(f"{PODS}/{web}/status", change).code == 403
    assert second.code("DELETE", f"{PODS}/{web}") == 403
    assert first.patch(f"/api/v1/nodes/{one}/status", {"status": {"phase": ""}}).code == 200
    assert first.patch(f"/api/v1/nodes/{two}/status", {"status": {}}).code == 403
    guarded = {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}
    assert first.patch(f"/api/v1/nodes/{one}", guarded).code == 403
    assert first.code("POST", PODS, planes.pod(fresh("p"), one)) == 403, "mirror pods alone"
    mirror = planes.pod(fresh("mirror"), one)
    uid = admin.get(f"/api/v1/nodes/{one}")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": one, "uid": uid, "controller": True}
    mirror["metadata"] |= {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]}
    assert first.ask("POST", PODS, mirror).code == 201
    mirror["metadata"]["name"] = fresh("mirror")
    assert second.code("POST", PODS, mirror) == 403
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {}}
    assert first.code("POST", leases, {**lease, "metadata": {"name": one}}) == 201
    assert first.code("POST", leases, {**lease, "metadata": {"name": two}}) == 403
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    assert second.code("POST", f"{ACCOUNTS}/default/token", request) == 403
    pod_uid = admin.get(f"{PODS}/{web}")["metadata"]["uid"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": web, "uid": pod_uid}
    request["spec"] = {"boundObjectRef": bound}
    assert first.code("POST", f"{ACCOUNTS}/default/token", request) == 201
    assert second.code("POST", f"{ACCOUNTS}/default/token", request) == 403


# --- stopping, dying, starting again ---


def test_it_stops_in_order_and_goes_on_where_it_was(own: Plane) -> None:
    own.start()
    admin = own.admin()
    version = admin.create(MAPS, planes.config_map("a", x="1"))["metadata"]["resourceVersion"]

    def watch() -> None:
        # However the connection ends; that it does is what counts.
        with contextlib.suppress(OSError, http.client.HTTPException):
            admin.ask("GET", f"{MAPS}?watch=1")

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.monotonic()
    assert own.stop() == 0
    took = time.monotonic() - began
    watching.join(10)
    assert not watching.is_alive(), "the watch was ended"
    assert took < STOP_SECONDS * 3, "on a busy machine"
    ca = own.pki.ca.certificate
    own.start()
    assert own.pki.ca.certificate == ca
    admin.create(MAPS, planes.config_map("b"))
    seen = admin.ask("GET", f"{MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=1").text
    assert '"name":"b"' in seen and '"name":"a"' not in seen, "the watch goes on after its version"
    (subset,) = admin.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]
    assert subset["ports"][0]["port"] == int(own.address.rpartition(":")[2]), "the new port is told"


def test_no_acknowledged_write_is_lost_when_it_is_killed(own: Plane) -> None:
    own.start()
    admin = own.admin()
    written: list[str] = []
    is_over = threading.Event()

    def write(part: int) -> None:
        number = 0
        while not is_over.is_set():
            name = f"c{part}-{number}"
            number += 1
            try:
                answer = admin.ask("POST", MAPS, planes.config_map(name))
            except (OSError, http.client.HTTPException):
                return
            if answer.code == 201:
                written.append(name)

    writers = [threading.Thread(target=write, args=(part,)) for part in range(8)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(written) >= 100, "writes were acknowledged")
    own.stop(signal.SIGKILL)
    is_over.set()
    for writer in writers:
        writer.join(30)
    own.start()
    there = {item["metadata"]["name"] for item in admin.get(MAPS)["items"]}
    assert set(written) <= there


def test_a_second_process_on_the_same_store_is_refused(own: Plane) -> None:
    own.start()
    pid = own.process.pid if own.process else 0
    code, said = own.try_start()
    assert code == 1
    assert f"the process {pid} has it open" in said.splitlines()[-1]
    assert own.admin().code("GET", "/readyz") == 200


def test_a_port_that_is_taken_is_named(own: Plane) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = own.try_start("--secure-port", str(port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said.splitlines()[-1]


def test_a_damaged_store_is_left_as_it_is(own: Plane) -> None:
    own.data.mkdir()
    store = own.data / "state.db"
    store.write_bytes(b"this is no store" * 1000)
    code, said = own.try_start()
    assert code == 1
    assert "state.db" in said.splitlines()[-1]
    assert store.read_bytes() == b"this is no store" * 1000


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--secure-port", "x"), "is not a port"),
        (("--no-such-flag",), "--no-such-flag"),
        (("--components", "apis"), "is not a list of"),
        (("--components", "scheduler"), "needs --kubeconfig"),
        (("--service-cluster-ip-range", "10.96.0.1/12"), "is not a network"),
        (("--token-auth-file", "/nowhere/tokens"), "/nowhere/tokens"),
    ],
)
def test_a_command_line_that_cannot_be_followed_is_one_line(
    own: Plane, words: tuple[str, ...], shown: str
) -> None:
    code, said = own.try_start(*words)
    assert code == 1
    assert said.splitlines()[-1].startswith("kube-controlplane: ")
    assert shown in said.splitlines()[-1]


def test_a_ca_without_its_key_is_not_replaced(own: Plane) -> None:
    own.start()
    own.stop()
    (own.data / "pki" / "ca.key").unlink()
    code, said = own.try_start()
    assert code == 1
    assert "ca.key" in said.splitlines()[-1]


def test_a_backup_of_the_running_store_is_restored(own: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    own.start()
    admin = own.admin()
    admin.create(MAPS, planes.config_map("kept"))
    file = own.root / "backup"
    assert backup_store(own.data / "state.db", file) == 0
    version = admin.create(MAPS, planes.config_map("later"))["metadata"]["resourceVersion"]
    assert restore_store(file, own.data / "state.db") == 1, "it is in use"
    assert own.stop() == 0
    assert restore_store(file, own.data / "state.db") == 0
    assert "state.db.replaced" in capsys.readouterr().out
    own.start()
    assert (admin.code("GET", f"{MAPS}/kept"), admin.code("GET", f"{MAPS}/later")) == (200, 404)
    old = admin.ask("GET", f"{MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=1")
    assert '"code":410' in old.text, "whoever watched before must list anew"


# --- parts apart ---


def test_scheduler_and_controllers_run_apart_with_leases(own: Plane) -> None:
    own.start("--components", "api")
    admin = own.admin()
    for part, user in (
        ("scheduler", credentials.SCHEDULER), ("controllers", credentials.CONTROLLER_MANAGER),
    ):  # fmt: skip
        file = own.root / f"{part}.kubeconfig"
        credentials.write_component_kubeconfig(own.pki, file, user, own.url, planes.now())
        own.start_part("--components", part, "--kubeconfig", str(file))
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    wanted = [f"{leases}/{name}" for name in ("kube-scheduler", "kube-controller-manager")]
    eventually(lambda: all(admin.code("GET", path) == 200 for path in wanted), "both lead")
    admin.create("/api/v1/nodes", planes.node("n1"))
    template = {"metadata": {"labels": {"app": "web"}}, "spec": planes.pod("x")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    admin.create("/apis/apps/v1/namespaces/default/deployments", body)

    def events() -> set[str]:
        return {item["reason"] for item in admin.get("/api/v1/namespaces/default/events")["items"]}

    eventually(lambda: {"SuccessfulCreate", "FailedScheduling"} <= events(), "both parts have acted")
    (made,) = admin.get(PODS)["items"]
    assert made["spec"]["serviceAccountName"] == "default"
    for process in own.others:
        process.terminate()
        assert process.wait(30) == 0
    lease = admin.get(f"{leases}/kube-scheduler")["spec"]
    assert not lease.get("holderIdentity"), "given back"


def test_apart_without_a_server_it_waits(own: Plane) -> None:
    """An API server that comes later is no reason to end."""
    own.start("--components", "api")
    file = own.root / "scheduler.kubeconfig"
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
    credentials.write_component_kubeconfig(own.pki, file, credentials.SCHEDULER, url, planes.now())
    part = own.start_part("--components", "scheduler", "--kubeconfig", str(file))
    eventually(lambda: "Cannot work on the lease" in own.log.read_text(), "it says what it waits for")
    assert part.poll() is None
    part.terminate()
    assert part.wait(30) == 0


def test_the_program_tells_its_flags() -> None:
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "controlplane", "--help"], capture_output=True, text=True, check=True
    )
    assert "--service-cluster-ip-range" in done.stdout


def test_no_part_is_refused_what_it_does_for_a_living(own: Plane) -> None:
    """A deployment's life with a node that says what a kubelet would: nobody lacks a permission."""
    own.start("-v", "4")
    admin = own.admin()
    kubelet = own.node("n1")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": stamp()}
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    kubelet.create("/api/v1/nodes", planes.node("n1"))
    state = {"conditions": [ready], "capacity": room, "allocatable": room}
    assert kubelet.patch("/api/v1/nodes/n1/status", {"status": state}).code == 200
    eventually(lambda: admin.get("/api/v1/nodes/n1")["spec"].get("podCIDR") == "10.244.0.0/24", "its range")
    eventually(lambda: not admin.get("/api/v1/nodes/n1")["spec"].get("taints"), "no taint is left")
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    admin.create(deployments, deployment("web", "busybox:1.35"))
    ports = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": ports}
    admin.create("/api/v1/namespaces/default/services", service)
    run_all(admin, kubelet, 2)
    subsets = "/api/v1/namespaces/default/endpoints/web"
    eventually(
        lambda: len((admin.get(subsets).get("subsets") or [{}])[0].get("addresses", ())) == 2, "endpoints"
    )
    change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "busybox:1.36"}]}}}}
    assert admin.patch(f"{deployments}/web", change).code == 200

    def is_rolled_out() -> bool:
        run_all(admin, kubelet, 0)
        found = admin.get(f"{deployments}/web")["status"]
        return found.get("updatedReplicas") == 2 == found.get("availableReplicas") and not found.get(
            "unavailableReplicas"
        )

    eventually(is_rolled_out, "rolled out")
    admin.ask("DELETE", f"{deployments}/web")
    admin.ask("DELETE", "/api/v1/namespaces/default/services/web")

    def is_clean() -> bool:
        run_all(admin, kubelet, 0)
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        left = [*admin.get(PODS)["items"], *admin.get(slices)["items"]]
        return [item["metadata"]["name"] for item in left] == ["kubernetes"]

    eventually(is_clean, "all is collected")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    admin.create("/api/v1/namespaces", space)
    admin.ask("DELETE", "/api/v1/namespaces/shop")
    eventually(lambda: admin.code("GET", "/api/v1/namespaces/shop") == 404, "the namespace is gone")
    tokens = planes.secret("legacy") | {"type": "kubernetes.io/service-account-token"}
    tokens["metadata"] = {"name": "legacy", "annotations": {"kubernetes.io/service-account.name": "default"}}
    admin.create(SECRETS, tokens)
    eventually(lambda: "token" in admin.get(f"{SECRETS}/legacy").get("data", {}), "the secret has its token")
    assert own.stop() == 0
    refused = [line for line in own.log.read_text().splitlines() if "cannot" in line and "forbidden" in line]
    assert not refused


def stamp() -> str:
    return planes.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(name: str, image: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": image}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    body = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


def run_all(admin: User, kubelet: User, least: int) -> None:
    """What a kubelet says of its pods: they run, or they are gone. `least` of them are waited for."""

    def mine() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = admin.get(f"{PODS}?fieldSelector=spec.nodeName%3Dn1")["items"]
        return items

    eventually(lambda: len(mine()) >= least, "pods are placed")
    for number, item in enumerate(mine(), 10):
        path = f"{PODS}/{item['metadata']['name']}"
        if "deletionTimestamp" in item["metadata"]:
            assert kubelet.ask("DELETE", path, {"gracePeriodSeconds": 0}).code in (200, 404)
            continue
        said = {"lastTransitionTime": stamp(), "status": "True"}
        conditions = [{"type": kind, **said} for kind in ("ContainersReady", "Ready", "PodScheduled")]
        address = f"10.244.0.{number}"
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        if item["status"].get("phase") != "Running":
            assert kubelet.patch(f"{path}/status", {"status": status}).code in (200, 404)
