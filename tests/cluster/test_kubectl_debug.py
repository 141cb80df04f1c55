"""`kubectl debug` and `kubectl run -it`: a person at a terminal inside a pod, from real kubectls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.clusters import Kubectl
from tests.cluster.kubectl import IMAGE, TRANSPORTS, at_rest, in_terminal, new_namespace, put

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    """A namespace with a pod at rest."""
    with new_namespace(kubectl) as name:
        put(kubectl, name, at_rest("rest"))
        kubectl("wait", "-n", name, "pod/rest", "--for=condition=Ready", "--timeout=60s")
        yield name


@pytest.fixture(params=TRANSPORTS)
def client(request: pytest.FixtureRequest, kubectl: Kubectl) -> Kubectl:
    return kubectl.with_env(**TRANSPORTS[request.param])


def test_debug_gives_a_terminal_beside_the_processes_of_the_target(client: Kubectl, place: str) -> None:
    before = client.json("get", "-n", place, "pod", "rest")
    names = [one["name"] for one in before["spec"].get("ephemeralContainers", ())]
    words = ("debug", "-n", place, "-it", "rest", f"--image={IMAGE}", "--target=main", "--", "sh")
    with in_terminal(client, *words) as shell:
        shell.wait_for("# ")
        shell.send("echo target-$(tr '\\0' ' ' </proc/1/cmdline)-\n")
        shell.wait_for("target-sh -c ")
        shell.send("exit 4\n")
        shell.code()
    pod = client.json("get", "-n", place, "pod", "rest")
    (added,) = (one for one in pod["spec"]["ephemeralContainers"] if one["name"] not in names)
    client(
        "wait", "-n", place, "pod/rest", "--timeout=30s",
        f"--for=jsonpath={{.status.ephemeralContainerStatuses[{len(names)}].state.terminated.exitCode}}=4",
    )  # fmt: skip
    assert "target-sh -c " in client("logs", "-n", place, "rest", "-c", added["name"])
    (main,) = pod["status"]["containerStatuses"]
    assert main["restartCount"] == 0 and main["ready"]
    assert "Ephemeral Containers:" in client("describe", "-n", place, "pod", "rest")


def test_ephemeral_container_runs_on_can_be_entered_and_does_not_hold_the_pod(
    client: Kubectl, place: str
) -> None:
    put(client, place, at_rest("brief"))
    client("wait", "-n", place, "pod/brief", "--for=condition=Ready", "--timeout=60s")
    words = ("debug", "-n", place, "brief", f"--image={IMAGE}", "-c", "aside", "--", "sleep", "1000")
    client(*words)
    client(
        "wait", "-n", place, "pod/brief", "--timeout=30s",
        "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}",
    )  # fmt: skip
    assert client("exec", "-n", place, "brief", "-c", "aside", "--", "cat", "/proc/1/comm") == "sleep\n"
    client("delete", "-n", place, "pod", "brief", "--grace-period=1", "--timeout=30s")


def test_run_gives_a_terminal_and_removes_the_pod_behind_it(client: Kubectl, place: str) -> None:
    words = ("run", "-n", place, "seat", "-it", "--rm", "--restart=Never", f"--image={IMAGE}", "--", "sh")
    with in_terminal(client, *words, rows=33, columns=99) as shell:
        shell.wait_for("# ")
        shell.send("stty size\n")
        shell.wait_for("33 99")
        shell.send("exit\n")
        assert shell.code() == 0
        assert 'pod "seat" deleted' in shell.said
    assert client.run("get", "-n", place, "pod", "seat", check=False).returncode == 1
