"""Bad manifests, given to the real agent: said once with place and field, nothing else disturbed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.agent import AgentProcess
from tests.node.scene import agent_on, box, container_status, pod, state_of, status_of, wait_event
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node

RELIST_SECONDS = 0.2
PAD = "x" * (10 << 20)


def yaml_pod(name: str, container: str = "", spec: str = "") -> str:
    """A manifest as a person writes it: the container's name stands on line 7."""
    lines = [
        "apiVersion: v1",
        "kind: Pod",
        "metadata:",
        f"  name: {name}",
        "spec:",
        "  containers:",
        "  - name: c",
        "    image: docker.io/library/busybox:1.35",
        "    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']",
        *(f"    {line}" for line in container.splitlines()),
        *(f"  {line}" for line in spec.splitlines()),
    ]
    return "\n".join(lines) + "\n"


# File name -> content, and what the one line about it must hold after the file's path.
BAD: dict[str, tuple[bytes, str]] = {
    "tabs.yaml": (b"apiVersion: v1\nkind: Pod\n\tmetadata: {}\n", ":3: "),
    "unknown-field.yaml": (yaml_pod("unknown", "imagePolicy: Never").encode(), ":10: "),
    "wrong-type.yaml": (
        yaml_pod("wrong", "ports:\n- containerPort: many").encode(),
        ":11: spec.containers[0].ports[0].containerPort: ",
    ),
    "twins.yaml": (
        yaml_pod("twins", "", "- name: c\n  image: busybox").encode(),
        ':10: spec.containers[1].name: Duplicate value: "c"',
    ),
    "no-volume.yaml": (
        yaml_pod("novolume", "volumeMounts:\n- name: gone\n  mountPath: /x").encode(),
        ':11: spec.containers[0].volumeMounts[0].name: Not found: "gone"',
    ),
    "impossible-probe.yaml": (
        yaml_pod("probe", "livenessProbe:\n  successThreshold: 2\n  tcpSocket:\n    port: 80").encode(),
        ":11: spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    "two-handlers.yaml": (
        yaml_pod("handlers", "livenessProbe:\n  tcpSocket: {port: 80}\n  exec: {command: [x]}").encode(),
        "spec.containers[0].livenessProbe.",
    ),
    "duplicate-key.yaml": (yaml_pod("twice", "image: other:1").encode(), ":10: "),
    "service.yaml": (b"apiVersion: v1\nkind: Service\nmetadata: {name: x}\n", "Service"),
    "too-large.yaml": (f"# {PAD}\n{yaml_pod('large')}".encode(), "10485760"),
    "binary.yaml": (b"\x7fELF\x00\x01\xff\xfe\x00\x80" * 50, ":1: cannot read text"),
    "latin1.yaml": (yaml_pod("latin").encode() + b"# caf\xe9\n", ":10: cannot read text"),
    "nul.yaml": (yaml_pod("nul").encode() + b"a: \x00\n", ":10: cannot read YAML"),
    "truncated.json": (b'{"apiVersion": "v1", "kind": "Pod", "metadata": {"na', ":1: cannot read JSON"),
    "configmap-ref.yaml": (
        yaml_pod("refers", "envFrom:\n- configMapRef: {name: x}").encode(),
        "configmap",
    ),
    "hugeport.yaml": (
        yaml_pod("port", "ports:\n- containerPort: 70000").encode(),
        ":11: spec.containers[0].ports[0].containerPort: Invalid value: 70000",
    ),
    "quantity.yaml": (
        yaml_pod("quantity", "resources:\n  limits:\n    memory: 64Megs").encode(),
        "spec.containers[0].resources.limits",
    ),
}


@pytest.fixture(scope="module")
def agent(runtime: PrivateContainerd, workshop: Workshop | None) -> Iterator[AgentProcess]:
    with agent_on(runtime, workshop, {"fileCheckFrequency": f"{RELIST_SECONDS}s"}) as made:
        for name, (content, _) in BAD.items():
            (made.manifests / name).write_bytes(content)
        made.write_manifest(pod("bystander"))
        made.write_manifest(pod("missing-dir", volumes=_missing(made.root)))
        made.start()
        made.wait_pod_ready("bystander")
        yield made
        bystander = container_status(status_of(made, "bystander"))
        assert (bystander["restartCount"], bystander["ready"]) == (0, True)


def _missing(root: Path) -> list[dict[str, Any]]:
    return [{"name": "v", "hostPath": {"path": str(root / "absent"), "type": "Directory"}}]


def complaints(agent: AgentProcess, path: Path) -> list[str]:
    """The log lines that complain about one manifest."""
    lines = agent.log_path.read_text().replace('\\"', '"').splitlines()
    return [line for line in lines if "Cannot use a manifest" in line and f"{path}" in line]


def wait_complaint(agent: AgentProcess, path: Path) -> str:
    return agent.wait_for(lambda: complaints(agent, path), f"complain about {path.name}")[0]


def relists(agent: AgentProcess, count: int = 3) -> None:
    """Let the directory be listed again: what is said a second time would be said now."""
    time.sleep(count * RELIST_SECONDS)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_manifest_is_reported_with_file_line_and_field(agent: AgentProcess, name: str) -> None:
    path = agent.manifests / name
    line = wait_complaint(agent, path)
    assert f"{path}{BAD[name][1]}" in line if BAD[name][1].startswith(":") else BAD[name][1] in line, line


def test_a_missing_host_directory_holds_its_pod_and_no_other(agent: AgentProcess) -> None:
    absent = agent.root / "absent"
    message = wait_event(agent, "missing-dir", "FailedMount")
    assert f"hostPath type check failed: {absent} is not a directory" in message
    assert state_of(agent, "missing-dir")["waiting"]["reason"] == "ContainerCreating"
    absent.mkdir()  # what follows from it is looked at in the end: the retry takes its time


def test_a_bad_manifest_is_reported_once_however_often_it_is_seen(agent: AgentProcess) -> None:
    for name in BAD:
        wait_complaint(agent, agent.manifests / name)
    relists(agent)
    for name in BAD:
        (agent.manifests / name).touch()  # a new time, the same content
    relists(agent)
    often = {name: said for name in BAD if len(said := complaints(agent, agent.manifests / name)) != 1}
    assert not often
    assert set(agent.pods()) == {"bystander", "missing-dir"}


def test_a_new_fault_in_the_same_file_is_reported_again(agent: AgentProcess) -> None:
    path = agent.manifests / "changing.yaml"
    agent.write_text(path, yaml_pod("changing", "foo: 1"))
    assert 'unknown field "spec.containers[0].foo"' in wait_complaint(agent, path)
    agent.write_text(path, yaml_pod("changing", "bar: 1"))
    agent.wait_for(lambda: len(complaints(agent, path)) == 2, "report the second fault")
    assert 'unknown field "spec.containers[0].bar"' in complaints(agent, path)[1]


def test_all_faults_of_a_manifest_are_reported_together(agent: AgentProcess) -> None:
    path = agent.manifests / "many.yaml"
    faults = "imagePullPolicy: Sometimes\nvolumeMounts:\n- name: gone\n  mountPath: /x"
    agent.write_text(path, yaml_pod("Many_Names", faults))
    wait_complaint(agent, path)
    said = complaints(agent, path)
    fields = (
        "metadata.name",
        "spec.containers[0].imagePullPolicy",
        "spec.containers[0].volumeMounts[0].name",
    )
    assert [sum(field in line for line in said) for field in fields] == [1, 1, 1], said


def test_mending_a_manifest_starts_its_pod(agent: AgentProcess) -> None:
    path = agent.manifests / "mended.yaml"
    agent.write_text(path, yaml_pod("mended", "imagePolicy: Never"))
    wait_complaint(agent, path)
    assert "mended" not in agent.pods()
    agent.write_text(path, yaml_pod("mended"))
    agent.wait_pod_ready("mended")


def _retyped(text: str) -> str:
    return text.replace("containers:", "containers: 7 #")


def _cut(text: str) -> str:
    return text[: text.index("-c,")]


def _garbled(text: str) -> str:
    return text + "\n\x00\x01 [[["


@pytest.mark.parametrize("breaks", [_retyped, _garbled, _cut])
def test_breaking_the_manifest_of_a_running_pod_leaves_it_running(
    agent: AgentProcess, breaks: Callable[[str], str]
) -> None:
    name = f"broken{breaks.__name__.replace('_', '-')}"
    path = agent.manifests / f"{name}.yaml"
    good = yaml_pod(name, "terminationMessagePath: /dev/m", "terminationGracePeriodSeconds: 1")
    agent.write_text(path, good)
    agent.wait_pod_ready(name)
    before = container_status(status_of(agent, name))["containerID"]
    agent.write_text(path, breaks(good))
    wait_complaint(agent, path)
    relists(agent)
    assert container_status(status_of(agent, name))["containerID"] == before
    # The same text again: the very same pod.
    agent.write_text(path, good)
    relists(agent)
    assert container_status(status_of(agent, name))["containerID"] == before
    # Broken once more, and then removed: the pod goes.
    agent.write_text(path, breaks(good))
    relists(agent, 1)
    path.unlink()
    agent.wait_for(lambda: name not in agent.pods(), f"let go of {name}")


def test_a_pod_whose_manifest_broke_survives_a_restart_of_the_agent(agent: AgentProcess) -> None:
    path = agent.manifests / "survivor.yaml"
    good = yaml_pod("survivor", "", "terminationGracePeriodSeconds: 1")
    agent.write_text(path, good)
    agent.wait_pod_ready("survivor")
    before = container_status(status_of(agent, "survivor"))["containerID"]
    agent.write_text(path, _garbled(good))
    wait_complaint(agent, path)
    assert agent.stop() == 0
    agent.start()
    agent.wait_for(lambda: len(complaints(agent, path)) == 2, "complain after its restart as well")
    agent.wait_pod_ready("bystander")
    relists(agent)
    assert container_status(status_of(agent, "survivor"))["containerID"] == before
    agent.write_text(path, good)
    relists(agent)
    after = container_status(status_of(agent, "survivor"))
    assert (after["containerID"], after["restartCount"]) == (before, 0)
    path.unlink()
    agent.wait_for(lambda: "survivor" not in agent.pods(), "let go of it")


def test_two_manifests_of_one_pod_run_the_first_and_name_the_other(agent: AgentProcess) -> None:
    agent.write_manifest(pod("shared", box(script="sleep 1000 & wait")), name="shared-1")
    agent.wait_pod_ready("shared")
    uid = agent.uid("shared")
    second = agent.write_manifest(pod("shared"), name="shared-2")
    assert 'duplicate pod name "shared-n1"' in wait_complaint(agent, second)
    relists(agent)
    assert len(complaints(agent, second)) == 1
    assert agent.uid("shared") == uid
    second.unlink()


def test_files_that_are_no_manifests_are_left_alone(agent: AgentProcess) -> None:
    hidden = {".hidden.yaml": "{", "backup.yaml~": "["}
    for name, text in hidden.items():
        (agent.manifests / name).write_text(text)
    (agent.manifests / "directory.yaml").mkdir()
    (agent.manifests / "dangling.yaml").symlink_to("nowhere")
    agent.write_manifest(pod("after-those"))
    agent.wait_pod_ready("after-those")
    relists(agent)
    assert not [name for name in hidden if complaints(agent, agent.manifests / name)]
    for name in hidden:
        (agent.manifests / name).unlink()
    (agent.manifests / "directory.yaml").rmdir()
    (agent.manifests / "dangling.yaml").unlink()


def test_a_manifest_of_several_documents_gives_all_its_pods_or_none(agent: AgentProcess) -> None:
    path = agent.manifests / "several.yaml"
    first, second = json.dumps(pod("doc-1")), yaml_pod("doc-2", "foo: 1")
    agent.write_text(path, f"{first}\n---\n{second}")
    assert f"{path}:12: " in wait_complaint(agent, path)
    assert "doc-1" not in agent.pods()
    agent.write_text(path, f"{first}\n---\n{yaml_pod('doc-2')}")
    for name in ("doc-1", "doc-2"):
        agent.wait_pod_ready(name)


def test_a_missing_host_directory_is_found_once_it_is_there(agent: AgentProcess) -> None:
    assert (agent.root / "absent").is_dir()
    agent.wait_pod_ready("missing-dir")
