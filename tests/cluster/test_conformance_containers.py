"""How containers live, as Kubernetes' conformance suite tries it: hooks, probes, init, security, last words.

Sources: test/e2e/common/node and test/e2e/node of Kubernetes 1.36. What can start together does: see `begun`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster.clusters import wait_until
from tests.cluster.stranger import MERGE, Place, condition, container, is_ready, once, pod_of

pytestmark = pytest.mark.cluster

ASKED = ("post-exec", "post-http", "pre-exec", "pre-http")
SERVER = (
    f"mkdir /w; cd /w; echo ok > ok; touch {' '.join(ASKED)}; echo page > index.html; "
    "exec httpd -f -vv -p 8080 -h /w"
)
QUICK = {"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 5}


def secure(script: str, **context: Any) -> dict[str, Any]:
    return once("x", script, box={"securityContext": context})


OUTPUT: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "user-nobody": (secure("id -u", runAsUser=65534), "Succeeded", ["^65534$"]),
    "user-root": (secure("id -u", runAsUser=0), "Succeeded", ["^0$"]),
    "group": (secure("id -g", runAsUser=1000, runAsGroup=2002), "Succeeded", ["^2002$"]),
    "groups": (
        once("x", "id -G; id -u", securityContext={"runAsUser": 1000, "supplementalGroups": [1234, 5678]}),
        "Succeeded", ["1234", "5678", "^1000$"],
    ),
    "non-root-with-user": (secure("id -u", runAsNonRoot=True, runAsUser=1234), "Succeeded", ["^1234$"]),
    "read-only": (secure("touch /f", readOnlyRootFilesystem=True), "Failed", ["Read-only file system"]),
    "writable": (secure("touch /f && echo fine", readOnlyRootFilesystem=False), "Succeeded", ["^fine$"]),
    "unprivileged": (
        secure("ip link add dummy0 type dummy || echo refused", privileged=False), "Succeeded", ["^refused$"]
    ),
    "privileged": (secure("grep CapEff /proc/self/status", privileged=True), "Succeeded", ["ffffff"]),
    "no-escalation": (
        secure("grep NoNewPrivs /proc/self/status", allowPrivilegeEscalation=False, runAsUser=1000),
        "Succeeded", [r"NoNewPrivs:\s1"],
    ),
    "escalation": (
        secure("grep NoNewPrivs /proc/self/status", runAsUser=1000), "Succeeded", [r"NoNewPrivs:\s0"]
    ),
    "seccomp": (
        secure("grep Seccomp: /proc/self/status", seccompProfile={"type": "RuntimeDefault"}),
        "Succeeded", [r"Seccomp:\s2"],
    ),
    "capabilities": (
        secure("grep CapEff /proc/self/status", capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
        "Succeeded", [r"CapEff:\s0000000000001000"],
    ),
    "sysctl": (
        once("x", "cat /proc/sys/kernel/shm_rmid_forced",
             securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}),
        "Succeeded", ["^1$"],
    ),
    "host-aliases": (
        once("x", "cat /etc/hosts", hostAliases=[{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]),
        "Succeeded", ["^# Kubernetes-managed hosts file", r"^123\.45\.67\.89\tfoo\tbar"],
    ),
    "host-network": (
        once("x", "cat /etc/hosts; hostname", hostNetwork=True), "Succeeded", ["127.0.0.1"]
    ),
    "own-hosts": (
        once("x", "cat /etc/hosts", box={"volumeMounts": [{"name": "h", "mountPath": "/etc/hosts"}]},
             volumes=[{"name": "h", "hostPath": {"path": "/etc/debian_version"}}]),
        "Succeeded", [r"\A[^#]"],
    ),
    "host-name": (once("x", "hostname; hostname -f", hostname="h", subdomain="s"), "Succeeded", ["^h$"]),
    "fqdn": (once("x", "cat /etc/hosts", hostname="h", subdomain="s"), "Succeeded",
             [r"\th\.s\.room-\w+\.svc\.cluster\.local\th$"]),
    "dns-none": (
        once("x", "cat /etc/resolv.conf", dnsPolicy="None", dnsConfig={
            "nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"],
            "options": [{"name": "ndots", "value": "2"}],
        }),
        "Succeeded", [r"^nameserver 1\.1\.1\.1$", "^search resolv.conf.local$", "^options ndots:2$"],
    ),
    "share-processes": (
        pod_of("x", container("sleep 1; ps"), container("exec sleep 3", "side"),
               shareProcessNamespace=True, restartPolicy="Never"),
        "Succeeded", [r"\b1\b.*pause", "sleep 3"],
    ),
    "image-args": (
        once("x", "", box={"command": None, "args": ["echo", "from args"]}), "Succeeded", ["^from args$"]
    ),
    "image-command": (once("x", "", box={"command": ["echo"], "args": ["a", "b"]}), "Succeeded", ["^a b$"]),
    "working-dir": (once("x", "pwd", box={"workingDir": "/tmp"}), "Succeeded", ["^/tmp$"]),
}  # fmt: skip

LAST_WORDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "words-root": (once("x", "echo -n DONE > /dev/termination-log"), "Succeeded", "DONE"),
    "words-elsewhere": (
        once("x", "echo -n DONE > /dev/other", box={
            "terminationMessagePath": "/dev/other", "securityContext": {"runAsUser": 1000}}),
        "Succeeded", "DONE",
    ),
    "words-of-log": (
        once("x", "echo -n DONE; exit 1", box={"terminationMessagePolicy": "FallbackToLogsOnError"}),
        "Failed", "DONE",
    ),
    "words-of-file": (
        once("x", "echo log; echo -n OK > /dev/termination-log",
             box={"terminationMessagePolicy": "FallbackToLogsOnError"}),
        "Succeeded", "OK",
    ),
    "no-words": (
        once("x", "echo -n DONE", box={"terminationMessagePolicy": "FallbackToLogsOnError"}), "Succeeded", ""
    ),
}  # fmt: skip


def probed(script: str, **fields: Any) -> dict[str, Any]:
    return pod_of("x", container(script, **fields))


def check(kind: str, probe: dict[str, Any], script: str = "", **numbers: Any) -> dict[str, Any]:
    return probed(script, **{f"{kind}Probe": {**probe, **QUICK, **numbers}})


def executed(command: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", command]}}


FALLS_ILL = "echo ok > /tmp/health; trap exit TERM; sleep 2; rm /tmp/health; while :; do sleep 0.1; done"
GRPC = {"grpc": {"port": 2333}}
HEALTHY = {"httpGet": {"path": "/ok", "port": 8080}}
NONE = {"httpGet": {"path": "/none", "port": 8080}}
RESTARTED: dict[str, dict[str, Any]] = {
    "ill-exec": check("liveness", executed("cat /tmp/health"), FALLS_ILL),
    "ill-http": check("liveness", NONE, SERVER, initialDelaySeconds=1),
    "ill-tcp": check("liveness", {"tcpSocket": {"port": 9}}, "", initialDelaySeconds=1),
    "ill-grpc": check("liveness", GRPC, "", initialDelaySeconds=1),
    "ill-startup": check("startup", executed("exit 1"), "", failureThreshold=2),
    "slow-exec": check("liveness", executed("sleep 10"), "", timeoutSeconds=1),
    "always-fails": probed("exit 1"),
    "ill-and-deaf": check("liveness", NONE, SERVER, initialDelaySeconds=1, terminationGracePeriodSeconds=1),
}  # fmt: skip
WELL: dict[str, dict[str, Any]] = {
    "well-exec": check("liveness", executed("true")),
    "well-http": check("liveness", HEALTHY, SERVER, failureThreshold=5),
    "well-tcp": check("liveness", {"tcpSocket": {"port": 8080}}, SERVER, failureThreshold=5),
    "well-started": probed(
        "sleep 3; touch /tmp/started; trap exit TERM; while :; do sleep 0.1; done",
        startupProbe={**executed("test -f /tmp/started"), **QUICK, "failureThreshold": 60},
        livenessProbe={**executed("test -f /tmp/started"), **QUICK},
    ),
}


def first(seen: dict[str, Any], field: str = "containerStatuses") -> dict[str, Any]:
    """The status of a pod's first container, empty until there is one."""
    rows: list[dict[str, Any]] = seen["status"].get(field) or [{}]
    return rows[0]


def _waiting(seen: dict[str, Any]) -> str:
    return str(first(seen).get("state", {}).get("waiting", {}).get("reason", ""))


@pytest.fixture(scope="module")
def begun(room: Place) -> Iterator[Place]:
    for name, body in [
        *((name, row[0]) for name, row in OUTPUT.items()),
        *((name, row[0]) for name, row in LAST_WORDS.items()),
        *RESTARTED.items(),
        *WELL.items(),
    ]:
        body["metadata"]["name"] = body["metadata"]["labels"]["app"] = name
        room.make("pods", body)
    yield room


@pytest.mark.parametrize("name", OUTPUT)
def test_container_runs_as_its_pod_says(begun: Place, name: str) -> None:
    _, phase, wanted = OUTPUT[name]
    begun.ended(name, phase)
    said = begun.log(name, container="main")
    assert all(re.search(one, said, re.MULTILINE) for one in wanted), said


@pytest.mark.parametrize("name", LAST_WORDS)
def test_last_words_of_a_container_are_in_its_status(begun: Place, name: str) -> None:
    _, phase, words = LAST_WORDS[name]
    over = begun.ended(name, phase)["status"]["containerStatuses"][0]["state"]["terminated"]
    assert over.get("message", "") == words


@pytest.mark.parametrize("name", RESTARTED)
def test_container_that_fails_is_restarted(begun: Place, name: str) -> None:
    begun.until("pods", name, lambda seen: first(seen).get("restartCount", 0) >= 1)


@pytest.mark.parametrize("name", WELL)
def test_container_that_is_well_is_left_alone(begun: Place, name: str) -> None:
    ready = begun.ready(name)
    assert ready["status"]["containerStatuses"][0]["restartCount"] == 0, ready["status"]
    events = begun.items("events", fieldSelector=f"involvedObject.name={name},reason=Killing")
    assert not events


def test_readiness_waits_for_the_initial_delay_and_never_restarts(room: Place) -> None:
    delayed = check("readiness", HEALTHY, SERVER, initialDelaySeconds=4)
    never = check("readiness", executed("false"))
    for name, body in (("delayed", delayed), ("never", never)):
        body["metadata"]["name"] = name
        room.make("pods", body)
    ready = room.ready("delayed")["status"]
    rows = {row["type"]: row["lastTransitionTime"] for row in ready["conditions"]}
    started = ready["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert _seconds(rows["Ready"]) - _seconds(started) >= 3
    seen = room.find("pods", "never")["status"]
    assert seen["containerStatuses"][0]["restartCount"] == 0
    assert seen["containerStatuses"][0]["started"] is True
    assert not is_ready({"status": seen})


def _seconds(text: str) -> int:
    hours, minutes, seconds = text[11:19].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def test_hooks_run_after_the_start_and_before_the_end(room: Place) -> None:
    room.make("pods", pod_of("handler", container(SERVER)))
    address = room.ready("handler")["status"]["podIP"]

    def target(path: str) -> dict[str, Any]:
        return {"httpGet": {"host": address, "port": 8080, "path": f"/{path}"}}

    def told(path: str) -> dict[str, Any]:
        return {"exec": {"command": ["wget", "-q", "-O", "-", f"http://{address}:8080/{path}"]}}

    hooks = {
        "post-exec": {"postStart": told("post-exec")}, "post-http": {"postStart": target("post-http")},
        "pre-exec": {"preStop": told("pre-exec")}, "pre-http": {"preStop": target("pre-http")},
        "pre-sleep": {"preStop": {"sleep": {"seconds": 1}}},
    }  # fmt: skip
    for name, hook in hooks.items():
        room.make("pods", pod_of(name, container(lifecycle=hook), terminationGracePeriodSeconds=15))
    for name in hooks:
        room.ready(name)
    for name in hooks:
        room.api.delete(room.at("pods", name))
    for name in ASKED:
        wait_until(partial(_is_in_log, room, "handler", f"/{name}"), name)
    for name in hooks:
        wait_until(partial(room.api.is_gone, room.at("pods", name)), name)


def _is_in_log(room: Place, pod: str, text: str) -> bool:
    return text in room.log(pod)


def test_init_containers_run_in_turn_and_hold_back_the_rest(room: Place) -> None:
    inits = [container("echo 1 >> /v/f", "one"), container("echo 2 >> /v/f", "two")]
    mounts = [{"name": "v", "mountPath": "/v"}]
    for box in inits:
        box["volumeMounts"] = mounts
    volumes = [{"name": "v", "emptyDir": {}}]
    main = container("cat /v/f", volumeMounts=mounts)
    room.make("pods", pod_of("inits", main, initContainers=inits, volumes=volumes, restartPolicy="Never"))
    fails = [container("exit 1", "fails"), container("true", "after")]
    room.make("pods", pod_of("init-never", initContainers=fails, restartPolicy="Never"))
    room.make("pods", pod_of("init-always", initContainers=fails))
    over = room.ended("inits")
    assert room.log("inits", container="main") == "1\n2\n"
    assert condition(over, "Initialized") == "True"
    assert [row["state"]["terminated"]["exitCode"] for row in over["status"]["initContainerStatuses"]] == [
        0,
        0,
    ]
    failed = room.until("pods", "init-never", lambda seen: seen["status"].get("phase") == "Failed")["status"]
    assert condition({"status": failed}, "Initialized") == "False"
    assert failed["initContainerStatuses"][1]["state"]["waiting"]["reason"] == "PodInitializing"
    assert failed["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    retried = room.until(
        "pods",
        "init-always",
        lambda seen: seen["status"].get("initContainerStatuses", [{}])[0].get("restartCount", 0) > 1,
    )["status"]
    assert retried["phase"] == "Pending"
    rows = {row["type"]: row for row in retried["conditions"]}
    assert rows["Initialized"]["reason"] == "ContainersNotInitialized"
    assert rows["Initialized"]["message"] == "containers with incomplete status: [fails after]"


def test_root_is_refused_where_the_pod_forbids_it(room: Place) -> None:
    room.make("pods", {**secure("id", runAsNonRoot=True), "metadata": {"name": "as-root"}})
    seen = room.until(
        "pods", "as-root",
        lambda one: _waiting(one) == "CreateContainerConfigError",
    )  # fmt: skip
    message = seen["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message.startswith("container has runAsNonRoot and image will run as root")


def test_sysctls_are_checked_by_name_and_unsafe_ones_refused_by_the_node(room: Place) -> None:
    names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..", "kernel/shm_rmid_forced")
    sysctls = [{"name": name, "value": "1"} for name in names]
    body = once("bad-sysctls", "true", securityContext={"sysctls": sysctls})
    reply = room.api.ask("POST", room.at("pods"), body)
    assert reply.code == 422
    for name in ("foo-", "bar.."):
        assert f'Invalid value: "{name}"' in reply.json["message"]
    assert "safe-and-unsafe" not in reply.text and "kernel.shmmax" not in reply.text
    unsafe = {"sysctls": [{"name": "kernel.msgmax", "value": "10000000000"}]}
    room.make("pods", once("unsafe-sysctl", "true", securityContext=unsafe))
    seen = room.until("pods", "unsafe-sysctl", lambda one: one["status"].get("phase") == "Failed")
    assert seen["status"]["reason"] == "SysctlForbidden"


def test_a_command_that_always_fails_says_how_and_can_be_deleted(room: Place) -> None:
    room.make("pods", once("bad-command", "exit 3"))
    over = room.ended("bad-command", "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert over["exitCode"] == 3 and over["reason"] == "Error"
    room.make("pods", pod_of("no-such-program", {**container(), "command": ["/none"]}))
    room.api.delete(room.at("pods", "bad-command"))
    wait_until(lambda: room.api.is_gone(room.at("pods", "bad-command")), "it is gone")
    seen = room.until(
        "pods", "no-such-program",
        lambda one: first(one).get("state", {}).get("terminated")
        or first(one).get("lastState", {}).get("terminated"),
    )  # fmt: skip
    row = seen["status"]["containerStatuses"][0]
    ended = row["state"].get("terminated") or row["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)


def test_qos_classes_are_told(room: Place) -> None:
    same = {"cpu": "10m", "memory": "10Mi"}
    for name, needs, wanted in (
        ("sure", {"limits": same}, "Guaranteed"), ("burst", {"requests": same}, "Burstable"),
        ("best", {}, "BestEffort"),
    ):  # fmt: skip
        made = room.make("pods", pod_of(f"qos-{name}", container(resources=needs)))
        assert made["status"]["qosClass"] == wanted


def test_pod_that_is_over_its_time_fails_with_the_reason(room: Place) -> None:
    room.make("pods", pod_of("deadline", activeDeadlineSeconds=5))
    room.ready("deadline")
    room.api.patch(room.at("pods", "deadline"), {"spec": {"activeDeadlineSeconds": 1}}, MERGE)
    over = room.until("pods", "deadline", lambda one: one["status"]["phase"] == "Failed")["status"]
    assert over["reason"] == "DeadlineExceeded"
    assert over["message"] == "Pod was active on the node longer than the specified deadline"


def test_readiness_gates_hold_back_ready(room: Place) -> None:
    room.make("pods", pod_of("gated", readinessGates=[{"conditionType": "k8s.io/one"}]))
    room.until("pods", "gated", lambda one: condition(one, "ContainersReady") == "True")
    seen = room.find("pods", "gated")
    row = next(one for one in seen["status"]["conditions"] if one["type"] == "Ready")
    assert (row["status"], row["reason"]) == ("False", "ReadinessGatesNotReady")
    for value, wanted in (("True", "True"), ("False", "False")):
        change = {"status": {"conditions": [{"type": "k8s.io/one", "status": value}]}}
        room.api.patch(room.at("pods", "gated", "status"), change)
        room.until("pods", "gated", partial(_has_ready, wanted))


def _has_ready(wanted: str, one: dict[str, Any]) -> bool:
    return condition(one, "Ready") == wanted


def test_sidecars_start_first_and_end_last(room: Place) -> None:
    side = container("trap 'echo side ends; exit' TERM; echo side; while :; do sleep 0.1; done", "side",
                     restartPolicy="Always")  # fmt: skip
    room.make("pods", pod_of("sidecar", container("sleep 1"), initContainers=[side], restartPolicy="Never"))
    over = room.ended("sidecar")
    assert "side ends" in room.log("sidecar", container="side")
    assert over["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
