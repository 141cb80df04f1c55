"""The rules of the agent's server: what a path asks for, what a log request means, how metrics look."""

from __future__ import annotations

from typing import Any

import pytest

from cri.errors import CriError, NotFound
from cri.logs import STDERR, STDOUT, LogOptions
from cri.stats import ContainerAttributes, ContainerStats, CpuUsage, FilesystemUsage, MemoryUsage
from kube.http_server.model import Request
from kube.streams.protocols import Wanted
from kubelet.configuration import KubeletConfiguration
from kubelet.model import Observed, ObservedContainer, ObservedSandbox, Phase
from kubelet.server.access import User, Wish, access_review, reviewed_user, token_review, wish
from kubelet.server.answers import refused_by_runtime
from kubelet.server.exposition import Counter, Family, Histogram, Sample, gauges, labels, render
from kubelet.server.log_request import BadLogRequest, LogRequest, container_to_read, read_log_request
from kubelet.server.metrics import operation_of, start_seconds
from kubelet.server.remembered import Remembered
from kubelet.server.served_pods import ServedPod
from kubelet.server.serving import BadTls, cipher_names, configured_pair
from kubelet.server.sessions import wanted_streams
from kubelet.server.usage import NodeUsage, parse_node, pod_usages, resource_metrics, summary

pytestmark = pytest.mark.pure

SECOND = 1_000_000_000


# Who may do what


@pytest.mark.parametrize(
    ("method", "path", "verb", "subresources"),
    [
        ("GET", "/stats/summary", "get", ("stats",)),
        ("GET", "/metrics", "get", ("metrics",)),
        ("GET", "/metrics/resource", "get", ("metrics",)),
        ("GET", "/logs/", "get", ("log",)),
        ("POST", "/checkpoint/a/b/c", "create", ("checkpoint",)),
        ("GET", "/pods", "get", ("pods", "proxy")),
        ("GET", "/runningpods/", "get", ("pods", "proxy")),
        ("GET", "/healthz/syncloop", "get", ("healthz", "proxy")),
        ("HEAD", "/configz", "get", ("configz", "proxy")),
        ("GET", "/containerLogs/a/b/c", "get", ("proxy",)),
        ("POST", "/exec/a/b/c", "create", ("proxy",)),
        ("PUT", "/debug/flags/v", "update", ("proxy",)),
        ("DELETE", "/", "delete", ("proxy",)),
        ("GET", "/podsomething", "get", ("proxy",)),
        ("GET", "/metricsomething", "get", ("proxy",)),
    ],
)
def test_a_path_is_a_subresource_and_a_method_a_verb(
    method: str, path: str, verb: str, subresources: tuple[str, ...]
) -> None:
    assert wish(method, path) == Wish(verb, subresources)


@pytest.mark.parametrize("path", ["/exec/a/b/c", "/attach/a/b/c", "/portForward/a/b"])
def test_a_get_that_becomes_a_session_needs_what_its_post_needs(path: str) -> None:
    assert wish("GET", path, upgrades=True) == wish("POST", path) == Wish("create", ("proxy",))
    assert wish("GET", "/containerLogs/a/b/c", upgrades=True).verb == "get"


def test_reviews_carry_all_that_is_known_of_a_user() -> None:
    user = User("bob", "7", ("a", "b"), {"scopes": ("x",)})
    review = access_review(user, "get", "stats", "n1")
    assert review["spec"] == {
        "user": "bob",
        "uid": "7",
        "groups": ["a", "b"],
        "extra": {"scopes": ["x"]},
        "resourceAttributes": {
            "verb": "get",
            "version": "v1",
            "resource": "nodes",
            "subresource": "stats",
            "name": "n1",
        },
    }
    answer = {"status": {"authenticated": True, "user": {"username": "bob", "groups": ["a"]}}}
    assert reviewed_user(answer) == User("bob", groups=("a",))
    assert reviewed_user({"status": {"authenticated": False, "user": {"username": "bob"}}}) is None
    assert reviewed_user({"status": {"authenticated": True}}) is None
    assert reviewed_user({}) is None
    assert token_review("t")["spec"] == {"token": "t"}


def test_answers_are_remembered_for_a_while_and_not_too_many() -> None:
    known: Remembered[int] = Remembered(most=2)
    known.put("a", 1, now=0.0, seconds=10.0)
    assert (known.get("a", 9.9), known.get("a", 10.0), known.get("b", 0.0)) == (1, None, None)
    for number, key in enumerate("abc"):
        known.put(key, number, now=0.0, seconds=10.0)
    assert [known.get(key, 1.0) for key in "abc"] == [None, 1, 2]
    known.put("c", 3, now=0.0, seconds=0.0)
    assert known.get("c", 0.0) is None
    assert len(known) == 1


# Logs

NOW = 1_000 * SECOND


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, LogOptions()),
        ({"follow": ["true"], "timestamps": ["1"]}, LogOptions(follow=True, timestamps=True)),
        ({"follow": ["false"], "timestamps": ["0"]}, LogOptions()),
        ({"follow": [""]}, LogOptions(follow=True)),
        ({"tailLines": ["0"]}, LogOptions(tail_lines=0)),
        ({"tailLines": ["0" * 5000 + "3"]}, LogOptions(tail_lines=3)),
        ({"tailLines": ["+12"], "limitBytes": ["5"]}, LogOptions(tail_lines=12, limit_bytes=5)),
        ({"sinceSeconds": ["60"]}, LogOptions(since_ns=NOW - 60 * SECOND)),
        ({"sinceTime": ["1970-01-01T00:00:01.5Z"]}, LogOptions(since_ns=1_500_000_000)),
        ({"sinceTime": ["1970-01-01T01:00:00+01:00"]}, LogOptions(since_ns=0)),
        ({"stream": ["Stderr"]}, LogOptions(streams=frozenset({STDERR}))),
        ({"stream": ["All"]}, LogOptions(streams=frozenset({STDERR, STDOUT}))),
    ],
)
def test_log_options_mean_what_kubernetes_means(query: dict[str, list[str]], options: LogOptions) -> None:
    assert read_log_request(query, NOW) == LogRequest(options)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"tailLines": ["x"]}, 400),
        ({"tailLines": ["1.5"]}, 400),
        ({"tailLines": ["-1"]}, 422),
        ({"tailLines": [str(2**63)]}, 422),
        ({"tailLines": ["9" * 5000]}, 422),
        ({"limitBytes": ["-" + "0" * 5000]}, 422),
        ({"limitBytes": ["0"]}, 422),
        ({"sinceSeconds": ["0"]}, 422),
        ({"sinceTime": ["yesterday"]}, 400),
        ({"sinceSeconds": ["1"], "sinceTime": ["1970-01-01T00:00:00Z"]}, 422),
        ({"stream": ["Stdnone"]}, 422),
    ],
)
def test_log_options_that_cannot_be_are_refused(query: dict[str, list[str]], code: int) -> None:
    with pytest.raises(BadLogRequest) as refused:
        read_log_request(query, NOW)
    assert refused.value.code == code


def status_of(state: dict[str, Any], last: dict[str, Any] | None = None, own: str = "") -> dict[str, Any]:
    one = {"name": "c", "state": state, "lastState": last or {}, "containerID": own}
    return {"containerStatuses": [{"name": "other"}, one]}


OLD = {"terminated": {"containerID": "containerd://old"}}
GONE: dict[str, Any] = {"terminated": {"exitCode": 1}}


@pytest.mark.parametrize(
    ("status", "previous", "found"),
    [
        (status_of({"running": {}}, own="containerd://new"), False, "new"),
        (status_of({"running": {}}, OLD, own="containerd://new"), True, "old"),
        (status_of(OLD), False, "old"),
        (status_of(GONE, OLD), False, "old"),
        (status_of({"waiting": {"reason": "CrashLoopBackOff"}}, OLD), False, "old"),
        ({"initContainerStatuses": [{"name": "c", "state": OLD}]}, False, "old"),
    ],
)
def test_the_run_whose_log_is_meant(status: dict[str, Any], found: str, *, previous: bool) -> None:
    assert container_to_read(status, "p", "c", previous=previous) == found


@pytest.mark.parametrize(
    ("status", "previous", "said"),
    [
        ({}, False, 'container "c" in pod "p" is not available'),
        (status_of({"running": {}}), True, 'previous terminated container "c" in pod "p" not found'),
        (status_of(GONE), False, 'container "c" in pod "p" is terminated'),
        (
            status_of({"waiting": {"reason": "ContainerCreating"}}),
            False,
            'container "c" in pod "p" is waiting to start: ContainerCreating',
        ),
        (
            status_of({"waiting": {"reason": "ErrImagePull"}}),
            False,
            'container "c" in pod "p" is waiting to start: image can\'t be pulled',
        ),
        (
            status_of({"waiting": {"reason": "ImagePullBackOff"}}),
            False,
            'container "c" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        (status_of({}), False, 'container "c" in pod "p" is waiting to start - no logs yet'),
    ],
)
def test_why_there_is_no_log_yet(status: dict[str, Any], said: str, *, previous: bool) -> None:
    with pytest.raises(BadLogRequest) as refused:
        container_to_read(status, "p", "c", previous=previous)
    assert (refused.value.code, refused.value.message) == (400, said)


# Sessions


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("/?input=1&output=1&error=1", Wanted(stdin=True, stdout=True, stderr=True)),
        ("/?output=1&error=1&tty=1", Wanted(stdout=True, tty=True)),
        ("/?stdin=true&stdout=true", Wanted(stdin=True, stdout=True)),
        ("/?output=0&error=false", Wanted()),
    ],
)
def test_streams_as_the_api_server_and_as_people_write_them(target: str, wanted: Wanted) -> None:
    assert wanted_streams(Request("POST", "/", target=target)) == wanted


def test_what_the_runtime_refuses_has_its_code() -> None:
    assert refused_by_runtime(NotFound("no such container", call="Exec")).code == 404
    assert refused_by_runtime(CriError("too many", code="RESOURCE_EXHAUSTED")).code == 429
    answer = refused_by_runtime(CriError("it is broken", call="Exec"))
    assert (answer.code, answer.body) == (500, b"it is broken")


# TLS


def test_cipher_suites_have_go_s_names() -> None:
    assert cipher_names(()) == ""
    assert (
        cipher_names(("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"))
        == "ECDHE-RSA-AES128-GCM-SHA256"
    )
    with pytest.raises(BadTls, match="Cipher suite TLS_NULL not supported or doesn't exist"):
        cipher_names(("TLS_NULL",))


def test_a_certificate_needs_its_key() -> None:
    assert configured_pair(KubeletConfiguration()) is None
    with pytest.raises(BadTls, match="together"):
        configured_pair(KubeletConfiguration(tls_cert_file="/a"))


# Metrics


def test_metrics_are_prometheus_text() -> None:
    counter = Counter("calls_total", "Calls\nof all")
    counter.add(labels(kind='a"b\\c\n'))
    counter.add(labels(kind='a"b\\c\n'), 2)
    histogram = Histogram("took_seconds", "How long", (0.1, 2.5))
    for value in (0.05, 0.1, 1.0, 9.0):
        histogram.observe(value)
    families = [
        counter.family(),
        histogram.family(),
        gauges("load", "Load", {(): 0.25}),
        Family("none", "Nothing", "gauge", []),
        Family("timed", "Timed", "gauge", [Sample(5, at_ms=12)]),
    ]
    assert render(families).splitlines() == [
        "# HELP calls_total Calls\\nof all",
        "# TYPE calls_total counter",
        'calls_total{kind="a\\"b\\\\c\\n"} 3',
        "# HELP took_seconds How long",
        "# TYPE took_seconds histogram",
        'took_seconds_bucket{le="0.1"} 2',
        'took_seconds_bucket{le="2.5"} 3',
        'took_seconds_bucket{le="+Inf"} 4',
        "took_seconds_sum 10.15",
        "took_seconds_count 4",
        "# HELP load Load",
        "# TYPE load gauge",
        "load 0.25",
        "# HELP timed Timed",
        "# TYPE timed gauge",
        "timed 5 12",
    ]


def test_operations_have_upstream_s_names() -> None:
    methods = ("run_pod_sandbox", "list_pod_sandboxes", "update_container_resources", "exec_sync")
    assert [operation_of(method) for method in methods] == [
        "run_podsandbox",
        "list_podsandbox",
        "update_container",
        "exec_sync",
    ]


def test_a_pod_has_started_when_its_last_container_has() -> None:
    def pod(*started: int, restarts: int = 0, phase: Phase = Phase.RUNNING) -> ServedPod:
        containers = tuple(
            ObservedContainer(f"id{at}", f"c{at}", "box", restarts, phase, 0, started_at=at * SECOND)
            for at in started
        )
        status = {"containerStatuses": [{"name": f"c{at}"} for at in (102, 105)]}
        return ServedPod("u", "shop", "p", (), status, Observed(0.0, (), containers), seen_at=100.0)

    assert start_seconds(pod(102, 105), started_at=90.0) == 5.0
    assert start_seconds(pod(102, 105), started_at=200.0) is None  # it ran before this agent did
    assert start_seconds(pod(102), started_at=90.0) is None
    assert start_seconds(pod(102, 105, phase=Phase.EXITED), started_at=90.0) is None
    assert start_seconds(pod(102, 105, restarts=1), started_at=90.0) is None
    assert start_seconds(ServedPod("u", "shop", "p"), started_at=0.0) is None


# Usage

STAT = "cpu  100 10 50 900 40 1 2 3 99 9\ncpu0 1 1 1 1\nbtime 1000\n"
MEMINFO = "MemTotal:  1000 kB\nMemFree:  400 kB\nMemAvailable:  700 kB\nInactive(file):  100 kB\n"
NODE = NodeUsage(
    cpu_ns=1_660_000_000,
    usage_bytes=600 << 10,
    working_set_bytes=500 << 10,
    available_bytes=500 << 10,
    booted_at=1000 * SECOND,
    at=2000 * SECOND,
)


def test_the_node_s_usage_is_the_kernel_s() -> None:
    assert parse_node(STAT, MEMINFO, 2000 * SECOND) == NODE


def stats(container_id: str, core_ns: int, memory: int | None) -> ContainerStats:
    at = 1990 * SECOND
    return ContainerStats(
        ContainerAttributes(id=container_id),
        CpuUsage(at, usage_core_nano_seconds=core_ns),
        MemoryUsage(at, working_set_bytes=memory),
        FilesystemUsage(at, used_bytes=7),
    )


def seen(container_id: str, name: str) -> ObservedContainer:
    return ObservedContainer(container_id, name, "box", 0, Phase.RUNNING, 0, started_at=1500 * SECOND)


OBSERVED = Observed(0.0, (ObservedSandbox("box", 0, True, 0),), (seen("1", "a"), seen("2", "b")))
POD = ServedPod("u", "shop", "p", ("a", "b"), {"startTime": "1970-01-01T00:20:00Z"}, OBSERVED)


def test_the_summary_has_sums_of_what_was_measured() -> None:
    usages = pod_usages([POD], [stats("1", 2 * SECOND, 100), stats("2", SECOND, None), stats("9", 1, 1)])
    document = summary("n1", NODE, usages)
    assert document["node"]["startTime"] == "1970-01-01T00:16:40Z"
    assert document["node"]["memory"]["workingSetBytes"] == 500 << 10
    (pod,) = document["pods"]
    assert pod["podRef"] == {"name": "p", "namespace": "shop", "uid": "u"}
    assert pod["cpu"] == {"time": "1970-01-01T00:33:10Z", "usageCoreNanoSeconds": 3 * SECOND}
    assert pod["memory"] == {"time": "1970-01-01T00:33:10Z"}  # of "b" nothing is known
    first, second = pod["containers"]
    assert first["memory"]["workingSetBytes"] == 100
    assert "workingSetBytes" not in second["memory"]
    assert first["startTime"] == "1970-01-01T00:25:00Z"
    assert first["rootfs"]["usedBytes"] == 7
    assert pod_usages([POD], []) == []


def test_resource_metrics_have_the_time_of_their_measurement() -> None:
    lines = resource_metrics(
        NODE, pod_usages([POD], [stats("1", 2 * SECOND, 100)]), failed=False
    ).splitlines()
    of = 'container="a",namespace="shop",pod="p"'
    assert f"container_cpu_usage_seconds_total{{{of}}} 2 1990000" in lines
    assert f"container_memory_working_set_bytes{{{of}}} 100 1990000" in lines
    assert f"container_start_time_seconds{{{of}}} 1500" in lines
    assert 'pod_cpu_usage_seconds_total{namespace="shop",pod="p"} 2 1990000' in lines
    assert "node_cpu_usage_seconds_total 1.66 2000000" in lines
    assert "resource_scrape_error 0" in lines
    assert "resource_scrape_error 1" in resource_metrics(NODE, [], failed=True)


def test_a_pod_is_found_by_what_runs_of_it() -> None:
    assert POD.running_id("a") == "1"
    assert POD.running_id("c") is None
    assert POD.sandbox_id() == "box"
    gone = Observed(0.0, (ObservedSandbox("box", 0, False, 0),), ())
    assert ServedPod("u", "shop", "p", observed=gone).sandbox_id() is None
    assert ServedPod("u", "shop", "p").running_id("a") is None
