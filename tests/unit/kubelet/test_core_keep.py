"""What outlives the agent, what a worker's slot does with two wishes, and whom the node takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kube.objects.core_v1 import (
    Container,
    ContainerPort,
    PodOS,
    PodSecurityContext,
    ResourceRequirements,
    Sysctl,
)
from kubelet import happened as h
from kubelet.admission import Room, admit, pod_requests
from kubelet.checkpoint import CheckpointFiles, keep, restore
from kubelet.model import CrashBackoff, Stage, StopRequest, Volumes, Waiting
from kubelet.worker import merge_desired
from tests.builders import make_container, make_pod, make_sidecar, new_state, started

pytestmark = pytest.mark.pure

ROOM = Room({"cpu": "2", "memory": "1Gi", "pods": "3"}, ("net.core.*", "kernel.msgmax"))


# Checkpoints


def test_checkpoint_brings_back_what_the_runtime_cannot_tell(tmp_path: Path) -> None:
    sim = started(make_pod("a", init=[make_sidecar("s", post_start=True)], grace=44)).exit("a", 2)
    sim.feed(h.ProbeSettled("a", sim.running("a").id, "readiness", True))
    stop = StopRequest(100.0, 130.0, "Evicted", "memory is low", "Failed")
    state = replace(sim.state, stop=stop, stage=Stage.TERMINATING, wanted=False)
    files = CheckpointFiles(tmp_path / "pods")
    assert files.read_all() == []
    files.write(keep(state, {"phase": "Running"}, "/manifests/web.yaml"), 1, sync=True)
    (kept,) = CheckpointFiles(tmp_path / "pods").read_all()
    back = restore(kept)
    assert (kept.origin, kept.status) == ("/manifests/web.yaml", {"phase": "Running"})
    for name in ("uid", "pod", "stage", "wanted", "start_time", "stop", "ips", "sandbox_attempts"):
        assert getattr(back, name) == getattr(state, name), name
    memory = back.memory("a")
    assert memory.backoff == CrashBackoff(10.0, sim.wall) and memory.restart_count == 1
    assert memory.last_exit is not None and memory.last_exit.exit_code == 2
    assert memory.ready_id == sim.running("a").id
    assert back.memory("s").post_start_id == sim.running("s").id
    assert back.volumes is Volumes.NONE, "mounts are made again"


def test_released_volumes_and_a_rejection_are_kept(tmp_path: Path) -> None:
    rejected = Waiting("OutOfcpu", "Pod was rejected: no room")
    state = new_state(make_pod("a"), rejected=rejected, volumes=Volumes.RELEASED, stage=Stage.TERMINATED)
    back = restore(keep(state, {}, ""))
    assert back.rejected == rejected and back.volumes is Volumes.RELEASED


@pytest.mark.parametrize("text", ["", "{ not json", '{"uid": 3}', '{"uid": "x", "format": 99}'])
def test_checkpoint_that_cannot_be_read_is_set_aside_and_the_others_are_read(
    tmp_path: Path, text: str
) -> None:
    files = CheckpointFiles(tmp_path)
    files.write(keep(new_state(make_pod("a")), {}, ""), 1, sync=False)
    (tmp_path / "bad.json").write_text(text)
    (tmp_path / "half.tmp").write_text("{")
    assert [kept.uid for kept in files.read_all()] == ["uid-1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.corrupt", "uid-1.json"]


def test_older_checkpoint_that_arrives_late_is_dropped(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path)
    older, newer = (keep(new_state(make_pod("a"), start_time=at), {}, "") for at in (1.0, 2.0))
    files.write(newer, 2, sync=False)
    files.write(older, 1, sync=False)
    assert files.read_all() == [newer]
    files.remove("uid-1", 4)
    files.write(older, 3, sync=True)
    assert files.read_all() == []


def test_unchanged_checkpoint_is_not_written_again_unless_it_must_reach_the_disk(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path)
    kept = keep(new_state(make_pod("a")), {}, "")
    files.write(kept, 1, sync=False)
    first = (tmp_path / "uid-1.json").stat().st_ino
    files.write(kept, 2, sync=False)
    assert (tmp_path / "uid-1.json").stat().st_ino == first
    files.write(kept, 3, sync=True)
    assert files.read_all() == [kept]


# The slot


CHANGED = h.DesiredChanged(make_pod("a"))


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        (CHANGED, h.DesiredChanged(make_pod("b")), h.DesiredChanged(make_pod("b"))),
        (CHANGED, h.DesiredRemoved(3), h.DesiredRemoved(3)),
        (h.DesiredRemoved(3), CHANGED, h.DesiredRemoved(3)),
        (h.DesiredRemoved(3), h.DesiredRemoved(9), h.DesiredRemoved(3)),
        (h.DesiredRemoved(9), h.DesiredRemoved(3), h.DesiredRemoved(3)),
        (h.DesiredRemoved(None), h.DesiredRemoved(3), h.DesiredRemoved(3)),
        (h.DesiredRemoved(None), h.DesiredRemoved(None), h.DesiredRemoved(None)),
    ],
)
def test_removal_is_never_replaced_and_its_grace_only_shrinks(old: Any, new: Any, merged: Any) -> None:
    assert merge_desired(old, new) == merged


# Admission


def sized(name: str, cpu: str = "", memory: str = "", **fields: Any) -> Container:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return make_container(name, resources=ResourceRequirements(requests=requests), **fields)


def test_requests_of_a_pod_are_its_peak() -> None:
    pod = make_pod(
        sized("a", "500m", "100Mi"),
        sized("b", "250m"),
        init=[
            sized("s", "100m", restart_policy="Always"),
            sized("i", "2", "10Mi"),
            sized("t", "50m", restart_policy="Always"),
        ],
        overhead={"cpu": "10m"},
    )
    assert pod_requests(pod) == {"cpu": 2100 + 10, "memory": 100 << 20}


def test_pod_that_fits_is_taken_up_to_the_last_millicore() -> None:
    others = [make_pod(sized("a", "1500m"))]
    assert admit(make_pod(sized("b", "500m")), others, ROOM) is None
    refused = admit(make_pod(sized("b", "501m")), others, ROOM)
    assert refused == Waiting(
        "OutOfcpu",
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000",
    )


def test_node_takes_no_more_pods_than_it_says() -> None:
    refused = admit(make_pod("a"), [make_pod("b")] * 3, ROOM)
    assert refused is not None and refused.reason == "OutOfpods"
    assert admit(make_pod("a"), [make_pod("b")] * 2, ROOM) is None


def with_port(ip: str | None = None, protocol: str | None = None, number: int = 80) -> Container:
    port = ContainerPort(container_port=number, host_port=number, host_ip=ip, protocol=protocol)
    return make_container("a", ports=(port,))


@pytest.mark.parametrize(
    ("mine", "other", "taken"),
    [
        (with_port(), with_port(), True),
        (with_port("10.0.0.1"), with_port(), True),
        (with_port("10.0.0.1"), with_port("10.0.0.1"), True),
        (with_port("10.0.0.1"), with_port("10.0.0.2"), False),
        (with_port(protocol="UDP"), with_port(protocol="TCP"), False),
        (with_port(number=81), with_port(), False),
    ],
)
def test_host_ports_are_taken_by_address_protocol_and_number(
    mine: Container, other: Container, taken: bool
) -> None:
    refused = admit(make_pod(mine), [make_pod(other)], ROOM)
    assert (refused is not None) is taken
    assert refused is None or refused.reason == "NodePorts"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("net.ipv4.tcp_syncookies", True),
        ("net/ipv4/tcp_syncookies", True),
        ("net.core.somaxconn", True),
        ("kernel.msgmax", True),
        ("kernel.msgmaxx", False),
        ("vm.swappiness", False),
    ],
)
def test_only_safe_and_allowed_sysctls_are_taken(name: str, allowed: bool) -> None:
    context = PodSecurityContext(sysctls=(Sysctl(name=name, value="1"),))
    refused = admit(make_pod("a", security_context=context), [], ROOM)
    assert (refused is None) is allowed
    assert refused is None or refused == Waiting(
        "SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{name}" not allowlisted'
    )


def test_pod_for_another_operating_system_is_refused() -> None:
    by_field = admit(make_pod("a", os=PodOS(name="windows")), [], ROOM)
    by_label = admit(make_pod("a", node_selector={"kubernetes.io/os": "windows"}), [], ROOM)
    assert by_field is not None and by_field.reason == "PodOSNotSupported"
    assert by_label is not None and by_label.reason == "PodOSSelectorNodeLabelDoesNotMatch"
    assert admit(make_pod("a", os=PodOS(name="linux")), [], ROOM) is None
