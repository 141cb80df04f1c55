"""The `kubernetes` client from PyPI against a whole cluster: what its users do, and how they see errors."""

from __future__ import annotations

import gc
import importlib
import json
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes
    from kubernetes.client.exceptions import ApiException

from tests.cluster.clusters import Cluster, wait_until
from tests.cluster.kubectl import at_rest, deployment

pytestmark = [
    pytest.mark.cluster,
    # The client leaves its sockets to the garbage collector; that is not ours to mend.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SECONDS = 60
# Its annotations call every field optional, and half of it has none: its own users have them off.
client: Any = kubernetes.client
config: Any = kubernetes.config
stream: Any = importlib.import_module("kubernetes.stream")
watch: Any = kubernetes.watch


def connected(cluster: Cluster) -> Any:
    """A client as its users make it; `with` closes it."""
    return config.new_client_from_config(str(cluster.kubeconfig))


@dataclass(frozen=True, slots=True)
class Python:
    """The client's interfaces, in a namespace of their own."""

    api: Any
    core: Any
    apps: Any
    place: str

    def pods(self, app: str) -> list[Any]:
        found: list[Any] = self.core.list_namespaced_pod(self.place, label_selector=f"app={app}").items
        return found

    def is_gone(self, read: Callable[..., Any], name: str) -> bool:
        try:
            read(name, self.place)
        except ApiException as error:
            return bool(error.status == 404)
        return False

    def put_pod(self, body: dict[str, Any]) -> str:
        """Create it, and wait until it is ready."""
        name: str = self.core.create_namespaced_pod(self.place, body).metadata.name
        wait_until(lambda: is_ready(self.core.read_namespaced_pod(name, self.place)), f"{name} is ready")
        return name

    def run(self, cluster: Cluster, pod: str, *command: str) -> str:
        """Its output. A client of its own: while it streams, it puts another request method in place."""
        with connected(cluster) as api:
            ask = client.CoreV1Api(api).connect_get_namespaced_pod_exec
            said = stream.stream(ask, pod, self.place, command=list(command), stdout=True, stderr=True)
        return str(said)


def is_ready(pod: Any) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or ())


@pytest.fixture(scope="module")
def python(cluster: Cluster) -> Iterator[Python]:
    name = f"py-{secrets.token_hex(3)}"
    with connected(cluster) as api:
        core = client.CoreV1Api(api)
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
        yield Python(api, core, client.AppsV1Api(api), name)
        core.delete_namespace(name)
        wait_until(
            lambda: name not in {one.metadata.name for one in core.list_namespace().items}, "it is gone"
        )


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What the client left open is closed here, and not at the end of the session, where it is an error."""
    yield
    gc.collect()


def refused(act: Callable[[], Any]) -> tuple[int, dict[str, Any]]:
    """Code and Status of a request that must fail."""
    with pytest.raises(ApiException) as failure:
        act()
    return int(failure.value.status), json.loads(failure.value.body or "")


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def test_deployment_is_created_watched_patched_and_deleted(python: Python) -> None:
    apps, place = python.apps, python.place
    made = apps.create_namespaced_deployment(place, deployment("shop", 2))
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    watcher = watch.Watch()
    listed = apps.list_namespaced_deployment
    for event in watcher.stream(listed, place, field_selector="metadata.name=shop", timeout_seconds=SECONDS):
        if (event["object"].status.available_replicas or 0) == 2:
            watcher.stop()
    assert len(python.pods("shop")) == 2
    patched = apps.patch_namespaced_deployment("shop", place, {"spec": {"replicas": 1}})
    assert (patched.spec.replicas, patched.metadata.generation) == (1, 2)
    wait_until(lambda: len(python.pods("shop")) == 1, "one is left")
    scale = apps.read_namespaced_deployment_scale("shop", place)
    assert (scale.spec.replicas, scale.status.selector) == (1, "app=shop")
    apps.delete_namespaced_deployment("shop", place, propagation_policy="Foreground")
    wait_until(lambda: python.is_gone(apps.read_namespaced_deployment, "shop"), "it goes last")
    assert python.pods("shop") == []


def test_pods_outlive_a_workload_that_leaves_them(python: Python) -> None:
    apps, place = python.apps, python.place
    apps.create_namespaced_deployment(place, deployment("kept", 1))
    wait_until(lambda: len(python.pods("kept")) == 1, "there is a pod")
    apps.delete_namespaced_deployment("kept", place, body=client.V1DeleteOptions(propagation_policy="Orphan"))
    wait_until(lambda: python.is_gone(apps.read_namespaced_deployment, "kept"), "the deployment is gone")
    sets = apps.list_namespaced_replica_set(place, label_selector="app=kept").items
    assert [one.metadata.owner_references for one in sets] == [None]
    apps.delete_namespaced_replica_set(sets[0].metadata.name, place, propagation_policy="Background")
    wait_until(lambda: python.pods("kept") == [], "the collector takes the pod of what is gone")


def test_exec_over_its_websocket_has_streams_and_an_exit_code(python: Python, cluster: Cluster) -> None:
    name = python.put_pod(at_rest("shell"))
    words = ["sh", "-c", "read word; echo got $word; echo err >&2; exit 3"]
    ways = {"stdin": True, "stdout": True, "stderr": True, "tty": False}
    with connected(cluster) as api:
        ask = client.CoreV1Api(api).connect_get_namespaced_pod_exec
        session = stream.stream(ask, name, python.place, command=words, _preload_content=False, **ways)
        session.write_stdin("word\n")
        session.run_forever(timeout=SECONDS)
        assert session.read_stdout() == "got word\n"
        assert session.read_stderr() == "err\n"
        assert session.returncode == 3
        session.close()
        with pytest.raises(ApiException) as failure:
            stream.stream(ask, "nobody", python.place, command=["true"], stdout=True)
        assert "404" in str(failure.value)
    assert python.run(cluster, name, "echo", "plain") == "plain\n"


def test_log_is_followed_to_its_end(python: Python) -> None:
    body = at_rest("talker", restartPolicy="Never")
    body["spec"]["containers"][0]["command"] = [
        "sh",
        "-c",
        "for n in 1 2 3 4 5; do echo line $n; sleep 0.2; done",
    ]
    name = python.core.create_namespaced_pod(python.place, body).metadata.name
    wait_until(
        lambda: python.core.read_namespaced_pod(name, python.place).status.phase != "Pending", "it has begun"
    )
    lines = list(watch.Watch().stream(python.core.read_namespaced_pod_log, name=name, namespace=python.place))
    assert lines == [f"line {n}" for n in range(1, 6)]
    assert python.core.read_namespaced_pod_log(name, python.place, tail_lines=1) == "line 5\n"


def test_errors_are_decoded_with_code_reason_and_causes(python: Python) -> None:
    core, place = python.core, python.place
    code, told = refused(lambda: core.read_namespaced_pod("nobody", place))
    assert (code, told["reason"], told["details"]) == (404, "NotFound", {"name": "nobody", "kind": "pods"})
    first = core.create_namespaced_config_map(place, config_map("once", a="1"))
    code, told = refused(lambda: core.create_namespaced_config_map(place, config_map("once")))
    assert (code, told["reason"]) == (409, "AlreadyExists")
    core.patch_namespaced_config_map("once", place, {"data": {"a": "2"}})
    code, told = refused(lambda: core.replace_namespaced_config_map("once", place, first))
    assert (code, told["reason"]) == (409, "Conflict")
    bad = at_rest("bad", container={"ports": [{"containerPort": 70000}]})
    code, told = refused(lambda: core.create_namespaced_pod(place, bad))
    assert (code, told["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in told["details"]["causes"]] == [
        "spec.containers[0].ports[0].containerPort"
    ]
    code, told = refused(
        lambda: core.delete_namespaced_config_map("once", place, body={"preconditions": {"uid": "other"}})
    )
    assert (code, told["reason"]) == (409, "Conflict")
    code, told = refused(lambda: core.create_namespaced_config_map("nowhere", config_map("a")))
    assert (code, told["message"]) == (404, 'namespaces "nowhere" not found')
    assert core.read_namespaced_config_map("once", place).data == {"a": "2"}


def test_watch_goes_on_where_it_ended(python: Python) -> None:
    core, place = python.core, python.place
    start = core.list_namespaced_config_map(place).metadata.resource_version
    for n in range(3):
        core.create_namespaced_config_map(place, config_map(f"seen-{n}"))

    def names(version: str, count: int) -> tuple[list[str], str]:
        """The next names since `version`, and where the watch stopped."""
        watcher, found = watch.Watch(), []
        for event in watcher.stream(
            core.list_namespaced_config_map, place, resource_version=version, timeout_seconds=SECONDS
        ):
            found.append(event["object"].metadata.name)
            if len(found) == count:
                watcher.stop()
        return found, str(watcher.resource_version)

    first, version = names(start, 2)
    rest, _ = names(version, 1)
    assert first + rest == ["seen-0", "seen-1", "seen-2"]
    with pytest.raises(ApiException) as failure:
        names(str(int(version) + 1_000_000), 1)
    assert failure.value.status == 504, "a revision that is still to come"


def test_watch_from_before_a_restored_backup_is_told_to_list_anew(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    own_cluster.up()
    assert own_cluster.run("backup", str(tmp_path / "backup")).returncode == 0
    with connected(own_cluster) as api:
        before = client.CoreV1Api(api).list_namespace().metadata.resource_version
    own_cluster.down()
    assert own_cluster.run("restore", str(tmp_path / "backup")).returncode == 0
    own_cluster.up()
    with connected(own_cluster) as api:
        watcher, core = watch.Watch(), client.CoreV1Api(api)
        with pytest.raises(ApiException) as failure:
            list(watcher.stream(core.list_namespace, resource_version=before, timeout_seconds=SECONDS))
        assert failure.value.status == 410
        assert core.list_namespace().items


def test_watch_sends_bookmarks_to_those_who_want_them(python: Python) -> None:
    core, place = python.core, python.place
    newest = core.list_namespaced_secret(place).metadata.resource_version
    answer = core.list_namespaced_secret(
        place, watch=True, allow_watch_bookmarks=True, resource_version=newest, timeout_seconds=2,
        _preload_content=False,
    )  # fmt: skip
    events = [json.loads(line) for line in answer.data.decode().splitlines()]
    assert [event["type"] for event in events] in ([], ["BOOKMARK"])
    answer = core.list_namespaced_config_map(
        place, watch=True, allow_watch_bookmarks=True, send_initial_events=True, timeout_seconds=2,
        resource_version_match="NotOlderThan", resource_version="", _preload_content=False,
    )  # fmt: skip
    events = [json.loads(line) for line in answer.data.decode().splitlines()]
    kinds = [event["type"] for event in events]
    first = kinds.index("BOOKMARK")
    assert set(kinds[:first]) == {"ADDED"}
    assert set(kinds[first:]) == {"BOOKMARK"}
    assert events[first]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_long_lists_come_in_pages(python: Python) -> None:
    core, place = python.core, python.place
    for n in range(7):
        body = client.V1Secret(metadata=client.V1ObjectMeta(generate_name="page-"), string_data={"n": str(n)})
        core.create_namespaced_secret(place, body)
    seen: list[str] = []
    token = None
    while token != "":
        page = core.list_namespaced_secret(place, limit=3, _continue=token)
        assert len(page.items) <= 3
        seen += [one.metadata.name for one in page.items]
        token = page.metadata._continue or ""
    assert seen == sorted(set(seen)) and len(seen) == 7
    core.delete_collection_namespaced_secret(place)
    assert core.list_namespaced_secret(place).items == []


def test_one_of_two_leads_until_it_lets_go(python: Python) -> None:
    """Leader election as client-go has it: a Lease, taken and renewed with its resourceVersion."""
    leases = client.CoordinationV1Api(python.api)
    now = datetime.now(UTC)
    spec = client.V1LeaseSpec(
        holder_identity="one", lease_duration_seconds=15, acquire_time=now, renew_time=now
    )
    body = client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=spec)
    held = leases.create_namespaced_lease(python.place, body)
    assert held.spec.renew_time == now
    code, _ = refused(lambda: leases.create_namespaced_lease(python.place, body))
    assert code == 409
    seen = leases.read_namespaced_lease("leader", python.place)
    held.spec.holder_identity = ""
    leases.replace_namespaced_lease("leader", python.place, held)
    seen.spec.holder_identity = "two"
    code, _ = refused(lambda: leases.replace_namespaced_lease("leader", python.place, seen))
    assert code == 409, "it has not seen that the lease is free"
    seen = leases.read_namespaced_lease("leader", python.place)
    seen.spec.holder_identity, seen.spec.lease_transitions = "two", 1
    assert leases.replace_namespaced_lease("leader", python.place, seen).spec.holder_identity == "two"


def test_twenty_writers_of_one_object_lose_nothing(python: Python, cluster: Cluster) -> None:
    core, place = python.core, python.place
    core.create_namespaced_config_map(place, config_map("shared"))

    def write(number: int) -> None:
        with connected(cluster) as api:
            client.CoreV1Api(api).patch_namespaced_config_map("shared", place, {"data": {f"n{number}": "x"}})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(core.read_namespaced_config_map("shared", place).data) == 20


def test_pod_finds_its_own_token_and_the_ca_of_the_api(python: Python, cluster: Cluster) -> None:
    name = python.put_pod(at_rest("inside"))
    files = python.run(cluster, name, "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    review = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=files.strip()))
    told = client.AuthenticationV1Api(python.api).create_token_review(review).status
    assert (told.authenticated, told.user.username) == (True, f"system:serviceaccount:{python.place}:default")
    assert told.user.extra["authentication.kubernetes.io/pod-name"] == [name]
    ca = python.run(cluster, name, "cat", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
    assert ca == python.core.read_namespaced_config_map("kube-root-ca.crt", python.place).data["ca.crt"]
