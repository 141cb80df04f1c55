"""Security contexts of pods and containers as CRI has them.

A container's own field wins over the pod's (pkg/securitycontext, kuberuntime/security_context*.go).
"""

from __future__ import annotations

from cri.types import (
    Capability,
    LinuxContainerSecurityContext,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
    SELinuxOption,
    SupplementalGroupsPolicy,
    UserNamespace,
)
from kube.objects.core_v1 import (
    AppArmorProfile,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    SELinuxOptions,
)
from kubelet.podspec.context import ContainerContext, ImageUser, SandboxContext, UserNamespaceMapping
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.names import AnyContainer, all_containers, pod_display

# pkg/securitycontext/util_linux.go and util.go
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
APPARMOR_ANNOTATION_PREFIX = "container.apparmor.security.beta.kubernetes.io/"

_NO_POD_CONTEXT = PodSecurityContext()
_NO_CONTEXT = SecurityContext()


def sandbox_security(pod: Pod, ctx: SandboxContext) -> LinuxSandboxSecurityContext:
    """The sandbox always runs under RuntimeDefault seccomp, whatever its containers do."""
    own = pod.spec.security_context or _NO_POD_CONTEXT
    return LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod, ctx.user_namespace),
        selinux_options=_selinux(own.se_linux_options),
        run_as_user=own.run_as_user,
        run_as_group=own.run_as_group,
        supplemental_groups=_groups(own, ctx.extra_groups),
        supplemental_groups_policy=_groups_policy(own),
        privileged=has_privileged_container(pod),
        seccomp=SecurityProfile(ProfileType.RuntimeDefault),
    )


def container_security(
    pod: Pod, container: AnyContainer, ctx: ContainerContext
) -> LinuxContainerSecurityContext:
    """The container's context; ContainerConfigError when it may not run as it is."""
    pod_own = pod.spec.security_context or _NO_POD_CONTEXT
    own = container.security_context or _NO_CONTEXT
    check_run_as_non_root(pod, container, ctx.image_user)
    user, username = run_as(pod, container, ctx.image_user)
    group = pod_own.run_as_group if own.run_as_group is None else own.run_as_group
    unmasked = own.proc_mount == "Unmasked"
    return LinuxContainerSecurityContext(
        capabilities=_capabilities(own),
        privileged=bool(own.privileged),
        namespace_options=namespaces(pod, ctx.user_namespace, ctx.target_id),
        selinux_options=_selinux(own.se_linux_options or pod_own.se_linux_options),
        run_as_user=user,
        run_as_username=username,
        run_as_group=group,
        readonly_rootfs=bool(own.read_only_root_filesystem),
        supplemental_groups=_groups(pod_own, ctx.extra_groups),
        supplemental_groups_policy=_groups_policy(pod_own),
        no_new_privs=own.allow_privilege_escalation is False,
        masked_paths=() if unmasked else MASKED_PATHS + ctx.node.thermal_throttle_paths,
        readonly_paths=() if unmasked else READONLY_PATHS,
        seccomp=_seccomp(
            own.seccomp_profile or pod_own.seccomp_profile,
            ctx.node.seccomp_root,
            runtime_default=ctx.node.seccomp_default,
        ),
        apparmor=_apparmor(pod, container, static_pod=ctx.static_pod),
    )


def has_privileged_container(pod: Pod) -> bool:
    return any(
        box.security_context is not None and bool(box.security_context.privileged)
        for box in all_containers(pod)
    )


def namespaces(pod: Pod, user: UserNamespaceMapping | None = None, target_id: str = "") -> NamespaceOption:
    """Which namespaces are the node's, the pod's, the container's own or another container's."""
    spec = pod.spec
    pid = NamespaceMode.CONTAINER
    if target_id:
        pid = NamespaceMode.TARGET
    elif spec.host_pid:
        pid = NamespaceMode.NODE
    elif spec.share_process_namespace:
        pid = NamespaceMode.POD
    return NamespaceOption(
        network=NamespaceMode.NODE if spec.host_network else NamespaceMode.POD,
        ipc=NamespaceMode.NODE if spec.host_ipc else NamespaceMode.POD,
        pid=pid,
        target_id=target_id,
        userns_options=UserNamespace(NamespaceMode.POD, user.uids, user.gids) if user is not None else None,
    )


def run_as(pod: Pod, container: AnyContainer, image: ImageUser) -> tuple[int | None, str]:
    """Uid and user name to run as: the container's, else the pod's, else the image's."""
    own = (container.security_context or _NO_CONTEXT).run_as_user
    uid = (pod.spec.security_context or _NO_POD_CONTEXT).run_as_user if own is None else own
    if uid is not None:
        return uid, ""
    if image.uid is not None:
        return image.uid, ""
    return (None, image.username) if image.username else (0, "")


def check_run_as_non_root(pod: Pod, container: AnyContainer, image: ImageUser) -> None:
    """ContainerConfigError when runAsNonRoot is asked for and cannot be promised (verifyRunAsNonRoot)."""
    own = container.security_context or _NO_CONTEXT
    pod_own = pod.spec.security_context or _NO_POD_CONTEXT
    wanted = pod_own.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    if not wanted:
        return
    where = f'(pod: "{pod_display(pod)}", container: {container.name})'
    user = pod_own.run_as_user if own.run_as_user is None else own.run_as_user
    if user is not None:
        if user == 0:
            raise ContainerConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.uid is None and image.username:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root {where}"
        )
    if not image.uid:
        raise ContainerConfigError(f"container has runAsNonRoot and image will run as root {where}")


def _capabilities(own: SecurityContext) -> Capability | None:
    asked = own.capabilities
    return None if asked is None else Capability(add_capabilities=asked.add, drop_capabilities=asked.drop)


def _groups(pod_own: PodSecurityContext, extra: tuple[int, ...]) -> tuple[int, ...]:
    fs_group = () if pod_own.fs_group is None else (pod_own.fs_group,)
    return (*fs_group, *extra, *pod_own.supplemental_groups)


def _groups_policy(pod_own: PodSecurityContext) -> SupplementalGroupsPolicy:
    strict = pod_own.supplemental_groups_policy == "Strict"
    return SupplementalGroupsPolicy.Strict if strict else SupplementalGroupsPolicy.Merge


def _selinux(options: SELinuxOptions | None) -> SELinuxOption | None:
    if options is None:
        return None
    return SELinuxOption(options.user or "", options.role or "", options.type or "", options.level or "")


def _seccomp(profile: SeccompProfile | None, root: str, *, runtime_default: bool) -> SecurityProfile:
    if profile is None:
        return SecurityProfile(ProfileType.RuntimeDefault if runtime_default else ProfileType.Unconfined)
    if profile.type == "Localhost":
        if not profile.localhost_profile:
            raise ContainerConfigError("localhostProfile must be set if seccompProfile type is Localhost.")
        return SecurityProfile(ProfileType.Localhost, f"{root}/{profile.localhost_profile}")
    return SecurityProfile(_PROFILE_TYPES.get(profile.type, ProfileType.Unconfined))


def _apparmor(pod: Pod, container: AnyContainer, *, static_pod: bool) -> SecurityProfile | None:
    """None leaves the choice to the runtime. Annotations count for static pods only: the API server turns
    those of others into fields."""
    own = (container.security_context or _NO_CONTEXT).app_armor_profile
    if own is None and static_pod:
        own = _apparmor_annotation(pod.metadata.annotations.get(APPARMOR_ANNOTATION_PREFIX + container.name))
    if own is None:
        own = (pod.spec.security_context or _NO_POD_CONTEXT).app_armor_profile
    if own is None:
        return None
    if own.type == "Localhost":
        if not own.localhost_profile:
            raise ContainerConfigError("localhostProfile must be set if appArmorProfile type is Localhost.")
        return SecurityProfile(ProfileType.Localhost, own.localhost_profile)
    return SecurityProfile(_PROFILE_TYPES.get(own.type, ProfileType.Unconfined))


def _apparmor_annotation(value: str | None) -> AppArmorProfile | None:
    match value:
        case "runtime/default":
            return AppArmorProfile(type="RuntimeDefault")
        case "unconfined":
            return AppArmorProfile(type="Unconfined")
        case str() if value.startswith("localhost/"):
            return AppArmorProfile(type="Localhost", localhost_profile=value.removeprefix("localhost/"))
    return None


_PROFILE_TYPES = {
    "RuntimeDefault": ProfileType.RuntimeDefault,
    "Unconfined": ProfileType.Unconfined,
}
