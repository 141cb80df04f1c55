"""What a container finds inside, run by the real agent from manifests: all pods at once, then asked.

Each pod prints what it sees and then END; a test compares that with what a Kubernetes user expects.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.agent import NODE_NAME, AgentProcess
from tests.node.scene import (
    FOREVER,
    Json,
    agent_on,
    box,
    events_of,
    output,
    pod,
    state_of,
    status_of,
    wait_event,
    wait_output,
    wait_phase,
    wait_waiting,
)
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node

SETTINGS: Json = {
    "clusterDomain": "lab.local",
    "clusterDNS": ["10.96.0.10"],
    "allowedUnsafeSysctls": ["net.core.somaxconn"],
}


def says(script: str, **fields: Any) -> Json:
    """A container that prints, says END, and runs on."""
    return box(script=f"{script}\necho END\n{FOREVER}", **fields)


def field(path: str) -> Json:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource(name: str, divisor: str = "") -> Json:
    reference = {"resource": name, **({"divisor": divisor} if divisor else {})}
    return {"valueFrom": {"resourceFieldRef": reference}}


def environment_pod() -> Json:
    env: list[Json] = [
        {"name": "PLAIN", "value": "x y"},
        {"name": "REFERS", "value": "$(PLAIN)-$(NOPE)-$$(PLAIN)"},
        {"name": "POD", **field("metadata.name")},
        {"name": "NS", **field("metadata.namespace")},
        {"name": "LABEL", **field("metadata.labels['app']")},
        {"name": "NODE", **field("spec.nodeName")},
        {"name": "POD_IP", **field("status.podIP")},
        {"name": "CPU", **resource("limits.cpu", "1m")},
        {"name": "MEM", **resource("requests.memory", "1Mi")},
    ]
    names = "PLAIN REFERS POD NS LABEL NODE POD_IP CPU MEM"
    script = f'for n in {names}; do eval "echo $n=\\$$$n"; done; echo "args=$*"; echo "zero=$0"'
    container = says(script, env=env, args=["zero", "$(POD)", "two words"], workingDir="/tmp")
    container["resources"] = {"limits": {"cpu": "500m", "memory": "64Mi"}}
    return pod("environment", container, metadata={"labels": {"app": "shop"}})


def downward_volume_pod() -> Json:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "deep/name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
    ]
    container = says(
        "cat /info/labels; echo; cat /info/deep/name; echo; cat /info/cpu; echo; stat -Lc %a /info/deep/name",
        volumeMounts=[{"name": "info", "mountPath": "/info"}],
        resources={"limits": {"cpu": "2"}, "requests": {"cpu": "10m"}},
    )
    volumes = [{"name": "info", "downwardAPI": {"items": items}}]
    return pod("downward", container, metadata={"labels": {"b": "2", "a": "1"}}, volumes=volumes)


def names_pods() -> list[Json]:
    script = "hostname; hostname -f 2>/dev/null || echo none; cat /etc/hosts"
    return [
        pod(
            "names",
            says(script),
            hostname="web",
            subdomain="sub",
            hostAliases=[{"ip": "1.2.3.4", "hostnames": ["one", "two"]}],
        ),
        pod("dns-cluster", says("cat /etc/resolv.conf"), dnsPolicy="ClusterFirst"),
        pod(
            "dns-none",
            says("cat /etc/resolv.conf"),
            dnsPolicy="None",
            dnsConfig={
                "nameservers": ["9.9.9.9"],
                "searches": ["a.b"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            },
        ),
        pod("dns-default", says("cat /etc/resolv.conf"), dnsPolicy="Default"),
    ]


def volume_pod(root: Path) -> Json:
    for name in ("given", "given/sub", "readonly"):
        (root / name).mkdir()
    (root / "file.txt").write_text("content\n")
    mounts = [
        {"name": "disk", "mountPath": "/disk"},
        {"name": "disk", "mountPath": "/part", "subPath": "inner/part"},
        {"name": "disk", "mountPath": "/expr", "subPathExpr": "of-$(POD)"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "made", "mountPath": "/made"},
        {"name": "file", "mountPath": "/file"},
        {"name": "newfile", "mountPath": "/newfile"},
        {"name": "given", "mountPath": "/given", "subPath": "sub"},
        {"name": "readonly", "mountPath": "/readonly", "readOnly": True},
    ]
    script = """
        echo a > /part/f; cat /disk/inner/part/f; echo b > /expr/f; cat /disk/of-volumes-n1/f
        stat -c '%a %g' /disk; grep ' /memory ' /proc/mounts | cut -d' ' -f3
        df -k /memory | tail -1 | awk '{print $2}'
        dd if=/dev/zero of=/memory/big bs=1M count=3 2>&1 | grep -c 'No space'
        cat /file; echo n > /newfile; echo g > /given/f; id -G
        touch /readonly/x 2>&1 | grep -c Read-only"""
    writer = says(script, volumeMounts=mounts, env=[{"name": "POD", **field("metadata.name")}])
    reader = box("other", f"until cat /disk/inner/part/f; do sleep 0.05; done; echo END; {FOREVER}")
    reader["volumeMounts"] = mounts[:1]
    return pod(
        "volumes",
        writer,
        reader,
        securityContext={"fsGroup": 2345},
        volumes=[
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}},
            {"name": "made", "hostPath": {"path": str(root / "made/deep"), "type": "DirectoryOrCreate"}},
            {"name": "file", "hostPath": {"path": str(root / "file.txt"), "type": "File"}},
            {"name": "newfile", "hostPath": {"path": str(root / "new.txt"), "type": "FileOrCreate"}},
            {"name": "given", "hostPath": {"path": str(root / "given"), "type": "Directory"}},
            {"name": "readonly", "hostPath": {"path": str(root / "readonly")}},
        ],
    )


def namespace_pods() -> list[Json]:
    script = "echo pid $$$$; ls -d /proc/[0-9]* | wc -l; readlink /proc/self/ns/net; hostname"
    return [
        pod("host-network", says(script, ports=[{"containerPort": 18431}]), hostNetwork=True),
        pod("host-pid", says("cat /proc/1/comm; readlink /proc/self/ns/pid"), hostPID=True),
        pod("host-ipc", says("readlink /proc/self/ns/ipc"), hostIPC=True),
        pod(
            "shared-pids",
            says(
                "until grep -qs marker-of-[o]ther /proc/[0-9]*/cmdline; do sleep 0.05; done; cat /proc/1/comm"
            ),
            box("other", f": marker-of-other; {FOREVER}"),
            shareProcessNamespace=True,
        ),
    ]


def security_pods() -> list[Json]:
    who = "id -u; id -g; id -G; grep CapEff /proc/self/status; touch /x 2>&1 || echo refused"
    return [
        pod(
            "confined",
            says(
                f"{who}; grep NoNewPrivs /proc/self/status",
                securityContext={
                    "runAsNonRoot": True,
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            ),
            securityContext={"runAsUser": 1001, "runAsGroup": 1002, "supplementalGroups": [1003]},
        ),
        pod(
            "capable",
            says(
                "grep CapBnd /proc/self/status",
                securityContext={"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
            ),
        ),
        pod(
            "privileged",
            says(
                "grep CapBnd /proc/self/status; ls /dev/mem /dev/loop-control /dev/kmsg 2>/dev/null | wc -l",
                securityContext={"privileged": True},
            ),
        ),
        pod("root-refused", box(), securityContext={"runAsNonRoot": True}),
        pod("root-named", box(securityContext={"runAsNonRoot": True, "runAsUser": 0})),
        pod(
            "sysctls",
            says("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn"),
            securityContext={
                "sysctls": [
                    {"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"},
                    {"name": "net.core.somaxconn", "value": "777"},
                ]
            },
        ),
        pod(
            "sysctl-forbidden",
            securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]},
        ),
    ]


@pytest.fixture(scope="module")
def agent(runtime: PrivateContainerd, workshop: Workshop | None) -> Iterator[AgentProcess]:
    with agent_on(runtime, workshop, SETTINGS) as made:
        for manifest in (
            environment_pod(),
            downward_volume_pod(),
            *names_pods(),
            volume_pod(made.root),
            *namespace_pods(),
            *security_pods(),
        ):
            made.write_manifest(manifest)
        made.start("--node-ip=127.0.0.1")
        yield made


def link(path: str) -> str:
    return str(Path(path).readlink())


def fields_of(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_environment_and_arguments_are_expanded_as_kubernetes_does(agent: AgentProcess) -> None:
    found = fields_of(wait_output(agent, "environment"))
    assert found == {
        "PLAIN": "x y",
        "REFERS": "x y-$(NOPE)-$(PLAIN)",
        "POD": f"environment-{NODE_NAME}",
        "NS": "default",
        "LABEL": "shop",
        "NODE": NODE_NAME,
        "POD_IP": status_of(agent, "environment")["podIP"],
        "CPU": "500",
        "MEM": "64",  # a request that is not given is the limit
        "args": f"environment-{NODE_NAME} two words",
        "zero": "zero",
    }


def test_downward_api_volume_holds_metadata_and_resources(agent: AgentProcess) -> None:
    lines = wait_output(agent, "downward")
    assert lines == ['a="1"', 'b="2"', f"downward-{NODE_NAME}", "2", "400"]


def test_hostname_subdomain_and_aliases_stand_in_the_hosts_file(agent: AgentProcess) -> None:
    lines = wait_output(agent, "names")
    ip = status_of(agent, "names")["podIP"]
    assert lines[0] == "web"
    assert f"{ip}\tweb.sub.default.svc.lab.local\tweb" in lines
    assert "1.2.3.4\tone\ttwo" in lines
    assert "127.0.0.1\tlocalhost" in lines


def test_resolv_conf_follows_the_dns_policy(agent: AgentProcess) -> None:
    cluster = wait_output(agent, "dns-cluster")
    assert cluster[0].startswith("search default.svc.lab.local svc.lab.local lab.local")
    assert cluster[1:] == ["nameserver 10.96.0.10", "options ndots:5"]
    assert wait_output(agent, "dns-none") == ["search a.b", "nameserver 9.9.9.9", "options ndots:2 edns0"]
    servers = [line for line in wait_output(agent, "dns-default") if line.startswith("nameserver")]
    host = [line.strip() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    assert servers == [line for line in host if line.startswith("nameserver")][:3]


def test_volumes_are_shared_sized_owned_and_read_only_as_asked(agent: AgentProcess) -> None:
    lines = wait_output(agent, "volumes")
    assert lines[:7] == ["a", "b", "2777 2345", "tmpfs", "2048", "1", "content"]
    assert "2345" in lines[7].split()
    assert lines[8] == "1"  # nothing can be written to a read-only mount
    assert wait_output(agent, "volumes", container="other")[-1] == "a"
    root = agent.root
    assert (root / "made/deep").is_dir()
    assert (root / "new.txt").read_text() == "n\n"
    assert stat.S_IMODE((root / "new.txt").stat().st_mode) == 0o644
    assert (root / "given/sub/f").read_text() == "g\n"
    assert not (root / "readonly/x").exists()


def test_host_namespaces_are_shared_when_asked(agent: AgentProcess) -> None:
    pid, _, network, hostname = wait_output(agent, "host-network")
    assert (pid, network, hostname) == ("pid 1", link("/proc/self/ns/net"), os.uname().nodename)
    status = status_of(agent, "host-network")
    assert (status["podIP"], status["hostIP"]) == ("127.0.0.1", "127.0.0.1")
    comm, namespace = wait_output(agent, "host-pid")
    assert (comm, namespace) == (Path("/proc/1/comm").read_text().strip(), link("/proc/self/ns/pid"))
    assert wait_output(agent, "host-ipc") == [link("/proc/self/ns/ipc")]
    assert wait_output(agent, "shared-pids") == ["pause"]  # it is everybody's parent


def test_a_confined_container_is_what_its_security_context_says(agent: AgentProcess) -> None:
    lines = wait_output(agent, "confined")
    assert lines[:2] == ["1001", "1002"]
    assert {"1002", "1003"} <= set(lines[2].split())
    assert lines[3] == "CapEff:\t0000000000000000"
    assert "Read-only file system" in lines[4]
    assert lines[-1] == "NoNewPrivs:\t1"


def test_capabilities_are_added_and_dropped(agent: AgentProcess) -> None:
    assert wait_output(agent, "capable") == [f"CapBnd:\t{1 << 10:016x}"]
    bounding, devices = wait_output(agent, "privileged")
    mine = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line)
    assert bounding == mine
    shown = [name for name in ("/dev/mem", "/dev/loop-control", "/dev/kmsg") if Path(name).exists()]
    assert int(devices) == len(shown)


def test_a_root_image_is_refused_for_a_pod_that_must_not_run_as_root(agent: AgentProcess) -> None:
    text = wait_waiting(agent, "root-refused", "CreateContainerConfigError")
    assert text.startswith("container has runAsNonRoot and image will run as root (pod: ")
    text = wait_waiting(agent, "root-named", "CreateContainerConfigError")
    assert text.startswith("container's runAsUser breaks non-root policy (pod: ")
    assert ("Failed", f"Error: {text}") in events_of(agent, "root-named")


def test_sysctls_are_set_when_safe_or_allowed_and_refused_otherwise(agent: AgentProcess) -> None:
    assert wait_output(agent, "sysctls") == ["80", "777"]
    status = wait_phase(agent, "sysctl-forbidden", "Failed")
    assert status["reason"] == "SysctlForbidden"
    assert 'forbidden sysctl: "kernel.msgmax" not allowlisted' in status["message"]
    assert wait_event(agent, "sysctl-forbidden", "SysctlForbidden")
    assert output(agent, "sysctl-forbidden") == []


def test_log_links_lead_to_what_containers_wrote(agent: AgentProcess) -> None:
    wait_output(agent, "environment")
    status = status_of(agent, "environment")["containerStatuses"][0]
    container_id = status["containerID"].removeprefix("containerd://")
    link = agent.pod_logs.parent / "containers" / f"environment-{NODE_NAME}_default_c-{container_id}.log"
    assert link.is_symlink()
    assert "PLAIN=x y" in link.read_text()
    assert "running" in state_of(agent, "environment")
