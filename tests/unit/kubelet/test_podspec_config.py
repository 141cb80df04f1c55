"""A Pod as the sandbox and container configuration that a runtime gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from cri.types import (
    HugepageLimit,
    IDMapping,
    KeyValue,
    Mount,
    NamespaceMode,
    PortMapping,
    ProfileType,
    Protocol,
    SecurityProfile,
    SELinuxOption,
    SupplementalGroupsPolicy,
)
from kube.objects.core_v1 import Pod
from kubelet.podspec.container_config import container_config
from kubelet.podspec.context import (
    ContainerContext,
    ImageUser,
    NodeFacts,
    SandboxContext,
    UserNamespaceMapping,
)
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.resolv import ResolvConf
from kubelet.podspec.resources import container_resources, oom_score_adj, pod_memory_limit
from kubelet.podspec.sandbox_config import sandbox_config
from kubelet.podspec.security import MASKED_PATHS, READONLY_PATHS, container_security

pytestmark = pytest.mark.pure

GIB = 1 << 30
NODE = NodeFacts("n1", memory_capacity_bytes=8 * GIB, resolv_conf=ResolvConf(("9.9.9.9",)))
CTX = ContainerContext(NODE, image_ref="sha256:abc")


def make_pod(*containers: dict[str, Any], **spec: Any) -> Pod:
    metadata = {"name": "web", "namespace": "shop", "uid": "u1", "annotations": {"a": "b"}}
    boxes = [{"name": f"c{index}", "image": "busybox", **box} for index, box in enumerate(containers)]
    return msgspec.convert(
        {"metadata": metadata, "spec": {"dnsPolicy": "Default", **spec, "containers": boxes}}, Pod
    )


def memory(request: str = "", limit: str = "") -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if request:
        resources["requests"] = {"memory": request}
    if limit:
        resources["limits"] = {"memory": limit}
    return {"resources": resources}


def security_of(container: dict[str, Any], ctx: ContainerContext = CTX, **spec: Any) -> Any:
    pod = make_pod(container, **spec)
    return container_security(pod, pod.spec.containers[0], ctx)


def test_a_plain_sandbox() -> None:
    pod = make_pod(
        {"ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1", "protocol": "UDP"}]}
    )
    config = sandbox_config(pod, 2, SandboxContext(NODE, cgroup_parent="/kubepods/podu1", extra_groups=(5,)))
    assert (config.metadata.name, config.metadata.uid, config.metadata.attempt) == ("web", "u1", 2)
    assert config.hostname == "web"
    assert config.log_directory == "/var/log/pods/shop_web_u1"
    assert config.dns_config is not None
    assert config.dns_config.servers == ("9.9.9.9",)
    assert config.port_mappings == (PortMapping(Protocol.UDP, 80, 8080, "127.0.0.1"),)
    assert config.annotations == {"a": "b"}
    assert config.linux is not None
    assert config.linux.cgroup_parent == "/kubepods/podu1"
    security = config.linux.security_context
    assert security is not None
    assert security.seccomp == SecurityProfile(ProfileType.RuntimeDefault)
    assert security.supplemental_groups == (5,)
    assert not security.privileged


def test_sandbox_takes_the_pods_security_context() -> None:
    pod = make_pod(
        {"securityContext": {"privileged": True}},
        hostNetwork=True,
        hostPID=True,
        hostIPC=True,
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 2000,
            "fsGroup": 3000,
            "supplementalGroups": [4000],
            "supplementalGroupsPolicy": "Strict",
            "seLinuxOptions": {"level": "s0:c1"},
            "seccompProfile": {"type": "Unconfined"},
            "sysctls": [
                {"name": "net/ipv4/conf/eth0.1/rp_filter", "value": "1"},
                {"name": "kernel.shm_rmid_forced", "value": "0"},
            ],
        },
    )
    config = sandbox_config(pod, 0, SandboxContext(NODE, extra_groups=(5,)))
    assert config.hostname == ""
    assert config.linux is not None
    assert config.linux.sysctls == {"net.ipv4.conf.eth0/1.rp_filter": "1", "kernel.shm_rmid_forced": "0"}
    security = config.linux.security_context
    assert security is not None
    assert (security.run_as_user, security.run_as_group) == (1000, 2000)
    assert security.supplemental_groups == (3000, 5, 4000)
    assert security.supplemental_groups_policy is SupplementalGroupsPolicy.Strict
    assert security.selinux_options == SELinuxOption(level="s0:c1")
    assert security.privileged
    # Whatever the pod says: the pause process is confined.
    assert security.seccomp == SecurityProfile(ProfileType.RuntimeDefault)
    options = security.namespace_options
    assert options is not None
    assert (options.network, options.pid, options.ipc) == (NamespaceMode.NODE,) * 3


def test_ports_of_sidecars_are_published_and_those_of_init_containers_are_not() -> None:
    pod = make_pod(
        {"ports": [{"containerPort": 1}]},
        initContainers=[
            {"name": "i", "ports": [{"containerPort": 2}]},
            {"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 3}]},
        ],
    )
    mapped = sandbox_config(pod, 0, SandboxContext(NODE)).port_mappings
    assert [port.container_port for port in mapped] == [3, 1]


def test_a_container_is_described_completely() -> None:
    pod = make_pod(
        {
            "command": ["/bin/$(WHO)", "$$(WHO)"],
            "args": ["$(NOBODY)"],
            "workingDir": "/srv",
            "stdin": True,
            "stdinOnce": True,
            "tty": True,
        }
    )
    mount = Mount("/data", "/host")
    ctx = replace(CTX, envs=(("WHO", "me"), ("RAW", "\udcff")), mounts=(mount,), annotations={"d": "1"})
    config = container_config(pod, pod.spec.containers[0], 4, ctx)
    assert (config.metadata.name, config.metadata.attempt) == ("c0", 4)
    assert (config.image.image, config.image.user_specified_image) == ("sha256:abc", "busybox")
    assert config.command == ("/bin/me", "$(WHO)")
    assert config.args == ("$(NOBODY)",)
    assert config.envs == (KeyValue("WHO", b"me"), KeyValue("RAW", b"\xff"))
    assert config.mounts == (mount,)
    assert config.working_dir == "/srv"
    assert config.log_path == "c0/4.log"
    assert (config.stdin, config.stdin_once, config.tty) == (True, True, True)
    assert config.labels["io.kubernetes.container.name"] == "c0"
    assert config.annotations["io.kubernetes.container.restartCount"] == "4"
    assert config.annotations["d"] == "1"


@pytest.mark.parametrize(
    ("resources", "shares", "quota", "limit"),
    [
        ({}, 2, 0, 0),
        ({"requests": {"cpu": "100m"}}, 102, 0, 0),
        ({"limits": {"cpu": "500m", "memory": "64Mi"}}, 512, 50_000, 64 << 20),
        ({"requests": {"cpu": "0"}, "limits": {"cpu": "5m"}}, 2, 1000, 0),
        (
            {"requests": {"cpu": "2", "memory": "1G"}, "limits": {"cpu": "4", "memory": "2G"}},
            2048,
            400_000,
            2 * 10**9,
        ),
    ],
)
def test_limits_become_cgroup_numbers(resources: dict[str, Any], shares: int, quota: int, limit: int) -> None:
    pod = make_pod({"resources": resources})
    found = container_resources(pod, pod.spec.containers[0], NODE)
    assert (found.cpu_shares, found.cpu_quota, found.memory_limit_in_bytes) == (shares, quota, limit)
    assert found.cpu_period == 100_000
    assert found.unified == {"memory.oom.group": "1"}


def test_node_settings_change_the_cgroup_numbers() -> None:
    pod = make_pod({"resources": {"limits": {"cpu": "1"}}})
    container = pod.spec.containers[0]
    slow = container_resources(pod, container, replace(NODE, cpu_cfs_quota_period_us=10_000))
    assert (slow.cpu_period, slow.cpu_quota) == (10_000, 10_000)
    free = container_resources(pod, container, replace(NODE, cpu_cfs_quota=False))
    assert (free.cpu_period, free.cpu_quota) == (0, 0)
    assert container_resources(pod, container, replace(NODE, single_process_oom_kill=True)).unified == {}
    assert container_resources(pod, container, replace(NODE, cgroup_v2=False)).unified == {}


def test_huge_pages_are_named_as_hugetlb_names_them() -> None:
    pod = make_pod({"resources": {"limits": {"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi"}}})
    limits = container_resources(pod, pod.spec.containers[0], NODE).hugepage_limits
    assert limits == (HugepageLimit("1GB", GIB), HugepageLimit("2MB", 4 << 20))


@pytest.mark.parametrize(
    ("container", "spec", "score"),
    [
        ({}, {}, 1000),
        (memory("1Gi"), {}, 875),
        (memory("1Mi"), {}, 999),
        (memory("8Gi"), {}, 3),
        (
            {
                "resources": {
                    "limits": {"cpu": "1", "memory": "1Gi"},
                    "requests": {"cpu": "1", "memory": "1Gi"},
                }
            },
            {},
            -997,
        ),
        (memory("1Gi"), {"priority": 2000001000, "priorityClassName": "system-node-critical"}, -997),
        (memory("1Gi"), {"priority": 2000000000, "priorityClassName": "system-cluster-critical"}, 875),
        ({}, {"resources": {"requests": {"memory": "4Gi"}}}, 500),
    ],
)
def test_oom_scores(container: dict[str, Any], spec: dict[str, Any], score: int) -> None:
    pod = make_pod(container, **spec)
    assert oom_score_adj(pod, pod.spec.containers[0], 8 * GIB) == score


def test_a_sidecar_is_no_easier_to_kill_than_the_containers_it_serves() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", **memory("1Mi")}
    pod = make_pod(memory("2Gi"), memory("1Gi"), initContainers=[sidecar])
    assert oom_score_adj(pod, pod.spec.init_containers[0], 8 * GIB) == 875


def test_a_pods_memory_is_limited_only_if_every_container_is() -> None:
    assert pod_memory_limit(make_pod(memory(limit="1Gi"), memory())) == 0
    assert pod_memory_limit(make_pod(memory(limit="1Gi"), memory(limit="2Gi"))) == 3 * GIB
    assert pod_memory_limit(make_pod(memory(), resources={"limits": {"memory": "1Gi"}})) == GIB
    inits = [{"name": "i", **memory(limit="4Gi")}]
    assert pod_memory_limit(make_pod(memory(limit="1Gi"), initContainers=inits)) == 4 * GIB


def test_defaults_of_a_containers_security() -> None:
    security = security_of({})
    assert security.masked_paths == MASKED_PATHS
    assert security.readonly_paths == READONLY_PATHS
    assert security.seccomp == SecurityProfile(ProfileType.Unconfined)
    assert security.apparmor is None
    assert security.capabilities is None
    assert (security.run_as_user, security.run_as_username) == (0, "")
    assert not (security.privileged or security.no_new_privs or security.readonly_rootfs)
    assert security.namespace_options.pid is NamespaceMode.CONTAINER


def test_a_containers_own_context_wins_over_the_pods() -> None:
    security = security_of(
        {
            "securityContext": {
                "runAsUser": 7,
                "runAsGroup": 8,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "seccompProfile": {"type": "Localhost", "localhostProfile": "x/y.json"},
                "appArmorProfile": {"type": "Unconfined"},
            }
        },
        shareProcessNamespace=True,
        securityContext={
            "runAsUser": 1,
            "runAsGroup": 2,
            "fsGroup": 9,
            "seccompProfile": {"type": "RuntimeDefault"},
            "appArmorProfile": {"type": "RuntimeDefault"},
        },
    )
    assert (security.run_as_user, security.run_as_group) == (7, 8)
    assert security.capabilities.add_capabilities == ("NET_ADMIN",)
    assert security.capabilities.drop_capabilities == ("ALL",)
    assert security.no_new_privs
    assert security.readonly_rootfs
    assert security.seccomp == SecurityProfile(ProfileType.Localhost, "/var/lib/kubelet/seccomp/x/y.json")
    assert security.apparmor == SecurityProfile(ProfileType.Unconfined)
    assert security.supplemental_groups == (9,)
    assert security.namespace_options.pid is NamespaceMode.POD


def test_seccomp_default_confines_what_says_nothing() -> None:
    ctx = replace(CTX, node=replace(NODE, seccomp_default=True))
    assert security_of({}, ctx).seccomp == SecurityProfile(ProfileType.RuntimeDefault)
    asked = {"seccompProfile": {"type": "Unconfined"}}
    assert security_of({}, ctx, securityContext=asked).seccomp == SecurityProfile(ProfileType.Unconfined)


def test_unmasked_proc_masks_nothing_and_thermal_paths_are_added_otherwise() -> None:
    unmasked = security_of({"securityContext": {"procMount": "Unmasked"}})
    assert (unmasked.masked_paths, unmasked.readonly_paths) == ((), ())
    ctx = replace(CTX, node=replace(NODE, thermal_throttle_paths=("/sys/t0",)))
    assert security_of({}, ctx).masked_paths == (*MASKED_PATHS, "/sys/t0")


def test_an_ephemeral_containers_target_and_a_user_namespace() -> None:
    ids = (IDMapping(65536, 0, 65536),)
    ctx = replace(CTX, target_id="t", user_namespace=UserNamespaceMapping(ids, ids))
    options = security_of({}, ctx).namespace_options
    assert (options.pid, options.target_id) == (NamespaceMode.TARGET, "t")
    assert options.userns_options.uids == ids


def test_apparmor_annotations_count_for_static_pods_only() -> None:
    pod = msgspec.structs.replace(make_pod({}))
    meta = msgspec.structs.replace(
        pod.metadata, annotations={"container.apparmor.security.beta.kubernetes.io/c0": "localhost/p"}
    )
    pod = msgspec.structs.replace(pod, metadata=meta)
    container = pod.spec.containers[0]
    static = container_security(pod, container, replace(CTX, static_pod=True))
    assert static.apparmor == SecurityProfile(ProfileType.Localhost, "p")
    assert container_security(pod, container, CTX).apparmor is None


@pytest.mark.parametrize(
    ("context", "user", "message"),
    [
        (
            {"runAsNonRoot": True, "runAsUser": 0},
            ImageUser(5),
            "container's runAsUser breaks non-root policy",
        ),
        ({"runAsNonRoot": True}, ImageUser(0), "container has runAsNonRoot and image will run as root"),
        ({"runAsNonRoot": True}, ImageUser(), "container has runAsNonRoot and image will run as root"),
        (
            {"runAsNonRoot": True},
            ImageUser(None, "nginx"),
            "container has runAsNonRoot and image has non-numeric user (nginx), "
            "cannot verify user is non-root",
        ),
    ],
)
def test_run_as_non_root_refuses_what_it_cannot_promise(
    context: dict[str, Any], user: ImageUser, message: str
) -> None:
    with pytest.raises(ContainerConfigError) as refused:
        security_of({"securityContext": context}, replace(CTX, image_user=user))
    assert refused.value.message == f'{message} (pod: "web_shop(u1)", container: c0)'


@pytest.mark.parametrize(
    ("context", "user", "runs_as"),
    [
        ({"runAsNonRoot": True, "runAsUser": 1}, ImageUser(0), (1, "")),
        ({"runAsNonRoot": True}, ImageUser(1001), (1001, "")),
        ({}, ImageUser(None, "nginx"), (None, "nginx")),
        ({}, ImageUser(), (0, "")),
    ],
)
def test_who_a_container_runs_as(
    context: dict[str, Any], user: ImageUser, runs_as: tuple[int | None, str]
) -> None:
    security = security_of({"securityContext": context}, replace(CTX, image_user=user))
    assert (security.run_as_user, security.run_as_username) == runs_as


def test_a_localhost_profile_needs_a_name() -> None:
    with pytest.raises(ContainerConfigError, match="localhostProfile must be set if seccompProfile"):
        security_of({"securityContext": {"seccompProfile": {"type": "Localhost"}}})
