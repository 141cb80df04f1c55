"""restartPolicyRules on real containers: one container's exit code restarts it, or the whole pod."""

from __future__ import annotations

import pytest

from tests.cluster.clusters import Kubectl
from tests.cluster.kubectl import IMAGE, at_rest, put

pytestmark = pytest.mark.cluster

# Asks for a new beginning once, and then stays.
ASKS = (
    "if [ ! -e /shared/asked ]; then touch /shared/asked; exit 42; fi; "
    "trap exit TERM; while :; do sleep 0.1; done"
)


def test_exit_code_has_the_whole_pod_begin_anew(kubectl: Kubectl, namespace: str) -> None:
    mount = [{"name": "shared", "mountPath": "/shared"}]
    pod = at_rest("web", restartPolicy="Never", container={"volumeMounts": mount})
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    pod["spec"]["volumes"] = [{"name": "shared", "emptyDir": {}}]
    pod["spec"]["containers"].append(
        {
            "name": "asks", "image": IMAGE, "command": ["sh", "-c", ASKS], "volumeMounts": mount,
            "restartPolicy": "Never", "restartPolicyRules": [rule],
        }
    )  # fmt: skip
    setup = ["sh", "-c", "echo x >> /shared/setups"]
    pod["spec"]["initContainers"] = [
        {"name": "setup", "image": IMAGE, "command": setup, "volumeMounts": mount}
    ]
    put(kubectl, namespace, pod)
    for place in ("initContainerStatuses[0]", "containerStatuses[0]", "containerStatuses[1]"):
        counted = f"--for=jsonpath={{.status.{place}.restartCount}}=1"
        kubectl("wait", "-n", namespace, "pod/web", counted, "--timeout=30s")
    kubectl("wait", "-n", namespace, "pod/web", "--for=condition=Ready", "--timeout=30s")
    assert kubectl("exec", "-n", namespace, "web", "-c", "asks", "--", "cat", "/shared/setups") == "x\nx\n"
    shown = kubectl.json("get", "-n", namespace, "pod", "web")["status"]
    conditions = {one["type"]: one["status"] for one in shown["conditions"]}
    assert shown["phase"] == "Running" and conditions["AllContainersRestarting"] == "False"
    logs = kubectl("logs", "-n", namespace, "web", "-c", "main")
    assert logs == "web is ready\n"
