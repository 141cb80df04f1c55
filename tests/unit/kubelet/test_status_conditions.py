"""Pod conditions: order, reasons, messages, transition times and generations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube.objects.core_v1 import Pod
from kubelet.model import ContainerMemory, Observed, ObservedContainer, ObservedSandbox, Phase, Stage
from kubelet.status import StatusInputs, pod_status

pytestmark = pytest.mark.pure

SANDBOX = ObservedSandbox("s1", 0, ready=True, created_at=1, ips=("10.244.0.7",))


def pod(*, generation: int = 0, conditions: list[dict[str, Any]] | None = None, **spec: Any) -> Pod:
    spec.setdefault("containers", [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}])
    manifest = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": generation},
        "spec": spec,
        "status": {"conditions": conditions or []},
    }
    return msgspec.convert(manifest, Pod)


def container(name: str, code: int | None = None) -> ObservedContainer:
    phase = Phase.RUNNING if code is None else Phase.EXITED
    return ObservedContainer(f"{name}0", name, "s1", 0, phase, 1, started_at=1, exit_code=code or 0)


def status_of(
    the_pod: Pod,
    *containers: ObservedContainer,
    sandbox: ObservedSandbox | None = SANDBOX,
    now: float = 1000.0,
    **more: Any,
) -> dict[str, Any]:
    observed = Observed(1.0, (sandbox,) if sandbox else (), containers)
    return pod_status(StatusInputs(pod=the_pod, now=now, observed=observed, **more))


def told(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    entry = next(entry for entry in status["conditions"] if entry["type"] == kind)
    return entry["status"], entry.get("reason", ""), entry.get("message", "")


def test_conditions_come_in_upstreams_order() -> None:
    assert [entry["type"] for entry in status_of(pod())["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]


def test_all_ready() -> None:
    status = status_of(pod(), container("a"), container("b"))
    for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"):
        assert told(status, kind) == ("True", "", "")


def test_unready_containers_are_named_in_spec_order() -> None:
    expected = ("False", "ContainersNotReady", "containers with unready status: [a b]")
    status = status_of(pod())
    assert told(status, "ContainersReady") == expected
    assert told(status, "Ready") == expected


def test_sidecars_count_for_ready_and_plain_init_containers_do_not() -> None:
    init = [{"name": "i", "image": "i:1"}, {"name": "s", "image": "s:1", "restartPolicy": "Always"}]
    probe = {**init[1], "readinessProbe": {}}
    the_pod = pod(initContainers=[init[0], probe])
    ran = (container("i", 0), container("s"), container("a"), container("b"))
    assert told(status_of(the_pod, *ran), "ContainersReady")[2] == "containers with unready status: [s]"
    memory = {"s": ContainerMemory(ready_id="s0")}
    assert told(status_of(the_pod, *ran, containers=memory), "Ready")[0] == "True"


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ((), ("False", "ContainersNotInitialized", "containers with incomplete status: [i s]")),
        (
            ("i-running",),
            ("False", "ContainersNotInitialized", "containers with incomplete status: [i s]"),
        ),
        (("i-done",), ("False", "ContainersNotInitialized", "containers with incomplete status: [s]")),
        (("i-done", "s-running"), ("True", "", "")),
        (("i-done", "a-running"), ("True", "", "")),
    ],
)
def test_initialized_waits_for_done_init_containers_and_started_sidecars(
    containers: tuple[str, ...], expected: tuple[str, str, str]
) -> None:
    init = [{"name": "i", "image": "i:1"}, {"name": "s", "image": "s:1", "restartPolicy": "Always"}]
    ran = [container(name[0], 0 if name.endswith("done") else None) for name in containers]
    assert told(status_of(pod(initContainers=init), *ran), "Initialized") == expected


def test_initialized_pod_stays_initialized_when_its_sandbox_is_made_anew() -> None:
    the_pod = pod(initContainers=[{"name": "i", "image": "i:1"}])
    before = status_of(the_pod, container("i", 0))
    assert told(before, "Initialized")[0] == "True"
    after = status_of(the_pod, container("i"), previous=before)
    assert told(after, "Initialized")[0] == "True"


def test_succeeded_pod_is_completed_and_not_ready() -> None:
    status = status_of(pod(restartPolicy="Never"), container("a", 0), container("b", 0), sandbox=None)
    assert told(status, "Initialized") == ("True", "PodCompleted", "")
    assert told(status, "Ready") == ("False", "PodCompleted", "")
    assert told(status, "ContainersReady") == ("False", "PodCompleted", "")
    assert told(status, "PodReadyToStartContainers")[0] == "False"


def test_failed_pod_says_so_in_ready() -> None:
    status = status_of(pod(restartPolicy="Never"), container("a", 0), container("b", 1))
    assert told(status, "Ready") == ("False", "PodFailed", "")
    assert told(status, "ContainersReady") == ("False", "PodFailed", "")


@pytest.mark.parametrize(
    ("sandbox", "expected"),
    [
        (None, "False"),
        (SANDBOX, "True"),
        (ObservedSandbox("s", 0, ready=False, created_at=1, ips=("1.1.1.1",)), "False"),
        (ObservedSandbox("s", 0, ready=True, created_at=1), "False"),
        (ObservedSandbox("s", 0, ready=True, created_at=1, host_network=True), "True"),
    ],
)
def test_ready_to_start_means_a_sandbox_with_a_network(
    sandbox: ObservedSandbox | None, expected: str
) -> None:
    assert told(status_of(pod(), sandbox=sandbox), "PodReadyToStartContainers")[0] == expected


def test_readiness_gates_hold_ready_back_and_their_conditions_survive() -> None:
    gates = [{"conditionType": "example.com/lb"}, {"conditionType": "example.com/dns"}]
    gate = {"type": "example.com/lb", "status": "False", "reason": "Draining"}
    the_pod = pod(readinessGates=gates, conditions=[gate, {"type": "Ready", "status": "True"}])
    status = status_of(the_pod, container("a"), container("b"))
    assert told(status, "ContainersReady")[0] == "True"
    assert told(status, "Ready") == (
        "False",
        "ReadinessGatesNotReady",
        'the status of pod readiness gate "example.com/lb" is not "True", but False, '
        'corresponding condition of pod readiness gate "example.com/dns" does not exist.',
    )
    assert status["conditions"][0] == gate
    assert [entry["type"] for entry in status["conditions"]].count("Ready") == 1


def test_disruption_target_reported_before_is_kept() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    status = status_of(pod(), previous={"conditions": [target]})
    assert status["conditions"][0] == target


def times(status: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry["lastTransitionTime"] for entry in status["conditions"]}


def test_transition_time_moves_only_with_the_status_of_a_condition() -> None:
    first = status_of(pod(), now=1000.9)
    assert set(times(first).values()) == {"1970-01-01T00:16:40Z"}
    second = status_of(pod(), container("a"), previous=first, now=1010.0)
    assert times(second) == times(first)
    assert told(second, "Ready")[2] == "containers with unready status: [b]"
    third = status_of(pod(), container("a"), container("b"), previous=second, now=1020.0)
    moved = {kind for kind, time in times(third).items() if time != times(second)[kind]}
    assert moved == {"Ready", "ContainersReady"}


def test_nothing_new_gives_the_very_same_status() -> None:
    first = status_of(pod(), container("a"), container("b"), now=1000.0)
    assert status_of(pod(), container("a"), container("b"), previous=first, now=2000.0) == first


def test_observed_generation_never_goes_back() -> None:
    newer = status_of(pod(generation=7))
    assert newer["observedGeneration"] == 7
    older = status_of(pod(generation=5), previous=newer)
    assert older["observedGeneration"] == 7
    assert {entry["observedGeneration"] for entry in older["conditions"]} == {7}


def test_conditions_turn_back_when_the_pod_ends() -> None:
    first = status_of(pod(), container("a"), container("b"))
    last = status_of(
        pod(), container("a", 0), container("b", 137), sandbox=None, previous=first, stage=Stage.TERMINATED
    )
    assert told(last, "Ready")[0] == "False"
    assert told(last, "PodReadyToStartContainers")[0] == "False"
    assert told(last, "Initialized")[0] == "True"
