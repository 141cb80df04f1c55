"""What a container finds inside when it was described by us: a real runtime, the container's own words."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aio.executors import Executors
from cri.wire import Runtime, connect
from kube.objects.core_v1 import Pod
from kubelet.podspec.container_config import container_config
from kubelet.podspec.context import ContainerContext, NodeFacts, SandboxContext
from kubelet.podspec.downward import DownwardFacts
from kubelet.podspec.env import NoObjects, container_env
from kubelet.podspec.names import container_facts
from kubelet.podspec.resolv import ResolvConf
from kubelet.podspec.sandbox_config import sandbox_config
from kubelet.termination import read_termination_message
from kubelet.volumes.mountinfo import mounts_below
from kubelet.volumes.mounting import LinuxMounter
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import MountWishes, PodVolumes
from tests.runtimes import PrivateContainerd

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/busybox:1.35"
SCRIPT = "trap 'exit 3' TERM; echo bye > /dev/termination-log; while true; do sleep 0.1; done"


@dataclass(frozen=True)
class Running:
    """One pod with one container, and a shell in it."""

    node: Runtime
    pod: Pod
    container_id: str

    async def sh(self, script: str) -> str:
        answer = await self.node.runtime.exec_sync(self.container_id, ("sh", "-c", script), 10)
        return (answer.stdout + answer.stderr).decode()


def make_pod(container: dict[str, Any], **spec: Any) -> Pod:
    box = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", SCRIPT],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
    }
    metadata = {"name": "web", "namespace": "shop", "uid": "podspec-u1", "labels": {"app": "x"}}
    body = {"dnsPolicy": "ClusterFirst", **spec, "containers": [box]}
    return msgspec.convert({"metadata": metadata, "spec": body}, Pod)


@asynccontextmanager
async def running(endpoint: str, root: Path, pod: Pod) -> AsyncIterator[Running]:
    """Bring the pod up as the agent does, and take it down again with nothing left mounted."""
    facts = NodeFacts(
        "n1",
        node_ips=("192.168.7.7",),
        root_dir=str(root / "kubelet"),
        pod_logs_dir=str(root / "logs"),
        allocatable={"memory": "256Mi", "cpu": "2"},
        memory_capacity_bytes=1 << 30,
        cluster_domain="c.l",
        cluster_dns=("10.96.0.10",),
        resolv_conf=ResolvConf(("9.9.9.9",), ("corp",)),
        cgroup_v2=False,
    )
    mounter = LinuxMounter()
    volumes = PodVolumes(builtin_plugins(mounter, lambda: facts), mounter, Executors(), lambda: facts)
    node = await connect(endpoint)
    container = pod.spec.containers[0]
    sandbox = ""
    try:
        await volumes.mount_all(pod)
        config = sandbox_config(pod, 0, SandboxContext(facts))
        sandbox = await node.runtime.run_pod_sandbox(config)
        status = (await node.runtime.pod_sandbox_status(sandbox)).status
        ips = (status.network.ip,) if status.network.ip else facts.node_ips
        envs = container_env(
            pod, container, DownwardFacts("n1", facts.node_ips, ips, facts.allocatable), NoObjects()
        )
        mounts = await volumes.container_mounts(pod, container, MountWishes(0, ips, envs))
        ctx = ContainerContext(facts, IMAGE, envs=tuple(envs.items()), mounts=mounts)
        made = await node.runtime.create_container(sandbox, container_config(pod, container, 0, ctx), config)
        await node.runtime.start_container(made)
        yield Running(node, pod, made)
    finally:
        if sandbox:
            await node.runtime.stop_pod_sandbox(sandbox)
            await node.runtime.remove_pod_sandbox(sandbox)
        await volumes.unmount_all(pod.metadata.uid)
        await volumes.remove_pod_dir(pod.metadata.uid)
        await node.close()
        assert mounts_below(mounter.table(str(root)), str(root)) == ()


@pytest.mark.asyncio
async def test_a_container_finds_what_its_pod_says(runtime: PrivateContainerd, tmp_path: Path) -> None:
    pod = make_pod(
        {
            "env": [
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "BOTH", "value": "$(POD)-$$(POD)"},
            ],
            "volumeMounts": [
                {"name": "mem", "mountPath": "/mem"},
                {"name": "me", "mountPath": "/me"},
                {"name": "disk", "mountPath": "/sub", "subPathExpr": "$(POD)/deep"},
                {"name": "disk", "mountPath": "/ro", "readOnly": True},
            ],
        },
        hostname="h",
        subdomain="s",
        setHostnameAsFQDN=True,
        hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias"]}],
        securityContext={"fsGroup": 3000, "sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "0"}]},
        volumes=[
            {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "disk", "emptyDir": {}},
            {
                "name": "me",
                "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]},
            },
        ],
    )
    async with running(runtime.endpoint, tmp_path, pod) as box:
        ip = (await box.sh("echo -n $IP")).strip()
        assert await box.sh("echo $POD $BOTH; hostname; cat /me/l") == (
            'web web-$(POD)\nh.s.shop.svc.c.l\napp="x"'
        )
        assert (await box.sh("cat /etc/hosts")).endswith(
            f"{ip}\th.s.shop.svc.c.l\th\n\n# Entries added by HostAliases.\n1.2.3.4\talias\n"
        )
        assert await box.sh("cat /etc/resolv.conf") == textwrap.dedent("""\
            search shop.svc.c.l svc.c.l c.l corp
            nameserver 10.96.0.10
            options ndots:5
            """)
        assert await box.sh("cat /proc/sys/net/ipv4/tcp_syncookies") == "0\n"
        assert await box.sh("echo x > /sub/f; cat /ro/web/deep/f; stat -c '%a %g' /ro/web/deep /mem") == (
            "x\n2777 3000\n3777 3000\n"
        )
        assert "Read-only" in await box.sh("touch /ro/x")
        assert "No space" in await box.sh("dd if=/dev/zero of=/mem/big bs=1M count=2")
        assert "3000" in (await box.sh("id -G")).split()
        await box.node.runtime.stop_container(box.container_id, 5)
        status = (await box.node.runtime.container_status(box.container_id)).status
        facts = container_facts(status.labels, status.annotations)
        assert facts is not None
        assert (status.exit_code, read_termination_message(status, facts)) == (3, "bye\n")
        assert (tmp_path / "logs/shop_web_podspec-u1/c/0.log").exists()


@pytest.mark.asyncio
async def test_a_containers_security_context_is_what_the_kernel_enforces(
    runtime: PrivateContainerd, tmp_path: Path
) -> None:
    pod = make_pod(
        {
            "command": ["sh", "-c", "while true; do sleep 0.1; done"],
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 2000,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
        },
        hostNetwork=True,
        securityContext={"supplementalGroups": [4000]},
    )
    async with running(runtime.endpoint, tmp_path, pod) as box:
        assert await box.sh("id -u; id -g; id -G") == "1000\n2000\n2000 4000\n"
        state = await box.sh("cat /proc/1/status")
        fields = dict(line.split(":\t", 1) for line in state.splitlines() if ":\t" in line)
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
        assert int(fields["CapBnd"], 16) == 0
        assert "Read-only" in await box.sh("touch /x")
        assert await box.sh("wc -c < /proc/timer_list; wc -c < /proc/keys") == "0\n0\n"
        assert (await box.sh("cat /etc/hosts")).startswith(
            "# Kubernetes-managed hosts file (host network).\n"
        )
