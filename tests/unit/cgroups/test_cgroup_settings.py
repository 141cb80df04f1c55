"""Settings against a table worked out by hand: kernel files on the right, never our own formulas.

Sources: shares and quota pkg/kubelet/cm/helpers_linux.go; weight 1 + (shares - 2) * 9999 / 262142 for what
the agent writes, and the curve of runc >= 1.3.2 for containers; memory.high KEP-2570; swap KEP-2400.
"""

from __future__ import annotations

import itertools

import pytest

from cgroups.allocatable import Amounts, kubepods_settings, reserved_settings
from cgroups.convert import hugetlb_name, memory_high, runtime_weight_from_shares
from cgroups.settings import (
    Change,
    Demand,
    MemoryQos,
    NodePolicy,
    Settings,
    Write,
    container_settings,
    container_unified,
    in_order,
    missing,
    pod_settings,
    shrink_problem,
    swap_max,
    tier_settings,
    writes,
)
from cgroups.tree import Qos

pytestmark = pytest.mark.pure

MI = 1 << 20
GI = 1 << 30
NODE = NodePolicy(pids_limit=1024, hugepage_sizes=(2 * MI, GI))
SURE = Demand(Qos.GUARANTEED, 500, 500, 256 * MI, 256 * MI)
LOOSE = Demand(Qos.BURSTABLE, 250, None, 128 * MI, None)
LIMITED = Demand(Qos.BURSTABLE, 250, 1500, 128 * MI, 512 * MI, hugepages={2 * MI: 4 * MI})
IDLE = Demand(Qos.BEST_EFFORT)


def files(settings: Settings, *, by_runtime: bool = False) -> dict[str, str]:
    return {write.file: write.value for write in writes(settings, by_runtime=by_runtime)}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (SURE, ("20", "50000 100000", "268435456", "0")),
        (LOOSE, ("10", "max 100000", "max", "0")),
        (LIMITED, ("10", "150000 100000", "536870912", "4194304")),
        (IDLE, ("1", "max 100000", "max", "0")),
    ],
    ids=["guaranteed", "burstable-without-limit", "burstable-with-limits", "best-effort"],
)
def test_pod_cgroup_of_each_class(pod: Demand, expected: tuple[str, ...]) -> None:
    weight, cpu, memory, pages = expected
    assert files(pod_settings(pod, NODE)) == {
        "cpu.weight": weight,
        "cpu.max": cpu,
        "memory.max": memory,
        "pids.max": "1024",
        "hugetlb.2MB.max": pages,
        "hugetlb.1GB.max": "0",
    }


def test_without_cfs_quota_and_pid_limit_there_is_no_limit() -> None:
    found = files(pod_settings(SURE, NodePolicy(cpu_quota=False)))
    assert (found["cpu.max"], found["pids.max"]) == ("max 100000", "max")


def test_quota_is_at_least_a_millisecond_and_follows_the_period() -> None:
    tiny = Demand(Qos.BURSTABLE, 1, 5)
    assert files(pod_settings(tiny, NodePolicy(cpu_period_us=50_000)))["cpu.max"] == "1000 50000"


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 0), (1, 1), (2, 1), (102, 17), (1024, 100), (262_144, 10_000), (300_000, 10_000)],
)
def test_runtimes_put_a_core_at_the_kernels_default_weight(shares: int, weight: int) -> None:
    assert runtime_weight_from_shares(shares) == weight


def test_container_cgroup_kills_as_a_group_and_may_not_swap() -> None:
    found = files(container_settings(LIMITED, NodePolicy(swap_bytes=GI)), by_runtime=True)
    assert found == {
        "cpu.weight": "35",
        "cpu.max": "150000 100000",
        "memory.max": "536870912",
        "memory.swap.max": "0",
        "hugetlb.2MB.max": "4194304",
        "memory.oom.group": "1",
    }
    assert container_unified(LIMITED, NodePolicy(single_process_oom_kill=True)) == {}
    assert container_unified(LIMITED, NODE) == {"memory.oom.group": "1"}


@pytest.mark.parametrize(
    ("request_bytes", "ceiling", "high"),
    [
        (128 * MI, 256 * MI, 255_012_864),  # 134217728 + 120795955.2, down to 62259 pages
        (0, 1 * GI, 966_365_184),  # 966367641.6, down to 235929 pages
        (256 * MI, 256 * MI, 0),
        (4096, 6000, 0),  # rounds back to the request
        (0, 0, 0),
    ],
)
def test_memory_high_is_nine_tenths_of_the_way_in_whole_pages(
    request_bytes: int, ceiling: int, high: int
) -> None:
    assert memory_high(request_bytes, ceiling, 0.9) == high


def test_memory_qos_keeps_requests_and_slows_down_below_the_limit() -> None:
    node = NodePolicy(memory_qos=MemoryQos(allocatable_bytes=1 * GI))
    box = Demand(Qos.BURSTABLE, memory_request=128 * MI, memory_limit=256 * MI)
    assert container_unified(box, node) == {
        "memory.min": "134217728",
        "memory.high": "255012864",
        "memory.oom.group": "1",
    }
    assert files(container_settings(SURE, node))["memory.high"] == "max"
    assert files(container_settings(IDLE, node))["memory.high"] == "966365184"


def test_tiered_memory_qos_protects_guaranteed_hard_and_burstable_softly() -> None:
    node = NodePolicy(memory_qos=MemoryQos(tiered=True))
    sure, loose = files(pod_settings(SURE, node)), files(pod_settings(LOOSE, node))
    assert (sure["memory.min"], sure["memory.low"]) == ("268435456", "0")
    assert (loose["memory.min"], loose["memory.low"]) == ("0", "134217728")
    above = files(tier_settings(Qos.GUARANTEED, [SURE, LOOSE, LOOSE], node))
    assert above == {"memory.min": "268435456", "memory.low": "268435456"}


@pytest.mark.parametrize(
    ("box", "limited", "expected"),
    [
        (Demand(Qos.BURSTABLE, memory_request=1 * GI), True, 536_870_912),
        (Demand(Qos.BURSTABLE, memory_request=1 * GI), False, 0),
        (Demand(Qos.BURSTABLE, memory_request=1 * GI, memory_limit=1 * GI), True, 0),
        (Demand(Qos.BURSTABLE), True, 0),
        (Demand(Qos.BURSTABLE, memory_request=1 * GI, is_critical=True), True, 0),
        (Demand(Qos.GUARANTEED, memory_request=1 * GI, memory_limit=2 * GI), True, 0),
        (Demand(Qos.BEST_EFFORT), True, 0),
    ],
)
def test_only_burstable_containers_get_their_share_of_swap(box: Demand, limited: bool, expected: int) -> None:
    node = NodePolicy(memory_bytes=8 * GI, swap_bytes=4 * GI, limited_swap=limited)
    assert swap_max(box, node) == expected


def test_a_node_without_swap_leaves_the_file_alone() -> None:
    assert swap_max(LOOSE, NodePolicy(limited_swap=True)) is None


def test_tiers_weigh_what_their_pods_ask_for() -> None:
    burstable = files(tier_settings(Qos.BURSTABLE, [LOOSE, LIMITED, SURE, IDLE], NODE))
    assert burstable == {"cpu.weight": "20", "hugetlb.2MB.max": "max", "hugetlb.1GB.max": "max"}
    assert files(tier_settings(Qos.BURSTABLE, [], NODE))["cpu.weight"] == "1"
    assert files(tier_settings(Qos.BEST_EFFORT, [LOOSE], NODE))["cpu.weight"] == "1"
    assert files(tier_settings(Qos.GUARANTEED, [SURE], NODE)) == {}


def test_kubepods_may_use_what_is_not_reserved() -> None:
    capacity = Amounts(4000, 8 * GI, 32_768, {2 * MI: 64 * MI})
    reserved = (Amounts(cpu_milli=500, memory=512 * MI), Amounts(memory=512 * MI, pids=768))
    found = files(kubepods_settings(capacity, reserved, enforced=True))
    # 3500 m = 3584 shares; 1 + 3582 * 9999 / 262142 = 137.6
    assert found == {
        "cpu.weight": "137",
        "memory.max": "7516192768",
        "pids.max": "32000",
        "hugetlb.2MB.max": "67108864",
    }
    assert files(kubepods_settings(capacity, reserved, enforced=False))["memory.max"] == "8589934592"


def test_compressible_enforcement_limits_cpu_alone() -> None:
    reserved = Amounts(cpu_milli=1000, memory=512 * MI)
    assert files(reserved_settings(reserved, "kube-reserved-compressible")) == {"cpu.weight": "39"}
    assert files(reserved_settings(reserved, "kube-reserved")) == {
        "cpu.weight": "39",
        "memory.max": "536870912",
    }


def test_only_files_that_hold_something_else_are_written() -> None:
    wanted = (Write("memory.max", "1000000"), Write("cpu.max", "max 100000"), Write("pids.max", "9"))
    present = {"memory.max": "999424\n", "cpu.max": "50000 100000\n", "pids.max": "9\n"}
    assert missing(wanted, present) == (Write("cpu.max", "max 100000"),)
    assert missing(wanted, {}) == wanted


POD = ("kubepods", "podx")
BOX_A, BOX_B = (*POD, "a"), (*POD, "b")


def change(name: tuple[str, ...], value: str, present: str) -> Change:
    return Change(name, Write("memory.max", value), present)


def test_a_growing_pod_grows_before_its_containers() -> None:
    changes = [change(BOX_A, "300", "100"), change(BOX_B, "50", "100"), change(POD, "350", "200")]
    for order in itertools.permutations(changes):
        names = [(one.name, one.grows) for one in in_order(order, [BOX_A, BOX_B])]
        assert names == [(POD, True), (BOX_B, False), (BOX_A, True)]


def test_a_shrinking_pod_shrinks_after_its_containers_and_tiers_after_pods() -> None:
    tier = ("kubepods",)
    changes = [change(tier, "100", "max"), change(POD, "100", "200"), change(BOX_A, "60", "100")]
    assert [one.name for one in in_order(changes, [BOX_A])] == [BOX_A, POD, tier]


@pytest.mark.parametrize(
    ("limit", "usage", "refused"), [(100, 99, False), (100, 100, True), (-1, 10**12, False)]
)
def test_memory_limits_do_not_go_below_what_is_in_use(limit: int, usage: int, refused: bool) -> None:
    problem = shrink_problem("pod", limit, usage)
    assert bool(problem) is refused
    if refused:
        assert problem == (
            "cannot decrease memory limits: attempting to set pod memory limit (100) "
            "below current usage (100)"
        )


def test_a_shorter_share_of_a_longer_period_is_seen_as_smaller() -> None:
    assert not Change(POD, Write("cpu.max", "100000 200000"), "80000 100000").grows
    assert Change(POD, Write("cpu.max", "max 100000"), "80000 100000").grows


@pytest.mark.parametrize(
    ("size", "name"), [(2 * MI, "2MB"), (GI, "1GB"), (64 << 10, "64KB"), (512 * MI, "512MB"), (7, "7B")]
)
def test_page_sizes_are_spelled_as_the_kernel_does(size: int, name: str) -> None:
    assert hugetlb_name(size) == name
