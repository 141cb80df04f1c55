"""Validate security contexts, of containers and of the pod."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kube import errors, objects
from kube.errors import FieldError
from kube.objects.core_v1 import (
    AppArmorProfile,
    Container,
    PodSecurityContext,
    PodSpec,
    SeccompProfile,
    SecurityContext,
)
from kube.validation import names

ID_MAX = 2**31 - 1
PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
PROC_MOUNTS = ("Default", "Unmasked")
APPARMOR_PROFILE_MAX = 4095
SYSCTL_MAX = 253
_SYSCTL_PART = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
SYSCTL_PATTERN = rf"({_SYSCTL_PART}[\./])*{_SYSCTL_PART}"
_SYSCTL = re.compile(SYSCTL_PATTERN, re.ASCII)
# Kernel settings that belong to a namespace the pod does not have when it shares the host's.
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def validate_security_context(container: Container, spec: PodSpec, path: str) -> Iterator[FieldError]:
    context = container.security_context
    if context is None:
        return
    path = f"{path}.securityContext"
    for field, value in (("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)):
        yield from _id(value, f"{path}.{field}")
    if context.proc_mount is not None:
        yield from names.one_of(f"{path}.procMount", context.proc_mount, PROC_MOUNTS)
        if context.proc_mount == "Unmasked" and spec.host_users is not False:
            yield errors.invalid(
                f"{path}.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`"
            )
    yield from _seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    yield from _apparmor(context.app_armor_profile, f"{path}.appArmorProfile")
    yield from _escalation(context, path)


def _escalation(context: SecurityContext, path: str) -> Iterator[FieldError]:
    if context.allow_privilege_escalation is not False:
        return
    if context.privileged:
        message = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield errors.invalid(path, objects.to_json(context), message)
    if context.capabilities is not None and "CAP_SYS_ADMIN" in context.capabilities.add:
        message = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        yield errors.invalid(path, objects.to_json(context), message)


def validate_pod_security(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """The pod's context, and the fields beside it that share the host's namespaces."""
    at = f"{path}.securityContext"
    if spec.host_pid and spec.share_process_namespace:
        message = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield errors.invalid(f"{path}.shareProcessNamespace", True, message)
    if spec.host_users is False:
        for field, shared in (
            ("hostNetwork", spec.host_network),
            ("hostPID", spec.host_pid),
            ("hostIPC", spec.host_ipc),
        ):
            if shared:
                yield errors.forbidden(f"{path}.{field}", "when `pod.Spec.HostUsers` is false")
    if spec.security_context is not None:
        yield from _pod_context(spec.security_context, spec, at)


def _pod_context(context: PodSecurityContext, spec: PodSpec, path: str) -> Iterator[FieldError]:
    for field, value in (
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ):
        yield from _id(value, f"{path}.{field}")
    for index, group in enumerate(context.supplemental_groups):
        yield from _id(group, f"{path}.supplementalGroups[{index}]")
    if context.fs_group_change_policy is not None:
        policies = ("Always", "OnRootMismatch")
        yield from names.one_of(f"{path}.fsGroupChangePolicy", context.fs_group_change_policy, policies)
    if context.supplemental_groups_policy is not None:
        policies = ("Merge", "Strict")
        yield from names.one_of(
            f"{path}.supplementalGroupsPolicy", context.supplemental_groups_policy, policies
        )
    yield from _sysctls(context, spec, f"{path}.sysctls")
    yield from _seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    yield from _apparmor(context.app_armor_profile, f"{path}.appArmorProfile")


def _id(value: int | None, path: str) -> Iterator[FieldError]:
    if value is not None and not 0 <= value <= ID_MAX:
        yield errors.invalid(path, value, names.between(0, ID_MAX))


def _sysctls(context: PodSecurityContext, spec: PodSpec, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, sysctl in enumerate(context.sysctls):
        at = f"{path}[{index}].name"
        name = sysctl.name.replace("/", ".")
        if not sysctl.name:
            yield errors.required(at)
        elif len(sysctl.name) > SYSCTL_MAX or not _SYSCTL.fullmatch(sysctl.name):
            message = f"must have at most {SYSCTL_MAX} characters and match regex ^{SYSCTL_PATTERN}$"
            yield errors.invalid(at, sysctl.name, message)
        elif name in seen:
            yield errors.duplicate(at, sysctl.name)
        if spec.host_network and name.startswith("net."):
            yield errors.invalid(at, sysctl.name, "may not be specified when 'hostNetwork' is true")
        if spec.host_ipc and name.startswith(_IPC_SYSCTLS):
            yield errors.invalid(at, sysctl.name, "may not be specified when 'hostIPC' is true")
        seen.add(name)


def _seccomp(profile: SeccompProfile | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    if not profile.type:
        yield errors.required(f"{path}.type", "type is required when seccompProfile is set")
        return
    yield from names.one_of(f"{path}.type", profile.type, PROFILE_TYPES)
    at = f"{path}.localhostProfile"
    if profile.type == "Localhost":
        if not profile.localhost_profile:
            yield errors.required(at, "must be set when seccomp type is Localhost")
        elif profile.localhost_profile.startswith("/"):
            yield errors.invalid(at, profile.localhost_profile, "must be a relative path")
        elif ".." in profile.localhost_profile.split("/"):
            yield errors.invalid(at, profile.localhost_profile, "must not contain '..'")
    elif profile.localhost_profile is not None:
        message = "can only be set when seccomp type is Localhost"
        yield errors.invalid(at, profile.localhost_profile, message)


def _apparmor(profile: AppArmorProfile | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    if not profile.type:
        yield errors.required(f"{path}.type", "type is required when appArmorProfile is set")
        return
    yield from names.one_of(f"{path}.type", profile.type, PROFILE_TYPES)
    at, name = f"{path}.localhostProfile", profile.localhost_profile
    if profile.type != "Localhost":
        if name is not None:
            yield errors.invalid(at, name, "can only be set when AppArmor type is Localhost")
    elif not name or not name.strip():
        yield errors.required(at, "must be set when AppArmor type is Localhost")
    elif name != name.strip():
        yield errors.invalid(at, name, "must not be padded with whitespace")
    elif len(name.encode()) > APPARMOR_PROFILE_MAX:
        yield errors.too_long(at, APPARMOR_PROFILE_MAX)
