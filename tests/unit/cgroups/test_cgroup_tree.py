"""Names of pod cgroups: what runc and systemd call them, written out by hand."""

from __future__ import annotations

import pytest

from cgroups.tree import (
    Driver,
    NotACgroup,
    Qos,
    name_of,
    orphans,
    path_of,
    pod_name,
    root_name,
    tier_name,
    uid_of,
)

pytestmark = pytest.mark.pure

UID = "8dbc2f3e-1a2b-4c3d-9e8f-0123456789ab"


@pytest.mark.parametrize(
    ("driver", "qos", "path"),
    [
        (Driver.CGROUPFS, Qos.GUARANTEED, "/kubepods/pod8dbc2f3e-1a2b-4c3d-9e8f-0123456789ab"),
        (Driver.CGROUPFS, Qos.BURSTABLE, "/kubepods/burstable/pod8dbc2f3e-1a2b-4c3d-9e8f-0123456789ab"),
        (Driver.CGROUPFS, Qos.BEST_EFFORT, "/kubepods/besteffort/pod8dbc2f3e-1a2b-4c3d-9e8f-0123456789ab"),
        (
            Driver.SYSTEMD,
            Qos.GUARANTEED,
            "/kubepods.slice/kubepods-pod8dbc2f3e_1a2b_4c3d_9e8f_0123456789ab.slice",
        ),
        (
            Driver.SYSTEMD,
            Qos.BURSTABLE,
            "/kubepods.slice/kubepods-burstable.slice/"
            "kubepods-burstable-pod8dbc2f3e_1a2b_4c3d_9e8f_0123456789ab.slice",
        ),
    ],
)
def test_pod_cgroup_has_upstreams_path_and_is_read_back(driver: Driver, qos: Qos, path: str) -> None:
    name = pod_name(qos, UID)
    assert path_of(driver, name) == path
    assert name_of(driver, path) == name
    assert uid_of(name) == UID


def test_cgroup_root_comes_before_kubepods_in_both_drivers() -> None:
    root = root_name("/a-b/c")
    assert path_of(Driver.CGROUPFS, tier_name(Qos.BEST_EFFORT, root)) == "/a-b/c/kubepods/besteffort"
    assert path_of(Driver.SYSTEMD, root) == "/a_b.slice/a_b-c.slice/a_b-c-kubepods.slice"
    assert root_name("/") == root_name("") == ("kubepods",)


def test_tiers_and_strangers_are_no_pods() -> None:
    assert uid_of(("kubepods", "burstable")) == ""
    assert uid_of(("podman", "podx")) == ""
    assert uid_of(()) == ""


def test_what_is_not_a_slice_is_refused_by_the_systemd_driver() -> None:
    assert name_of(Driver.SYSTEMD, "/") == ()
    with pytest.raises(NotACgroup, match="does not end in"):
        name_of(Driver.SYSTEMD, "/system.slice/containerd.service")


def test_only_pods_that_nobody_wants_are_orphans() -> None:
    found = [("kubepods",), ("kubepods", "podgone"), ("kubepods", "burstable", "podkept"), ("system",)]
    assert orphans(found, ["kept"]) == [("kubepods", "podgone")]
