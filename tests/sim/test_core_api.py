"""Pods of the API server on a simulated node: up, shown, changed, gone, through outages and restarts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cri.fake import Behaviour
from kube import status
from kube.client import resources
from kube.fake.faults import Pattern
from kubelet.checkpoint import DIRECTORY
from kubelet.model import Stage
from tests.simcluster import NAMESPACE, ClusterNode, simulate_cluster
from tests.simnode import IMAGE, NODE_NAME, manifest

pytestmark = pytest.mark.sim

OBEYS_IN_5 = Behaviour(on_term=0, term_seconds=5.0)
DEAF = Behaviour(on_term=None)


async def up(node: ClusterNode, *manifests: dict[str, Any]) -> None:
    for one in manifests:
        node.create(one)
    names = [one["metadata"]["name"] for one in manifests]
    await node.until(lambda: all(node.is_ready(name) for name in names), what=f"{names} ready")


def last_states(node: ClusterNode, name: str) -> list[dict[str, Any]]:
    """Every state the API had of the pod, oldest first."""
    place = (NAMESPACE, name)
    changes = node.api.history.changes
    return [one.last for one in changes if one.resource == resources.PODS and one.place == place]


def count_writes(node: ClusterNode) -> Counter[str]:
    return Counter(f"{one.verb} {one.subresource}".strip() for one in node.writes())


# Coming up


def test_pod_of_the_api_comes_up_and_its_status_is_shown(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("web"))
        shown = node.shown("web")
        assert shown["phase"] == "Running" and shown["qosClass"] == "BestEffort"
        assert shown["podIPs"] == [{"ip": shown["podIP"]}] and shown["startTime"]
        assert shown["hostIP"] == "192.0.2.1" and shown["hostIPs"] == [{"ip": "192.0.2.1"}]
        assert shown["observedGeneration"] == 1
        assert {one["type"] for one in shown["conditions"]} == {
            "PodReadyToStartContainers",
            "Initialized",
            "Ready",
            "ContainersReady",
            "PodScheduled",
        }
        (container,) = shown["containerStatuses"]
        assert container["ready"] and container["containerID"].startswith("fake://")

    simulate_cluster(tmp_path, scenario)


def test_ready_is_in_the_api_within_milliseconds_of_being_so(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.create(manifest("web"))
        await node.until(lambda: bool(node.running("web")))
        assert await node.until(lambda: node.is_ready("web")) <= 0.02

    simulate_cluster(tmp_path, scenario)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.7])
def test_burst_of_55_pods_costs_at_most_two_status_writes_each(tmp_path: Path, seconds: float) -> None:
    """However long the runtime takes for each call: one as the pod begins, one as it is ready."""

    async def scenario(node: ClusterNode) -> None:
        for call in ("run_pod_sandbox", "create_container", "start_container"):
            node.runtime.fail(call, times=1000, delay_seconds=seconds)
        names = [f"p{number}" for number in range(55)]
        await up(node, *(manifest(name) for name in names))
        await node.run(30)
        writes = count_writes(node)
        assert set(writes) == {"patch status"}
        assert writes["patch status"] <= 2 * len(names), writes
        for name in names:
            node.delete(name)
        await node.until(lambda: not any(map(node.has, names)))
        await node.run(30)
        assert count_writes(node)["delete"] == len(names)
        assert count_writes(node)["patch status"] <= writes["patch status"] + len(names)
        assert count_writes(node)["get"] == 0, "the watch tells all there is to know"
        assert node.is_clean()

    simulate_cluster(tmp_path, scenario)


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("web"))
        await node.run(5)
        before = len(node.writes())
        await node.run(3600)
        assert len(node.writes()) == before

    simulate_cluster(tmp_path, scenario)


def test_pod_without_room_fails_in_the_api_with_the_reason(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        wants = {"name": "app", "resources": {"requests": {"cpu": "1000"}}}
        node.create(manifest("big", wants))
        await node.until(lambda: node.phase("big") == "Failed", within=1)
        shown = node.shown("big")
        assert shown["reason"] == "OutOfcpu"
        assert shown["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu")
        await node.run(60)
        assert node.calls("run_pod_sandbox") == []
        node.delete("big")
        await node.until(lambda: not node.has("big"))
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_job_is_shown_as_succeeded_only_after_its_container_ended(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=3.0), container_name="app")
        node.create(manifest("job", restartPolicy="Never"))
        await node.until(lambda: node.phase("job") == "Succeeded", within=4)
        (container,) = node.shown("job")["containerStatuses"]
        assert container["state"]["terminated"]["exitCode"] == 0
        assert node.condition("job", "Ready") == "False"
        phases = [one["status"]["phase"] for one in last_states(node, "job")]
        assert phases == sorted(phases, key=["Pending", "Running", "Succeeded"].index)

    simulate_cluster(tmp_path, scenario)


def test_readiness_gate_that_somebody_else_sets_makes_the_pod_ready(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        gate = "example.com/registered"
        node.create(manifest("web", readinessGates=[{"conditionType": gate}]))
        await node.until(lambda: node.condition("web", "ContainersReady") == "True")
        assert node.condition("web", "Ready") == "False"
        conditions = [*node.shown("web")["conditions"], {"type": gate, "status": "True"}]
        node.change("web", status={"conditions": conditions})
        await node.until(lambda: node.is_ready("web"), within=1)
        assert node.condition("web", gate) == "True", "a condition of somebody else was lost"
        kept = [one for one in node.shown("web")["conditions"] if one["type"] != gate]
        node.change("web", status={"conditions": [*kept, {"type": gate, "status": "False"}]})
        await node.until(lambda: not node.is_ready("web"), within=1)

    simulate_cluster(tmp_path, scenario)


def test_status_that_somebody_overwrote_is_put_right_and_a_quarrel_is_slow(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("web"))
        await node.run(20)
        node.change("web", status={"podIP": "203.0.113.9", "phase": "Pending"})
        await node.until(lambda: node.phase("web") == "Running", within=1)
        assert node.shown("web")["podIP"] != "203.0.113.9"
        before = len(node.writes())
        for _ in range(20):
            node.change("web", status={"phase": "Pending"})
            await node.run(1)
        assert 1 <= len(node.writes()) - before <= 3
        await node.until(lambda: node.phase("web") == "Running", within=11)
        assert node.count("web", "app") == 0

    simulate_cluster(tmp_path, scenario)


def test_failing_pod_is_held_back_although_its_status_comes_back_each_time(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.fail("run_pod_sandbox", times=10_000)
        node.create(manifest("web"))
        await node.run(60)
        assert len(node.calls("run_pod_sandbox")) <= 15

    simulate_cluster(tmp_path, scenario)


# Going


def test_deleted_pod_gets_its_grace_and_then_leaves_the_api_and_the_node(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        node.delete("web")
        await node.run(4)
        assert node.has("web") and node.running("web")
        took = await node.until(lambda: not node.has("web"))
        assert took == pytest.approx(1, abs=0.2)
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_api_has_the_exit_code_before_the_pod_leaves_it(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(on_term=7), container_name="app")
        await up(node, manifest("web"))
        node.delete("web")
        await node.until(lambda: not node.has("web"))
        shown = last_states(node, "web")[-1]["status"]
        assert shown["phase"] == "Failed"
        assert shown["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
        assert shown["podIP"]
        assert {one["type"]: one["status"] for one in shown["conditions"]}["Ready"] == "False"
        (delete,) = [one for one in node.writes() if one.verb == "delete"]
        assert node.writes()[-1] == delete, "something was written after the pod was gone"

    simulate_cluster(tmp_path, scenario)


def test_pod_is_not_deleted_while_a_volume_is_still_mounted(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        held = True

        def hold(name: str) -> None:
            if held and name == "before:ReleaseVolumes":
                raise OSError("device is busy")

        node.point = hold
        await up(node, manifest("web", volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]))
        node.delete("web")
        await node.until(lambda: node.phase("web") == "Succeeded")
        await node.run(30)
        assert node.has("web") and not node.running()
        held = False
        await node.until(lambda: not node.has("web"), within=11)
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_second_delete_only_shortens_the_grace(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(DEAF, container_name="app")
        await up(node, manifest("web", terminationGracePeriodSeconds=600))
        node.delete("web", 100)
        await node.run(10)
        node.delete("web", 300)
        await node.run(10)
        node.delete("web", 5)
        took = await node.until(lambda: not node.has("web"))
        assert took == pytest.approx(5, abs=0.3)

    simulate_cluster(tmp_path, scenario)


def test_pod_deleted_by_force_is_killed_although_the_api_has_it_no_more(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(DEAF, container_name="app")
        await up(node, manifest("web", terminationGracePeriodSeconds=600))
        node.delete("web", 0)
        assert not node.has("web")
        await node.until(node.is_clean, within=3)
        assert all(one.verb != "delete" for one in node.writes())

    simulate_cluster(tmp_path, scenario)


def test_pod_on_its_way_out_is_killed_when_it_is_then_deleted_by_force(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(DEAF, container_name="app")
        await up(node, manifest("web", terminationGracePeriodSeconds=600))
        node.delete("web")
        await node.run(10)
        node.delete("web", 0)
        assert not node.has("web")
        await node.until(node.is_clean, within=3)

    simulate_cluster(tmp_path, scenario)


def test_pod_with_a_finalizer_is_asked_away_once_and_shown_as_over(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        one = manifest("web")
        one["metadata"]["finalizers"] = ["example.com/hold"]
        await up(node, one)
        node.delete("web")
        await node.run(120)
        assert node.phase("web") == "Succeeded" and not node.running()
        assert count_writes(node)["delete"] == 1
        node.api.remove(resources.PODS, "web", NAMESPACE)
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_pod_of_the_same_name_starts_while_the_old_one_still_ends(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        old = node.pod("web")["metadata"]["uid"]
        node.api.remove(resources.PODS, "web", NAMESPACE)
        await up(node, manifest("web"))
        new = node.pod("web")["metadata"]["uid"]
        assert new != old and {worker.uid for worker in node.workers.all()} == {old, new}
        await node.until(lambda: len(node.workers) == 1)
        await node.run(10)
        assert node.is_ready("web") and node.pod("web")["metadata"]["uid"] == new

    simulate_cluster(tmp_path, scenario)


def test_pod_that_others_call_failed_is_stopped(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("web"))
        node.change("web", status={"phase": "Failed", "reason": "NodeLost"})
        await node.until(lambda: not node.running(), within=5)
        await node.run(30)
        assert node.phase("web") == "Failed" and node.shown("web")["reason"] == "NodeLost"
        assert node.stage("web") is Stage.TERMINATED

    simulate_cluster(tmp_path, scenario)


# Seen for the first time


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pod_that_is_over_when_it_is_first_seen_is_never_started(tmp_path: Path, phase: str) -> None:
    async def scenario(node: ClusterNode) -> None:
        exit_ = {"exitCode": 0, "reason": "Completed"}
        container = {"name": "app", "ready": False, "restartCount": 4, "image": "x", "imageID": ""}
        container["state"] = {"terminated": exit_}
        node.create({**manifest("job"), "status": {"phase": phase, "containerStatuses": [container]}})
        await node.run(60)
        assert node.calls("run_pod_sandbox") == []
        shown = node.shown("job")
        assert shown["phase"] == phase
        assert shown["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        assert shown["containerStatuses"][0]["restartCount"] == 4
        node.delete("job")
        await node.until(lambda: not node.has("job"))
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_pod_that_is_being_deleted_when_it_is_first_seen_is_never_started(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await node.stop()
        node.create(manifest("web"))
        node.delete("web")
        await node.start()
        await node.until(lambda: not node.has("web"), within=5)
        assert node.calls("run_pod_sandbox") == []
        assert last_states(node, "web")[-1]["status"]["phase"] == "Failed"
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_pod_that_cannot_be_decoded_is_told_and_others_run(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.create({**manifest("odd"), "spec": {"containers": "none"}})
        await up(node, manifest("web"))
        (said,) = node.said("FailedValidation")
        assert "spec.containers" in said
        node.change("odd", spec={"containers": [{"name": "app", "image": IMAGE}]})
        await node.until(lambda: node.is_ready("odd"))

    simulate_cluster(tmp_path, scenario)


# Without an API server


def test_ten_minutes_without_an_api_server_change_nothing_that_runs(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        names = ["a", "b", "c"]
        await up(node, *(manifest(name) for name in names))
        before = {name: node.running(name) for name in names}
        stops = len(node.calls("stop_container", "stop_pod_sandbox"))
        node.api.go_away()
        await node.run(300)
        node.runtime.crash(before["a"]["app"])
        await node.until(lambda: node.running("a") not in ({}, before["a"]), what="restarted all the same")
        await node.run(300)
        assert node.running("b") == before["b"] and node.running("c") == before["c"]
        assert len(node.calls("stop_container", "stop_pod_sandbox")) == stops
        assert node.shown("a")["containerStatuses"][0]["restartCount"] == 0
        node.api.come_back()
        told = lambda: node.shown("a")["containerStatuses"][0]["restartCount"] == 1  # noqa: E731
        assert await node.until(told, within=15) <= 13
        await node.run(60)
        assert node.running("b") == before["b"]

    simulate_cluster(tmp_path, scenario)


def test_agent_started_without_an_api_server_stops_nothing_until_it_is_back(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("keep"), manifest("drop"))
        before = node.running("keep")
        await node.kill()
        node.api.go_away()
        await node.start()
        await node.run(600)
        assert node.running("keep") == before and node.running("drop")
        node.api.remove(resources.PODS, "drop", NAMESPACE)
        node.api.come_back()
        await node.until(lambda: not node.running("drop"), within=70)
        assert node.running("keep") == before
        await node.run(60)
        assert node.running("keep") == before and node.is_ready("keep")

    simulate_cluster(tmp_path, scenario)


def test_agent_started_without_an_api_server_tends_to_the_pods_it_remembers(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(DEAF, container_name="ends")
        going = manifest("going", "ends", terminationGracePeriodSeconds=60)
        await up(node, manifest("keep"), manifest("drop"), going)
        node.delete("going")
        await node.run(20)
        before = node.running("drop")
        await node.kill()
        node.api.go_away()
        node.runtime.crash(node.running("keep")["app"])
        await node.start()
        await node.run(5)
        assert not node.running("keep"), "it acted before the API had a chance to speak"
        await node.until(lambda: bool(node.running("keep")), within=10)
        await node.until(lambda: not node.running("going"), within=35)
        await node.run(300)
        assert node.running("drop") == before
        node.api.remove(resources.PODS, "drop", NAMESPACE)
        node.api.come_back()
        await node.until(lambda: not node.running("drop") and not node.has("going"), within=70)
        await node.run(60)
        assert node.is_ready("keep") and node.count("keep", "app") == 1
        assert node.shown("keep")["containerStatuses"][0]["restartCount"] == 1

    simulate_cluster(tmp_path, scenario)


def test_pod_that_a_restarted_agent_cannot_decode_goes_on(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("web"))
        running = node.running("web")
        await node.kill()
        containers = node.pod("web")["spec"]["containers"]
        node.change("web", spec={"containers": "none"})
        await node.start()
        await node.run(60)
        assert node.running("web") == running
        node.change("web", spec={"containers": containers}, metadata={"labels": {"a": "b"}})
        await node.until(lambda: node.is_ready("web"))
        assert node.running("web") == running
        node.delete("web")
        await node.until(lambda: not node.has("web"))
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_watch_that_breaks_or_expires_loses_nothing(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("a"), manifest("b"))
        before = node.running("b")
        node.api.end_watches(status.too_old(1, 2))
        node.create(manifest("c"))
        node.api.remove(resources.PODS, "a", NAMESPACE)
        node.api.compact()
        await node.until(lambda: node.is_ready("c") and not node.running("a"))
        assert node.running("b") == before

    simulate_cluster(tmp_path, scenario)


def test_end_of_a_pod_is_told_when_the_api_server_is_back(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(on_term=9, term_seconds=5.0), container_name="app")
        await up(node, manifest("web"))
        node.delete("web")
        await node.run(1)
        node.api.go_away()
        await node.run(120)
        assert not node.running() and node.has("web")
        assert node.stage("web") is Stage.TERMINATED, "it is known until the API has let it go"
        await node.kill()
        await node.start()
        node.api.come_back()
        await node.until(lambda: not node.has("web"), within=60)
        shown = last_states(node, "web")[-1]["status"]
        assert shown["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 9
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
def test_write_that_fails_is_made_again(tmp_path: Path, *, after: bool) -> None:
    async def scenario(node: ClusterNode) -> None:
        broken = status.error_of(status.of_code(503, "apiserver is starting"))
        node.api.fail(broken, Pattern("patch", resources.PODS), times=3, after=after)
        node.api.fail(broken, Pattern("delete", resources.PODS), times=2, after=after)
        await up(node, manifest("web"))
        node.delete("web")
        await node.until(lambda: not node.has("web"))
        await node.until(node.is_clean)
        assert len(node.writes()) < 15

    simulate_cluster(tmp_path, scenario)


def test_slow_api_server_holds_no_pod_up(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.api.delay(20.0, Pattern("patch", resources.PODS))
        names = [f"p{number}" for number in range(30)]
        for name in names:
            node.create(manifest(name))
        await node.until(lambda: len(node.calls("start_container")) == 30, within=2)
        await node.until(lambda: all(map(node.is_ready, names)), within=300)
        assert count_writes(node)["patch status"] <= 60

    simulate_cluster(tmp_path, scenario)


# The agent starts again


@pytest.mark.parametrize("violently", [False, True])
def test_restarted_agent_goes_on_with_what_runs_and_writes_nothing(
    tmp_path: Path, *, violently: bool
) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, *(manifest(f"p{number}") for number in range(5)))
        await node.run(5)
        before, written = node.running("p3"), len(node.writes())
        await (node.kill() if violently else node.stop())
        await node.run_without_agent(30)
        await node.start()
        await node.run(60)
        assert node.running("p3") == before
        assert len(node.writes()) == written, "a status was written without a difference"
        assert all(node.is_ready(f"p{number}") for number in range(5))

    simulate_cluster(tmp_path, scenario)


def test_pod_that_changed_while_no_agent_ran_is_told_by_the_next(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("web"))
        await node.run(1)
        await node.kill()
        node.runtime.crash(node.running("web")["app"])
        await node.start()
        await node.until(lambda: node.shown("web")["containerStatuses"][0]["restartCount"] == 1)

    simulate_cluster(tmp_path, scenario)


def test_status_that_was_made_and_not_sent_is_sent_by_the_next_agent(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.api.fail(status.error_of(status.of_code(503, "later")), Pattern("patch"), times=-1)
        node.create(manifest("web"))
        await node.until(lambda: bool(node.running("web")))
        await node.run(1)
        assert node.phase("web") == "Pending"
        await node.kill()
        node.api.faults.pending.clear()
        await node.start()
        await node.until(lambda: node.is_ready("web"), within=2)

    simulate_cluster(tmp_path, scenario)


def test_finished_pod_is_not_run_again_even_when_its_checkpoint_is_lost(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=1.0), container_name="app")
        node.create(manifest("job", restartPolicy="Never"))
        await node.until(lambda: node.phase("job") == "Succeeded")
        await node.run(1)
        await node.kill()
        for path in (Path(node.facts.root_dir) / DIRECTORY).iterdir():
            path.unlink()
        node.runtime.reboot()
        await node.start()
        await node.run(60)
        assert node.calls("create_container") == ["create_container"]
        shown = node.shown("job")
        assert shown["phase"] == "Succeeded"
        assert shown["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    simulate_cluster(tmp_path, scenario)


def test_deletion_goes_on_under_the_next_agent_with_what_is_left_of_its_grace(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(DEAF, container_name="app")
        await up(node, manifest("web", terminationGracePeriodSeconds=40))
        node.delete("web")
        await node.run(10)
        await node.kill()
        await node.start()
        took = await node.until(lambda: not node.has("web"))
        assert took == pytest.approx(30, abs=1)
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_node_name_selects_the_pods(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        other = manifest("other")
        other["metadata"]["namespace"] = NAMESPACE
        other["spec"]["nodeName"] = "node-2"
        node.api.put(other)
        await up(node, manifest("web"))
        assert [worker.name for worker in node.workers.all()] == [f"{NAMESPACE}/web"]
        assert node.pod("web")["spec"]["nodeName"] == NODE_NAME

    simulate_cluster(tmp_path, scenario)
