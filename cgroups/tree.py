"""Names of the cgroups that pods live in, for both drivers; who in a tree is nobody's any more.

A name is a tuple of components from the root down: ("kubepods", "burstable", "pod1234-abcd"). The cgroupfs
driver joins them with "/". The systemd driver makes nested slices, where "-" in a slice's name means nesting,
so a "-" within a component becomes "_" (pkg/kubelet/cm/cgroup_manager_linux.go escapeSystemdCgroupName).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

KUBEPODS = "kubepods"
POD_PREFIX = "pod"
SLICE = ".slice"

Name = tuple[str, ...]


class Driver(StrEnum):
    """Who owns the tree: spelled as KubeletConfiguration and CRI spell it."""

    SYSTEMD = "systemd"
    CGROUPFS = "cgroupfs"


class Qos(StrEnum):
    """The class of a pod, spelled as the API spells it."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


# Guaranteed pods live directly under kubepods.
_TIERS = {Qos.GUARANTEED: (), Qos.BURSTABLE: ("burstable",), Qos.BEST_EFFORT: ("besteffort",)}


class NotACgroup(ValueError):
    """The text is not a path of this driver; the message says which and why."""


def root_name(cgroup_root: str = "/") -> Name:
    """The cgroup of all pods below KubeletConfiguration's cgroupRoot."""
    return (*_components(cgroup_root), KUBEPODS)


def tier_name(qos: Qos, root: Name = (KUBEPODS,)) -> Name:
    """The cgroup of a class; of Guaranteed, `root` itself."""
    return (*root, *_TIERS[qos])


def pod_name(qos: Qos, uid: str, root: Name = (KUBEPODS,)) -> Name:
    return (*tier_name(qos, root), POD_PREFIX + uid)


def path_of(driver: Driver, name: Name) -> str:
    """The path below the mount point, with a leading "/". It is also what CRI takes as cgroup_parent."""
    if driver is Driver.CGROUPFS:
        return "/" + "/".join(name)
    slices = [slice_of(name[: depth + 1]) for depth in range(len(name))]
    return "/" + "/".join(slices)


def slice_of(name: Name) -> str:
    """The systemd unit of a cgroup: ("kubepods", "pod1-2") -> "kubepods-pod1_2.slice"; root is "-.slice"."""
    return ("-".join(part.replace("-", "_") for part in name) or "-") + SLICE


def name_of(driver: Driver, path: str) -> Name:
    """Back from a path. An "_" of a slice reads as "-": no Kubernetes UID contains an "_". NotACgroup."""
    parts = _components(path)
    if driver is Driver.CGROUPFS or not parts:
        return parts
    unit = parts[-1]
    if not unit.endswith(SLICE):
        raise NotACgroup(f'cannot read "{path}" as a slice: "{unit}" does not end in {SLICE}')
    stem = unit.removesuffix(SLICE)
    return () if stem == "-" else tuple(part.replace("_", "-") for part in stem.split("-"))


def uid_of(name: Name) -> str:
    """The pod that a name is of; "" for a tier, the root, or something inside of a pod."""
    last = name[-1] if name else ""
    return last.removeprefix(POD_PREFIX) if last.startswith(POD_PREFIX) and KUBEPODS in name[:-1] else ""


def orphans(found: Iterable[Name], wanted_uids: Iterable[str]) -> list[Name]:
    """Pod cgroups whose pod is not wanted any more, sorted; tiers and strangers are left out."""
    wanted = set(wanted_uids)
    return sorted(name for name in found if uid_of(name) and uid_of(name) not in wanted)


def _components(path: str) -> Name:
    return tuple(part for part in path.split("/") if part)
