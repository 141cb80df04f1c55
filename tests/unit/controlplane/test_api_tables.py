"""What `kubectl get` is given: columns, cells, and the words that people know."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.api.printers.model import short
from controlplane.api.printers.pods import POD as POD_PRINTER
from controlplane.api.registry import KINDS
from tests.unit.controlplane.api_world import (
    DEPLOYMENTS,
    MAPS,
    POD,
    PODS,
    Json,
    Watcher,
    World,
    config_map,
    deployment,
    in_world,
)

pytestmark = pytest.mark.pure
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,"
    "application/json"
)


def _shown(table: Json) -> list[Json]:
    """Rows by the names of the columns."""
    names = [column["name"] for column in table["columnDefinitions"]]
    assert all(len(row["cells"]) == len(names) for row in table["rows"])
    return [dict(zip(names, row["cells"], strict=True)) for row in table["rows"]]


@in_world
async def test_a_list_becomes_rows_with_the_metadata_of_each_object(api: World) -> None:
    await api.do("POST", MAPS, config_map("b", x="1", y="2"))
    await api.do("POST", MAPS, config_map("a"))
    table = await api.do("GET", MAPS, accept=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [(row["Name"], row["Data"]) for row in _shown(table)] == [("a", 0), ("b", 2)]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0]
    first = table["rows"][0]["object"]
    assert (first["kind"], first["metadata"]["name"]) == ("PartialObjectMetadata", "a")
    listed = await api.do("GET", MAPS)
    assert table["metadata"] == listed["metadata"]
    whole = await api.do("GET", f"{MAPS}?includeObject=Object", accept=TABLE)
    assert whole["rows"][0]["object"] == {"kind": "ConfigMap", "apiVersion": "v1", **listed["items"][0]}
    bare = await api.do("GET", f"{MAPS}?includeObject=None", accept=TABLE)
    assert bare["rows"][0]["object"] is None
    refused = await api.do("GET", f"{MAPS}?includeObject=Some", accept=TABLE, code=400)
    assert "must be 'Metadata', 'Object', 'None', or empty" in refused["message"]


@in_world
async def test_pages_of_a_table_continue_as_those_of_a_list(api: World) -> None:
    for name in ("a", "b", "c"):
        await api.do("POST", MAPS, config_map(name))
    first = await api.do("GET", f"{MAPS}?limit=2", accept=TABLE)
    assert first["metadata"]["remainingItemCount"] == 1
    rest = await api.do("GET", f"{MAPS}?limit=2&continue={first['metadata']['continue']}", accept=TABLE)
    assert [row["Name"] for row in _shown(rest)] == ["c"]


@in_world
async def test_one_object_is_a_table_of_one_row_and_a_refusal_stays_a_status(api: World) -> None:
    made = await api.do("POST", DEPLOYMENTS, deployment("web"))
    table = await api.do("GET", f"{DEPLOYMENTS}/web", accept=TABLE)
    assert table["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    (row,) = _shown(table)
    assert (row["Name"], row["Ready"], row["Up-to-date"], row["Available"]) == ("web", "0/2", 0, 0)
    assert (row["Containers"], row["Images"], row["Selector"]) == ("main", "busybox:1.35", "app=web")
    assert (await api.do("GET", f"{DEPLOYMENTS}/x", accept=TABLE, code=404))["kind"] == "Status"
    scale = await api.do("GET", f"{DEPLOYMENTS}/web/scale", accept=TABLE)
    assert _shown(scale)[0]["Desired"] == 2
    gone = await api.do("DELETE", f"{DEPLOYMENTS}/web", accept=TABLE)
    assert gone["kind"] == "Status"


@in_world
async def test_a_watched_table_tells_its_columns_once(api: World) -> None:
    await api.do("POST", MAPS, config_map("a"))
    answer = await api.ask("GET", f"{MAPS}?watch=1", accept=TABLE)
    assert isinstance(answer.stream, AsyncGenerator)
    watcher = Watcher(answer.stream)
    first = await watcher.next()
    assert first["type"] == "ADDED"
    assert _shown(first["object"])[0]["Name"] == "a"
    await api.do("POST", MAPS, config_map("b", x="1"))
    second = await watcher.next()
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][:2] == ["b", 1]
    await watcher.close()


@in_world
async def test_every_kind_has_a_table(api: World) -> None:
    for kind in KINDS:
        if kind.is_stored:
            table = await api.do("GET", kind.resource.path(), accept=TABLE)
            assert table["kind"] == "Table", kind.resource
            assert kind.printer.columns[0].name in ("Name", "Last Seen")


@in_world
async def test_a_table_of_many_rows_is_whole(api: World) -> None:
    for number in range(120):
        await api.do("POST", MAPS, config_map(f"m{number:03}"))
    table = await api.do("GET", MAPS, accept=TABLE)
    assert [row["Name"] for row in _shown(table)] == [f"m{number:03}" for number in range(120)]


@in_world
async def test_a_table_of_something_that_is_only_created_is_refused(api: World) -> None:
    await api.do("POST", PODS, POD)
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"name": "n"}}
    lone = "application/json;as=Table;v=v1;g=meta.k8s.io"
    await api.do("POST", "/api/v1/namespaces/default/bindings", binding, code=406, accept=lone)


# --- pods ---


def _pod(status: Json, **more: Json) -> Json:
    spec = {"containers": [{"name": "a"}, {"name": "b"}], **more.get("spec", {})}
    meta = {"name": "p", "creationTimestamp": "2026-05-01T11:55:00Z", **more.get("metadata", {})}
    return {"metadata": meta, "spec": spec, "status": status}


def _running(name: str, *, ready: bool = True, **more: object) -> Json:
    state = {"running": {"startedAt": "2026-05-01T11:56:00Z"}}
    return {"name": name, "ready": ready, "restartCount": 0, "state": state, **more}


def _waiting(name: str, reason: str, **more: object) -> Json:
    waiting = {"waiting": {"reason": reason}} if reason else {"waiting": {}}
    return {"name": name, "ready": False, "restartCount": 0, "state": waiting, **more}


def _ended(name: str, **terminated: object) -> Json:
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": terminated}}


READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]
DELETED = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
INIT = {"initContainers": [{"name": "i"}, {"name": "j"}]}
SIDECAR = {"initContainers": [{"name": "i", "restartPolicy": "Always"}]}
CASES = {
    "nothing known": (_pod({"phase": "Pending"}), ("0/2", "Pending", "0")),
    "starting": (
        _pod({"phase": "Pending", "containerStatuses": [_waiting("a", "ContainerCreating")] * 2}),
        ("0/2", "ContainerCreating", "0"),
    ),
    "running": (
        _pod({"phase": "Running", "conditions": READY, "containerStatuses": [_running("a"), _running("b")]}),
        ("2/2", "Running", "0"),
    ),
    "not ready": (
        _pod({"phase": "Running", "containerStatuses": [_running("a", ready=False), _running("b")]}),
        ("1/2", "Running", "0"),
    ),
    "crashing": (
        _pod({
            "phase": "Running",
            "containerStatuses": [
                _waiting("a", "CrashLoopBackOff", restartCount=4,
                         lastState={"terminated": {"finishedAt": "2026-05-01T11:57:00Z"}}),
                _running("b"),
            ],
        }),
        ("1/2", "CrashLoopBackOff", "4 (3m ago)"),
    ),
    "done": (
        _pod({"phase": "Succeeded", "containerStatuses": [_ended("a", exitCode=0, reason="Completed")]}),
        ("0/2", "Completed", "0"),
    ),
    "one done, one ready": (
        _pod({
            "phase": "Running", "conditions": READY,
            "containerStatuses": [_ended("a", exitCode=0, reason="Completed"), _running("b")],
        }),
        ("1/2", "Running", "0"),
    ),
    "one done, pod not ready": (
        _pod({
            "phase": "Running",
            "containerStatuses": [_ended("a", exitCode=0, reason="Completed"), _running("b")],
        }),
        ("1/2", "NotReady", "0"),
    ),
    "no reason": (
        _pod({"phase": "Failed", "containerStatuses": [_ended("a", exitCode=3)]}), ("0/2", "ExitCode:3", "0"),
    ),
    "signal": (
        _pod({"phase": "Failed", "containerStatuses": [_ended("a", exitCode=137, signal=9)]}),
        ("0/2", "Signal:9", "0"),
    ),
    "evicted": (_pod({"phase": "Failed", "reason": "Evicted"}), ("0/2", "Evicted", "0")),
    "gated": (
        _pod({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
        ("0/2", "SchedulingGated", "0"),
    ),
    "second init": (
        _pod({"phase": "Pending", "initContainerStatuses": [
            _ended("i", exitCode=0, reason="Completed"), _waiting("j", "PodInitializing")]}, spec=INIT),
        ("0/2", "Init:1/2", "0"),
    ),
    "init image": (
        _pod({"phase": "Pending", "initContainerStatuses": [_waiting("i", "ErrImagePull")]}, spec=INIT),
        ("0/2", "Init:ErrImagePull", "0"),
    ),
    "init error": (
        _pod({"phase": "Pending", "initContainerStatuses": [_ended("i", exitCode=1, reason="Error")]},
             spec=INIT),
        ("0/2", "Init:Error", "0"),
    ),
    "init exit code": (
        _pod({"phase": "Pending", "initContainerStatuses": [_ended("i", exitCode=7)]}, spec=INIT),
        ("0/2", "Init:ExitCode:7", "0"),
    ),
    "sidecar": (
        _pod({"phase": "Running", "conditions": READY,
              "initContainerStatuses": [_running("i", started=True, restartCount=1)],
              "containerStatuses": [_running("a"), _running("b")]}, spec=SIDECAR),
        ("3/3", "Running", "1"),
    ),
    "going": (
        _pod({"phase": "Running", "containerStatuses": [_running("a"), _running("b")]}, metadata=DELETED),
        ("2/2", "Terminating", "0"),
    ),
    "going, already done": (
        _pod({"phase": "Succeeded", "containerStatuses": [_ended("a", exitCode=0, reason="Completed")]},
             metadata=DELETED),
        ("0/2", "Completed", "0"),
    ),
    "node lost": (_pod({"phase": "Running", "reason": "NodeLost"}, metadata=DELETED),
                  ("0/2", "Unknown", "0")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_pod_is_told_in_one_word(name: str) -> None:
    pod, expected = CASES[name]
    cells = POD_PRINTER.cells(pod, NOW)
    assert tuple(cells[1:4]) == expected
    assert cells[0] == "p"
    assert cells[4] == "5m"


def test_wide_columns_of_a_pod_are_where_it_is_and_what_it_waits_for() -> None:
    pod = _pod(
        {"podIPs": [{"ip": "10.0.0.7"}], "conditions": [{"type": "x/y", "status": "True"}]},
        spec={"nodeName": "n1", "readinessGates": [{"conditionType": "x/y"}, {"conditionType": "z"}]},
    )
    assert POD_PRINTER.cells(pod, NOW)[5:] == ["10.0.0.7", "n1", "<none>", "1/2"]
    assert POD_PRINTER.cells(_pod({}), NOW)[5:] == ["<none>"] * 4
    assert [column.name for column in POD_PRINTER.columns if column.wide] == [
        "IP", "Node", "Nominated Node", "Readiness Gates",
    ]  # fmt: skip


def test_pod_that_is_done_says_so_in_the_conditions_of_its_row() -> None:
    assert POD_PRINTER.conditions is not None
    (condition,) = POD_PRINTER.conditions(_pod({"phase": "Failed"}))
    assert (condition["type"], condition["reason"]) == ("Completed", "Failed")
    assert POD_PRINTER.conditions(_pod({"phase": "Running"})) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"),
        (3 * 3600 - 1, "179m"), (3 * 3600, "3h"), (3 * 3600 + 300, "3h5m"), (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"), (48 * 3600, "2d"), (49 * 3600, "2d1h"), (8 * 86400 + 7200, "8d"),
        (729 * 86400, "729d"), (730 * 86400, "2y"), (733 * 86400, "2y3d"), (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_ages_are_short(seconds: int, text: str) -> None:
    assert short(timedelta(seconds=seconds)) == text


def _cells(plural: str, item: Json) -> Json:
    kind = next(kind for kind in KINDS if kind.resource.plural == plural)
    value = {"metadata": {"name": "x", "creationTimestamp": "2026-05-01T11:00:00Z"}, **item}
    cells = kind.printer.cells(value, NOW)
    return dict(zip([column.name for column in kind.printer.columns], cells, strict=True))


def test_services_show_where_they_are_reached() -> None:
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]
    spec = {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports, "selector": {"b": "2", "a": "1"}}
    row = _cells("services", {"spec": spec})
    assert (row["Cluster-IP"], row["External-IP"]) == ("10.96.0.9", "<none>")
    assert (row["Port(s)"], row["Selector"], row["Age"]) == ("80:30080/TCP,53/UDP", "a=1,b=2", "60m")
    balanced = _cells("services", {"spec": {"type": "LoadBalancer", "clusterIP": "None"}})
    assert (balanced["External-IP"], balanced["Port(s)"]) == ("<pending>", "<none>")
    given = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    assert _cells("services", {"spec": {"type": "LoadBalancer"}, "status": given})["External-IP"] == "1.2.3.4"
    outside = _cells("services", {"spec": {"type": "ExternalName", "externalName": "db.example"}})
    assert (outside["Cluster-IP"], outside["External-IP"]) == ("<none>", "db.example")


def test_nodes_show_whether_they_take_pods() -> None:
    labels = {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.2"},
             "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}  # fmt: skip
    row = _cells("nodes", {"status": ready, "spec": {"unschedulable": True}})
    assert (row["Status"], row["Roles"], row["Version"]) == ("Ready,SchedulingDisabled", "<none>", "v1.36.2")
    assert (row["Internal-IP"], row["External-IP"], row["OS-Image"]) == ("10.0.0.1", "<none>", "<unknown>")
    item = {"metadata": {"name": "n", "labels": labels}, "status": {"conditions": [
        {"type": "Ready", "status": "Unknown"}]}}  # fmt: skip
    assert (_cells("nodes", item)["Status"], _cells("nodes", item)["Roles"]) == (
        "NotReady", "control-plane,edge",
    )  # fmt: skip
    assert _cells("nodes", {})["Status"] == "Unknown"


def test_long_lists_of_endpoints_are_cut() -> None:
    addresses = [{"ip": f"10.0.0.{n}"} for n in range(5)]
    subset = {"addresses": addresses, "ports": [{"port": 80}]}
    shown = _cells("endpoints", {"subsets": [subset]})["Endpoints"]
    assert shown == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    assert _cells("endpoints", {})["Endpoints"] == "<none>"
    slice_ = {"addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}],
              "endpoints": [{"addresses": ["10.0.0.1"]}]}  # fmt: skip
    row = _cells("endpointslices", slice_)
    assert (row["Ports"], row["Endpoints"]) == ("80,x", "10.0.0.1")
    assert _cells("endpointslices", {})["Ports"] == "<unset>"


def test_events_show_what_they_are_about() -> None:
    event = {
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{main}"}, "count": 3,
        "type": "Warning", "reason": "BackOff", "message": " Back-off\n", "lastTimestamp":
        "2026-05-01T11:59:00Z", "firstTimestamp": "2026-05-01T11:50:00Z",
        "source": {"component": "kubelet", "host": "n1"},
    }  # fmt: skip
    row = _cells("events", event)
    assert (row["Last Seen"], row["First Seen"], row["Object"], row["Count"]) == ("60s", "10m", "pod/web", 3)
    assert (row["Source"], row["Message"]) == ("kubelet, n1", "Back-off")
    newer = {"eventTime": "2026-05-01T11:58:00.000000Z", "series": {
        "count": 9, "lastObservedTime": "2026-05-01T11:59:30.000000Z"}}  # fmt: skip
    row = _cells("events", newer)
    assert (row["Last Seen"], row["First Seen"], row["Count"]) == ("30s", "2m", 9)


def test_bindings_show_the_role_and_who_has_it() -> None:
    subjects = [
        {"kind": "User", "name": "ann"}, {"kind": "User", "name": "bob"}, {"kind": "Group", "name": "g"},
        {"kind": "ServiceAccount", "namespace": "a", "name": "s"},
    ]  # fmt: skip
    row = _cells("rolebindings", {"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": subjects})
    assert row["Role"] == "ClusterRole/view"
    assert (row["Users"], row["Groups"], row["ServiceAccounts"]) == ("ann, bob", "g", "a/s")
