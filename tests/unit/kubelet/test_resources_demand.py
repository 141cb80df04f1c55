"""What pods ask for, summed by hand."""

from __future__ import annotations

import pytest

from cgroups.tree import Qos
from kube.objects.core_v1 import Container, ResourceRequirements
from kubelet.resources.demand import container_demand, pod_asks, pod_cpus, pod_demand, pod_memory, whole_cpus
from tests.builders import make_container, make_pod, make_sidecar

pytestmark = pytest.mark.pure

MI = 1 << 20


def both(**amounts: str) -> ResourceRequirements:
    return ResourceRequirements(requests=dict(amounts), limits=dict(amounts))


def asking(name: str, requests: dict[str, str], limits: dict[str, str] | None = None) -> Container:
    return make_container(name, resources=ResourceRequirements(requests=requests, limits=limits or {}))


def test_containers_and_sidecars_add_up_and_init_containers_run_one_at_a_time() -> None:
    pod = make_pod(
        make_container("a", resources=both(cpu="1", memory="100Mi")),
        make_container("b", resources=both(cpu="2", memory="50Mi")),
        init=[
            make_container("first", resources=both(cpu="3", memory="10Mi")),
            make_sidecar("side", resources=both(cpu="1", memory="20Mi")),
            make_container("second", resources=both(cpu="2500m", memory="300Mi")),
        ],
        overhead={"cpu": "250m", "memory": "5Mi"},
    )
    demand = pod_demand(pod)
    # cpu: max(3, 1 + 2.5, 1 + 1 + 2) + 0.25; memory: max(10, 20 + 300, 20 + 150) + 5
    assert (demand.cpu_request_milli, demand.memory_request) == (4250, 325 * MI)
    assert (demand.cpu_limit_milli, demand.memory_limit) == (4250, 325 * MI)
    assert demand.qos is Qos.GUARANTEED


def test_one_container_without_a_limit_leaves_the_pod_without() -> None:
    pod = make_pod(asking("a", {"cpu": "1"}, {"cpu": "2", "memory": "9Mi"}), asking("b", {}, {"cpu": "1"}))
    demand = pod_demand(pod)
    assert (demand.cpu_limit_milli, demand.memory_limit) == (3000, None)
    assert demand.cpu_request_milli == 2000  # b asks for what it is limited to


def test_an_explicit_request_of_zero_is_not_the_limit() -> None:
    pod = make_pod(asking("a", {"cpu": "0"}, {"cpu": "1", "memory": "1Mi"}))
    assert (pod_demand(pod).cpu_request_milli, pod_demand(pod).memory_request) == (0, MI)


def test_pod_level_resources_decide() -> None:
    level = ResourceRequirements(requests={"cpu": "500m"}, limits={"cpu": "4", "memory": "1Gi"})
    demand = pod_demand(make_pod(asking("a", {"cpu": "100m"}), resources=level, overhead={"cpu": "100m"}))
    assert (demand.cpu_request_milli, demand.cpu_limit_milli) == (600, 4100)
    assert demand.memory_limit == 1024 * MI


def test_huge_pages_go_by_page_size() -> None:
    box = make_container(
        "a", resources=ResourceRequirements(limits={"hugepages-2Mi": "6Mi", "memory": "1Mi"})
    )
    assert container_demand(make_pod(box), box).hugepages == {2 * MI: 6 * MI}
    assert pod_demand(make_pod(box, make_container("b"))).hugepages == {2 * MI: 6 * MI}


@pytest.mark.parametrize(("cpu", "count"), [("2", 2), ("2000m", 2), ("1500m", 0), ("0", 0)])
def test_only_whole_cpus_are_owned(cpu: str, count: int) -> None:
    assert whole_cpus({"cpu": cpu}) == count


def test_a_guaranteed_pod_asks_in_the_order_its_containers_start() -> None:
    pod = make_pod(
        make_container("app", resources=both(cpu="2", memory="10Mi")),
        init=[
            make_container("init", resources=both(cpu="3", memory="4Mi")),
            make_sidecar("side", resources=both(cpu="1", memory="1Mi")),
        ],
    )
    asks = pod_asks(pod)
    assert [(one.container, one.count, set(one.reusable_from)) for one in asks.cpus] == [
        ("init", 3, {"init"}),
        ("side", 1, {"init"}),
        ("app", 2, {"init"}),
    ]
    assert [dict(one.sizes) for one in asks.memory] == [
        {"memory": 4 * MI},
        {"memory": MI},
        {"memory": 10 * MI},
    ]
    assert (pod_cpus(pod), pod_memory(pod)) == (3, {"memory": 11 * MI})


@pytest.mark.parametrize("level", [None, both(cpu="2", memory="1Gi")])
def test_burstable_pods_and_pods_with_pod_level_resources_own_nothing(
    level: ResourceRequirements | None,
) -> None:
    pod = make_pod(asking("a", {"cpu": "2", "memory": "1Mi"}), resources=level)
    asks = pod_asks(pod)
    assert [one.count for one in asks.cpus] == [0]
    assert [dict(one.sizes) for one in asks.memory] == [{}]
    assert pod_memory(pod) == {}
