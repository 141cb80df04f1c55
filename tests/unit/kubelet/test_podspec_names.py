"""Labels, annotations, hashes and paths that other programs rely on."""

from __future__ import annotations

import msgspec
import pytest

from kube.objects.core_v1 import Container, Pod
from kubelet.podspec import names
from kubelet.podspec.names import PodIdentity

pytestmark = pytest.mark.pure

POD = msgspec.convert(
    {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "u1",
            "labels": {"app": "x", "io.kubernetes.pod.uid": "liar"},
            "deletionGracePeriodSeconds": 7,
        },
        "spec": {
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox:1.35",
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}],
                    "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "x"]}}},
                }
            ],
        },
    },
    Pod,
)


def test_the_hash_of_a_container_is_upstreams() -> None:
    # The value upstream's own test pins (pkg/kubelet/container/helpers_test.go).
    assert names.container_hash(Container(name="test_container", image="foo/image:v1")) == "8e45cbd0"


def test_only_name_and_image_count_in_the_hash() -> None:
    first = Container(name="c", image="a", args=("1",))
    assert names.container_hash(first) == names.container_hash(Container(name="c", image="a", args=("2",)))
    assert names.container_hash(first) != names.container_hash(Container(name="c", image="b"))


def test_sandbox_labels_cannot_be_forged_by_the_pods_own() -> None:
    assert names.pod_labels(POD) == {
        "app": "x",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": "u1",
    }


def test_annotations_carry_what_a_restarted_agent_needs() -> None:
    container = POD.spec.containers[0]
    assert names.container_annotations(POD, container, 3, {"from-device": "1"}) == {
        "from-device": "1",
        "io.kubernetes.container.hash": names.container_hash(container),
        "io.kubernetes.container.restartCount": "3",
        "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
        "io.kubernetes.container.terminationMessagePolicy": "File",
        "io.kubernetes.pod.deletionGracePeriod": "7",
        "io.kubernetes.pod.terminationGracePeriod": "30",
        "io.kubernetes.container.preStopHandler": '{"exec":{"command":["sh","-c","x"]}}',
        "io.kubernetes.container.ports": '[{"containerPort":80,"hostPort":8080,"protocol":"TCP"}]',
    }


def test_what_was_written_is_read_back() -> None:
    container = POD.spec.containers[0]
    annotations = names.container_annotations(POD, container, 3)
    facts = names.container_facts(names.container_labels(POD, container), annotations)
    assert facts is not None
    assert facts.pod == PodIdentity("web", "shop", "u1")
    assert (facts.container_name, facts.restart_count) == ("c", 3)
    assert (facts.termination_grace_seconds, facts.deletion_grace_seconds) == (30, 7)
    handler = facts.pre_stop()
    assert handler is not None
    assert handler == (container.lifecycle.pre_stop if container.lifecycle else None)
    assert names.container_ports(annotations) == container.ports


def test_strangers_and_nonsense_are_not_taken_for_pods() -> None:
    assert names.pod_identity({"app": "x"}) is None
    labels = {"io.kubernetes.pod.uid": "u", "io.kubernetes.container.name": "c"}
    facts = names.container_facts(
        labels,
        {"io.kubernetes.container.restartCount": "x", "io.kubernetes.container.preStopHandler": "{"},
    )
    assert facts is not None
    assert (facts.restart_count, facts.pre_stop()) == (None, None)
    assert names.container_facts({"io.kubernetes.pod.uid": "u"}, {}) is None


def test_paths_are_those_other_tools_read() -> None:
    pod = PodIdentity("web", "shop", "u1")
    assert names.pod_log_dir("/var/log/pods", pod) == "/var/log/pods/shop_web_u1"
    assert names.parse_pod_log_dir("shop_web_u1") == pod
    assert names.parse_pod_log_dir("shop_web") is None
    assert names.container_log_path("c", 2) == "c/2.log"
    link = names.container_log_symlink("/var/log/containers", pod, "c", "abc")
    assert link == "/var/log/containers/web_shop_c-abc.log"
    assert names.etc_hosts_path("/var/lib/kubelet", "u1") == "/var/lib/kubelet/pods/u1/etc-hosts"


def test_a_log_link_fits_into_a_file_name() -> None:
    link = names.container_log_symlink("/x", PodIdentity("p" * 200, "n" * 60, "u"), "c", "f" * 64)
    name = link.removeprefix("/x/")
    assert len(name) == 255
    assert name.endswith(".log")


def test_the_termination_file_is_the_same_for_the_same_attempt() -> None:
    first = names.termination_file("/r", "u1", "c", 0)
    prefix, _, token = first.rpartition("/")
    assert prefix == "/r/pods/u1/containers/c"
    assert len(token) == 8
    int(token, 16)
    assert first == names.termination_file("/r", "u1", "c", 0)
    assert first != names.termination_file("/r", "u1", "c", 1)


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ([], 0),
        (["0.log"], 1),
        (["0.log", "10.log", "9.log.20260101-000000.gz"], 11),
        (["2.log.20260101-000000", "x.log", "3.logs"], 3),
    ],
)
def test_the_restart_count_goes_on_from_the_log_directory(files: list[str], count: int) -> None:
    assert names.restart_count_from_logs(files) == count
