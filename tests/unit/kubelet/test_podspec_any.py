"""Whatever pod passes decoding is described, or refused with a reason: never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from aio.errors import Rejected, Retry
from kube.decode import decode_pod
from kube.errors import InvalidObject
from kube.objects.core_v1 import Pod
from kubelet.podspec.container_config import container_config
from kubelet.podspec.context import ContainerContext, NodeFacts, SandboxContext
from kubelet.podspec.downward import DownwardFacts
from kubelet.podspec.env import NoObjects, container_env
from kubelet.podspec.mounts import MountFacts, VolumeView, plan_mounts
from kubelet.podspec.names import AnyContainer, all_containers, container_facts
from kubelet.podspec.resolv import ResolvConf
from kubelet.podspec.sandbox_config import sandbox_config
from kubelet.volumes.empty_dir import medium_mount
from tests.strategies import pod_manifests

pytestmark = pytest.mark.pure

NODE = NodeFacts(
    "n1",
    node_ips=("10.0.0.1",),
    allocatable={"cpu": "2", "memory": "1Gi"},
    memory_capacity_bytes=1 << 30,
    resolv_conf=ResolvConf(("9.9.9.9",)),
)
FACTS = DownwardFacts("n1", ("10.0.0.1",), ("10.1.0.1",), NODE.allocatable)


def describe(pod: Pod, container: AnyContainer) -> None:
    envs = container_env(pod, container, FACTS, NoObjects())
    volumes = {volume.name: VolumeView(f"/v/{volume.name}") for volume in pod.spec.volumes}
    mounts = tuple(planned.mount for planned in plan_mounts(container, volumes, envs, MountFacts()))
    ctx = ContainerContext(NODE, "sha256:1", envs=tuple(envs.items()), mounts=mounts)
    config = container_config(pod, container, 1, ctx)
    facts = container_facts(config.labels, config.annotations)
    assert facts is not None
    assert (facts.container_name, facts.restart_count) == (container.name, 1)
    assert all(mount.container_path.startswith("/") for mount in config.mounts)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pod_manifests())
def test_every_pod_that_decodes_is_described_or_refused_with_a_reason(manifest: dict[str, Any]) -> None:
    try:
        pod = decode_pod(json.dumps(manifest))
    except InvalidObject:
        return
    assert sandbox_config(pod, 0, SandboxContext(NODE)).metadata.name == pod.metadata.name
    for container in all_containers(pod):
        try:
            describe(pod, container)
        except Rejected as refused:
            assert refused.reason == "CreateContainerConfigError"
            assert refused.message
    for volume in pod.spec.volumes:
        if volume.empty_dir is None:
            continue
        try:
            assert medium_mount(pod, volume.empty_dir, 1 << 30)[0] in ("", "tmpfs", "hugetlbfs")
        except Retry as waiting:
            assert waiting.message
