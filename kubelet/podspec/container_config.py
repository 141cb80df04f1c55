"""One container of a Pod as the configuration that the runtime gets (kuberuntime_container.go)."""

from __future__ import annotations

from cri.types import (
    ContainerConfig,
    ContainerMetadata,
    ImageSpec,
    KeyValue,
    LinuxContainerConfig,
)
from kube.objects.core_v1 import Pod
from kubelet.podspec.context import ContainerContext
from kubelet.podspec.expansion import expand_all
from kubelet.podspec.names import AnyContainer, container_annotations, container_labels, container_log_path
from kubelet.podspec.resources import container_resources
from kubelet.podspec.security import container_security


def container_config(
    pod: Pod, container: AnyContainer, attempt: int, ctx: ContainerContext
) -> ContainerConfig:
    """What CreateContainer is called with; `attempt` is the restart count. Raises ContainerConfigError."""
    envs = dict(ctx.envs)
    return ContainerConfig(
        metadata=ContainerMetadata(container.name, attempt),
        image=ImageSpec(image=ctx.image_ref, user_specified_image=container.image or ""),
        command=expand_all(container.command, envs),
        args=expand_all(container.args, envs),
        working_dir=container.working_dir or "",
        envs=tuple(KeyValue(name, value.encode("utf-8", "surrogateescape")) for name, value in envs.items()),
        mounts=ctx.mounts,
        labels=container_labels(pod, container),
        annotations=container_annotations(pod, container, attempt, ctx.annotations),
        log_path=container_log_path(container.name, attempt),
        stdin=bool(container.stdin),
        stdin_once=bool(container.stdin_once),
        tty=bool(container.tty),
        linux=LinuxContainerConfig(
            resources=ctx.resources or container_resources(pod, container, ctx.node),
            security_context=container_security(pod, container, ctx),
        ),
    )
