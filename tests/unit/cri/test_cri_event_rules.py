"""What is made of one runtime event: which API, whose pod, has CRI caught up."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cri._pb import api_pb2 as pb
from cri._pb import containerd_events_pb2 as events_pb
from cri._pb import containerd_payloads_pb2 as payloads_pb
from cri.enums import ContainerState, PodSandboxState
from cri.event_sources import read_cri_event, read_envelope, topics
from cri.events import (
    ALL_KINDS,
    ENDINGS,
    SETTLE_DELAYS_SECONDS,
    EventApi,
    EventKind,
    RuntimeEvent,
    Seen,
    choose_event_api,
    disagrees,
    known_pod,
)
from cri.types import Container, ContainerStatus, PodSandbox, VersionResponse

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("name", "version", "api"),
    [
        ("containerd", "1.6.20~ds1", EventApi.CONTAINERD),
        ("containerd", "v1.7.13", EventApi.CONTAINERD),
        ("containerd", "v2.0.0", EventApi.CRI),
        ("containerd", "2.1.9+unknown", EventApi.CRI),
        ("containerd", "10.0.1", EventApi.CRI),
        ("containerd", "dev", EventApi.CONTAINERD),
        ("cri-o", "1.28.0", EventApi.CRI),
        ("something", "0.1", EventApi.CRI),
    ],
)
def test_event_api_follows_the_version(name: str, version: str, api: EventApi) -> None:
    assert choose_event_api(VersionResponse("0.1.0", name, version, "v1")) is api


def _event(kind: EventKind, container_id: str = "c") -> RuntimeEvent:
    return RuntimeEvent(kind, container_id, at=1)


CREATED, RUNNING = ContainerState.CONTAINER_CREATED, ContainerState.CONTAINER_RUNNING
EXITED, UNKNOWN = ContainerState.CONTAINER_EXITED, ContainerState.CONTAINER_UNKNOWN


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [
        (EventKind.STOPPED, RUNNING, True),
        (EventKind.STOPPED, CREATED, True),
        (EventKind.STOPPED, EXITED, False),
        (EventKind.STOPPED, UNKNOWN, False),
        (EventKind.STARTED, CREATED, True),
        (EventKind.STARTED, RUNNING, False),
        (EventKind.STARTED, EXITED, False),
        (EventKind.DELETED, EXITED, True),
        (EventKind.OOM, RUNNING, False),
        (EventKind.CREATED, CREATED, False),
    ],
)
def test_cri_lags_while_it_shows_the_state_before_the_event(
    kind: EventKind, state: ContainerState, expected: bool
) -> None:
    others = (Container(id="other", state=RUNNING), ContainerStatus(id="c", state=state))
    assert disagrees(_event(kind), Seen(containers=others)) is expected


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [
        (EventKind.STOPPED, PodSandboxState.SANDBOX_READY, True),
        (EventKind.STOPPED, PodSandboxState.SANDBOX_NOTREADY, False),
        (EventKind.STARTED, PodSandboxState.SANDBOX_READY, False),
        (EventKind.DELETED, PodSandboxState.SANDBOX_NOTREADY, True),
    ],
)
def test_sandbox_states_are_not_mistaken_for_container_states(
    kind: EventKind, state: PodSandboxState, expected: bool
) -> None:
    assert disagrees(_event(kind, "s"), Seen(sandboxes=(PodSandbox(id="s", state=state),))) is expected


def test_an_id_that_is_not_listed_lags_only_behind_a_start() -> None:
    assert disagrees(_event(EventKind.STARTED), Seen())
    assert not any(disagrees(_event(kind), Seen()) for kind in ALL_KINDS - {EventKind.STARTED})


def test_rereads_come_after_5_to_320_ms() -> None:
    assert SETTLE_DELAYS_SECONDS == (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)


def test_a_pod_is_found_by_its_uid_its_container_or_its_sandbox() -> None:
    pods = {"c": "uid-1", "s": "uid-2"}
    assert known_pod(RuntimeEvent(EventKind.OOM, "c", 1, pod_uid="uid-0"), pods) == "uid-0"
    assert known_pod(RuntimeEvent(EventKind.OOM, "c", 1), pods) == "uid-1"
    assert known_pod(RuntimeEvent(EventKind.OOM, "x", 1, sandbox_id="s"), pods) == "uid-2"
    assert known_pod(RuntimeEvent(EventKind.OOM, "x", 1), pods) is None


def _envelope(topic: str, payload: object, namespace: str = "k8s.io") -> events_pb.Envelope:
    value = payload.SerializeToString()  # type: ignore[attr-defined]
    event = {"type_url": "containerd.events.X", "value": value}
    return events_pb.Envelope(
        timestamp=Timestamp(seconds=5, nanos=7), namespace=namespace, topic=topic, event=event
    )


def test_a_containerd_exit_tells_code_and_moment() -> None:
    payload = payloads_pb.TaskExit(
        container_id="c", id="c", exit_status=7, exited_at=Timestamp(seconds=2, nanos=3)
    )
    event = read_envelope(_envelope("/tasks/exit", payload))
    assert event == RuntimeEvent(EventKind.STOPPED, "c", at=2_000_000_003, exit_code=7)


def test_the_exit_of_an_exec_process_is_not_the_containers() -> None:
    payload = payloads_pb.TaskExit(container_id="c", id="exec-1", exit_status=1)
    assert read_envelope(_envelope("/tasks/exit", payload)) is None


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        ("/containers/create", payloads_pb.ContainerCreate(id="c"), EventKind.CREATED),
        ("/tasks/start", payloads_pb.TaskStart(container_id="c"), EventKind.STARTED),
        ("/containers/delete", payloads_pb.ContainerDelete(id="c"), EventKind.DELETED),
        ("/tasks/oom", payloads_pb.TaskOOM(container_id="c"), EventKind.OOM),
    ],
)
def test_containerd_topics_become_kinds(topic: str, payload: object, kind: EventKind) -> None:
    assert read_envelope(_envelope(topic, payload)) == RuntimeEvent(kind, "c", at=5_000_000_007)


def test_envelopes_of_other_namespaces_topics_or_forms_are_left_out() -> None:
    payload = payloads_pb.TaskOOM(container_id="c")
    assert read_envelope(_envelope("/tasks/oom", payload, namespace="moby")) is None
    assert read_envelope(_envelope("/tasks/paused", payload)) is None
    broken = events_pb.Envelope(
        namespace="k8s.io", topic="/tasks/oom", event={"type_url": "x", "value": b"\xff\xff"}
    )
    assert read_envelope(broken) is None


def test_only_wanted_kinds_are_subscribed_and_read() -> None:
    assert topics(ENDINGS) == ["/tasks/exit", "/tasks/oom"]
    assert len(topics(ALL_KINDS)) == 5
    answer = pb.ContainerEventResponse(
        container_id="c",
        container_event_type=pb.CONTAINER_STOPPED_EVENT,
        created_at=9,
        pod_sandbox_status=pb.PodSandboxStatus(id="s", metadata=pb.PodSandboxMetadata(uid="u")),
    )
    expected = RuntimeEvent(EventKind.STOPPED, "c", at=9, sandbox_id="s", pod_uid="u")
    assert read_cri_event(answer, ENDINGS) == expected
    answer.container_event_type = pb.CONTAINER_STARTED_EVENT
    assert read_cri_event(answer, ENDINGS) is None
