"""Pods on a node under virtual time: the agent's own parts over the fake runtime."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aio.errors import Bug
from cri.errors import CriError, DeadlineExceeded, Unavailable
from cri.fake import Abandoned, Behaviour
from kubelet import happened as h
from kubelet.model import Stage
from probes.outcome import failure, success
from tests.simnode import SimNode, manifest, simulate

pytestmark = pytest.mark.sim

CRASHES = Behaviour(exit_code=1, after_seconds=1.0)
OBEYS_IN_5 = Behaviour(on_term=0, term_seconds=5.0)
DEAF = Behaviour(on_term=None)
PROBE = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
HOOK = {"exec": {"command": ["hook"]}}


def is_up(node: SimNode, name: str, *containers: str) -> bool:
    return set(node.running(name)) == set(containers or ("app",))


async def up(node: SimNode, given: dict[str, Any], *containers: str) -> None:
    """Want the pod and wait until those containers of it run."""
    node.want(given)
    name = given["metadata"]["name"]
    await node.until(lambda: is_up(node, name, *containers), what=f"{name} is up")
    await node.run(0.2)  # statuses and checkpoints are written


# Life on the node


def test_pod_starts_serves_and_is_reported_running(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.want(manifest("web", "a", "b"))
        await node.until(lambda: is_up(node, "web", "a", "b"), within=2)
        await node.run(0.1)
        status = node.status("web")
        assert status["phase"] == "Running" and status["podIP"].startswith("10.")
        assert {one["name"]: one["ready"] for one in status["containerStatuses"]} == {"a": True, "b": True}
        assert len(node.said("Started")) == 2 and not node.said("Failed")

    simulate(tmp_path, scenario)


def test_fifty_pods_at_once_all_start_and_all_go_and_leave_nothing(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        names = [f"p{number}" for number in range(50)]
        node.want(*(manifest(name, "a", "b", volumes=[{"name": "v", "emptyDir": {}}]) for name in names))
        await node.until(lambda: len(node.runtime.world.containers) == 100 and node.ready_sandboxes() == 50)
        await node.until(lambda: all(is_up(node, name, "a", "b") for name in names))
        node.unwant(*names)
        await node.until(lambda: len(node.workers) == 0, within=40)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_crashing_container_comes_back_at_once_and_then_in_back_off_time(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(CRASHES, container_name="app")
        node.want(manifest("crash"))
        await node.run(100)
        starts = [call.at for call in node.runtime.calls if call.name == "start_container"]
        gaps = [round(later - earlier, 1) for earlier, later in pairwise(starts)]
        assert gaps == [1.0, 11.0, 21.0, 41.0]
        (container,) = node.status("crash")["containerStatuses"]
        assert container["restartCount"] == 4
        assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert container["lastState"]["terminated"]["exitCode"] == 1
        assert len(node.runtime.world.containers) <= 2, "dead containers pile up"

    simulate(tmp_path, scenario)


def test_hundred_crashes_of_fifty_pods_are_all_seen_with_the_relist_at_an_hour(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        names = [f"p{number}" for number in range(50)]
        node.want(*(manifest(name) for name in names))
        await node.until(lambda: all(is_up(node, name) for name in names))
        for expected in (1, 2):
            for name in names:
                node.runtime.crash(node.running(name)["app"])
            await node.run(12)
            assert {node.count(name, "app") for name in names} == {expected}

    simulate(tmp_path, scenario)


def test_job_like_pod_succeeds_and_keeps_its_logs_until_removed(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=3.0), container_name="app")
        node.want(manifest("job", restartPolicy="Never"))
        await node.until(lambda: node.stage("job") is Stage.TERMINATED)
        await node.run(1000)
        assert node.status("job")["phase"] == "Succeeded"
        assert node.ready_sandboxes() == 0 and len(node.runtime.world.containers) == 1
        node.unwant("job")
        await node.run(1)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_init_containers_and_sidecars_come_up_in_order(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=2.0), container_name="init")
        sidecar = {"name": "side", "restartPolicy": "Always", "startupProbe": PROBE}
        node.want(manifest("web", "app", initContainers=["init", sidecar]))
        await node.run(1)
        assert set(node.running("web")) == {"init"}
        await node.until(lambda: is_up(node, "web", "side", "app"), within=10)
        assert node.status("web")["initContainerStatuses"][1]["started"] is True

    simulate(tmp_path, scenario)


def test_failed_liveness_probe_restarts_its_container_after_the_hook(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(
            node, manifest("web", {"name": "app", "livenessProbe": PROBE, "lifecycle": {"preStop": HOOK}})
        )
        node.answers.next.append(failure("sick"))
        await node.until(lambda: is_up(node, "web") and node.count("web", "app") == 1)
        assert node.said("Unhealthy") == ["Liveness probe failed: sick"]
        assert node.said("Killing") == ["Container app failed liveness probe, will be restarted"]
        assert len(node.calls("exec_sync")) == 1
        await node.run(60)
        assert node.count("web", "app") == 1

    simulate(tmp_path, scenario)


def test_container_is_ready_only_while_its_readiness_probe_says_so(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.answers.always = failure("warming up")
        await up(node, manifest("web", {"name": "app", "readinessProbe": PROBE}))
        assert node.status("web")["containerStatuses"][0]["ready"] is False
        node.answers.always = success()
        await node.until(lambda: node.status("web")["containerStatuses"][0]["ready"], within=3)
        node.answers.always = failure("overload")
        await node.until(lambda: not node.status("web")["containerStatuses"][0]["ready"], within=3)
        assert node.count("web", "app") == 0

    simulate(tmp_path, scenario)


# Going


def test_removed_pod_gets_term_then_its_grace_then_kill(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(DEAF, container_name="deaf")
        node.runtime.behave(OBEYS_IN_5, container_name="slow")
        await up(node, manifest("web", "deaf", "slow", terminationGracePeriodSeconds=20), "deaf", "slow")
        node.unwant("web")
        assert await node.until(lambda: set(node.running("web")) == {"deaf"}) == pytest.approx(5, abs=0.1)
        took = await node.until(lambda: len(node.workers) == 0)
        assert took == pytest.approx(15, abs=0.2)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_hook_that_hangs_costs_the_grace_and_no_more(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.on_exec(Behaviour(), command=("hook",))
        given = {"name": "app", "lifecycle": {"preStop": HOOK}}
        await up(node, manifest("web", given, terminationGracePeriodSeconds=10))
        node.unwant("web")
        took = await node.until(lambda: len(node.workers) == 0)
        assert 10 <= took <= 12.5
        assert node.said("FailedPreStopHook") and node.is_clean()

    simulate(tmp_path, scenario)


def test_manifest_put_back_while_its_pod_ends_starts_anew_when_it_has_ended(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        before, uid = node.running("web")["app"], node.worker("web").uid
        node.unwant("web")
        await node.run(2)
        node.want(manifest("web"))
        await node.run(1)
        assert node.running("web") == {"app": before}, "the stop was taken back"
        await node.until(lambda: node.running("web").get("app", before) != before)
        assert node.worker("web").uid == uid
        assert node.ready_sandboxes() == 1 and len(node.runtime.world.sandboxes) == 1

    simulate(tmp_path, scenario)


def test_changed_manifest_is_a_new_pod_that_waits_for_the_old_one(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        old = node.worker("web").uid
        node.want(manifest("web", "app", hostname="other"))
        await node.run(4)
        assert [pod.metadata.name for pod in node.workers.held()] == ["web-node-1"]
        assert {box.config.metadata.uid for box in node.runtime.world.sandboxes.values()} == {old}
        await node.until(lambda: is_up(node, "web") and node.worker("web").uid != old)
        assert node.workers.held() == []
        assert len(node.runtime.world.sandboxes) == 1

    simulate(tmp_path, scenario)


def test_manifest_edited_three_times_while_the_old_pod_ends_runs_only_the_last(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        for text in ("one", "two", "three"):
            node.want(manifest("web", "app", hostname=text))
            await node.run(1)
        await node.run(20)
        pod = node.worker("web").state.pod
        assert pod is not None and pod.spec.hostname == "three"
        assert node.calls("run_pod_sandbox") == ["run_pod_sandbox"] * 2

    simulate(tmp_path, scenario)


def test_pod_removed_before_anything_was_made_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.want(manifest("web"))
        node.unwant("web")
        await node.run(5)
        assert node.is_clean() and node.calls("run_pod_sandbox") == []

    simulate(tmp_path, scenario)


# Faults of the runtime


def test_outage_of_the_runtime_is_waited_out_and_nothing_restarts(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("old", "app"))
        before = node.running("old")
        node.runtime.go_down()
        node.want(manifest("new", "app"))
        await node.run(300)
        assert "run_pod_sandbox" not in [call.name for call in node.runtime.calls if call.at > 1290]
        node.runtime.come_up()
        assert await node.until(lambda: is_up(node, "new")) < 11
        assert node.running("old") == before

    simulate(tmp_path, scenario)


def test_crash_during_an_outage_is_seen_when_the_runtime_returns(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        node.runtime.go_down()
        node.runtime.crash(node.running("web")["app"])
        await node.run(30)
        node.runtime.come_up()
        assert await node.until(lambda: is_up(node, "web")) < 2
        assert node.count("web", "app") == 1

    simulate(tmp_path, scenario)


def test_removal_during_an_outage_is_done_when_the_runtime_returns(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        node.runtime.go_down()
        node.unwant("web")
        await node.run(60)
        assert node.stage("web") is Stage.TERMINATING
        node.runtime.come_up()
        await node.until(lambda: len(node.workers) == 0, within=12)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_lost_events_are_made_up_for_by_the_slow_relist(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        node.source.is_deaf = True
        node.runtime.crash(node.running("web")["app"])
        await node.run(5)
        assert node.running("web") == {}
        await node.until(lambda: is_up(node, "web"), within=11)

    simulate(tmp_path, scenario, relist_seconds=10.0)


def test_lost_sandbox_is_replaced_and_its_address_given_back(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        await node.run(5)
        (box,) = node.runtime.world.sandboxes
        node.runtime.lose_sandbox(box)
        await node.until(lambda: node.ready_sandboxes() == 1 and is_up(node, "web"), within=40)
        assert node.count("web", "app") == 1 and len(node.runtime.world.leases) == 1
        assert node.said("SandboxChanged")

    simulate(tmp_path, scenario)


@pytest.mark.parametrize("call", ["run_pod_sandbox", "create_container", "start_container"])
def test_answer_that_is_lost_doubles_nothing(tmp_path: Path, call: str) -> None:
    async def scenario(node: SimNode) -> None:
        error = DeadlineExceeded("context deadline exceeded", call=call)
        node.runtime.fail(call, error, times=1, is_answer_lost=True)
        await up(node, manifest("web"))
        await node.run(30)
        assert len(node.runtime.world.sandboxes) == len(node.runtime.world.containers) == 1
        assert node.count("web", "app") == 0
        node.unwant("web")
        await node.run(40)
        assert node.is_clean()

    simulate(tmp_path, scenario)


@pytest.mark.parametrize("call", ["run_pod_sandbox", "create_container"])
def test_lost_answer_of_a_pod_that_is_removed_meanwhile_leaves_nothing(tmp_path: Path, call: str) -> None:
    async def scenario(node: SimNode) -> None:
        error = DeadlineExceeded("context deadline exceeded", call=call)
        node.runtime.fail(call, error, times=1, delay_seconds=2.0, is_answer_lost=True)
        node.want(manifest("web"))
        await node.run(1)
        node.unwant("web")
        await node.run(60)
        assert node.is_clean()

    simulate(tmp_path, scenario)


@pytest.mark.parametrize("call", ["stop_container", "stop_pod_sandbox", "remove_pod_sandbox"])
def test_failing_stop_is_repeated_until_the_pod_is_gone(tmp_path: Path, call: str) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        node.runtime.fail(call, CriError("device is busy", call=call), times=4)
        node.unwant("web")
        await node.until(lambda: len(node.workers) == 0, within=30)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_pull_that_fails_for_want_of_a_registry_waits_and_says_so(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.want(manifest("web", {"name": "app", "image": "registry.example/none:1"}, "other"))
        await node.run(30)
        assert set(node.running("web")) == {"other"}
        first = node.status("web")["containerStatuses"][0]["state"]["waiting"]
        assert first["reason"] in ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
        node.unwant("web")
        await node.run(40)
        assert node.is_clean()

    simulate(tmp_path, scenario)


# The agent ends and comes back


async def again(node: SimNode, *, violently: bool) -> None:
    if violently:
        await node.kill()
    else:
        await node.stop()
    await node.start()


@pytest.mark.parametrize("violently", [False, True])
def test_new_agent_adopts_everything_and_touches_nothing(tmp_path: Path, violently: bool) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=1.0), container_name="init")
        hooked = {"name": "hooked", "lifecycle": {"postStart": HOOK}, "readinessProbe": PROBE}
        await up(node, manifest("web", "app", hooked, initContainers=["init"]), "app", "hooked")
        await node.run(5)
        running, status = node.running("web"), node.status("web")
        mark = len(node.runtime.calls)
        await again(node, violently=violently)
        node.deliver()
        await node.run(30)
        assert node.running("web") == running
        changing = {"run_pod_sandbox", "create_container", "start_container", "stop_container", "exec_sync"}
        assert not changing & {call.name for call in node.runtime.calls[mark:]}
        assert node.status("web") == status

    simulate(tmp_path, scenario)


def test_crash_while_the_agent_was_away_is_restarted_under_its_old_back_off(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        for _ in range(2):
            node.runtime.crash(node.running("web")["app"])
            await node.until(lambda: is_up(node, "web"))
        await node.run(1)
        await node.kill()
        node.runtime.crash(node.running("web")["app"])
        await node.start()
        node.deliver()
        await node.run(15)
        assert node.running("web") == {}, "the back-off of 20 s was forgotten"
        await node.until(lambda: is_up(node, "web"), within=6)
        assert node.count("web", "app") == 3

    simulate(tmp_path, scenario)


def test_stop_goes_on_with_the_rest_of_the_grace(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(DEAF, container_name="app")
        await up(node, manifest("web", terminationGracePeriodSeconds=20))
        node.unwant("web")
        await node.run(12)
        await again(node, violently=True)
        assert node.running("web"), "the stop waits for the grace"
        node.deliver()
        took = await node.until(lambda: len(node.workers) == 0)
        assert took == pytest.approx(8, abs=0.3)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_manifest_put_back_while_the_agent_was_away_restarts_after_the_stop(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        before = node.running("web")["app"]
        node.unwant("web")
        await node.run(1)
        await again(node, violently=True)
        node.want(manifest("web"))
        await node.until(lambda: node.running("web").get("app", before) != before)
        assert len(node.runtime.world.sandboxes) == 1

    simulate(tmp_path, scenario)


def test_orphan_is_stopped_only_after_every_source_has_spoken(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        await node.kill()
        del node.pods["web"]
        await node.start()
        await node.run(600)
        assert is_up(node, "web"), "silence was taken for an empty directory"
        node.deliver()
        await node.until(lambda: len(node.workers) == 0)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_orphan_without_a_checkpoint_is_stopped_by_what_its_containers_tell(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(DEAF, container_name="app")
        given = {"name": "app", "lifecycle": {"preStop": HOOK}}
        await up(node, manifest("web", given, terminationGracePeriodSeconds=7))
        await node.kill()
        for path in (Path(node.facts.root_dir) / "pykubelet/pods").iterdir():
            path.unlink()
        node.pods.clear()
        await node.start()
        node.deliver()
        took = await node.until(lambda: len(node.workers) == 0)
        assert took == pytest.approx(7, abs=0.3)
        assert len(node.calls("exec_sync")) == 1
        assert not node.runtime.world.sandboxes

    simulate(tmp_path, scenario)


def test_lost_checkpoint_restarts_nothing_when_the_manifest_is_still_there(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web", {"name": "app", "lifecycle": {"postStart": HOOK}}))
        running = node.running("web")
        await node.kill()
        for path in (Path(node.facts.root_dir) / "pykubelet/pods").iterdir():
            path.write_text("{ not json")
        await node.start()
        node.deliver()
        await node.run(30)
        assert node.running("web") == running
        assert len(node.calls("exec_sync")) == 1, "the postStart hook ran again"

    simulate(tmp_path, scenario)


def test_pod_of_a_manifest_that_cannot_be_read_is_held(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        running = node.running("web")
        await node.kill()
        del node.pods["web"]
        node.undecodable = {"web"}
        await node.start()
        node.deliver()
        await node.run(600)
        assert node.running("web") == running
        node.runtime.crash(running["app"])
        await node.until(lambda: is_up(node, "web"), what="a held pod is kept running")
        node.undecodable = set()
        node.deliver()
        await node.until(lambda: len(node.workers) == 0, what="its manifest is gone now")
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_changed_manifest_found_at_start_waits_for_the_old_pod(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        await up(node, manifest("web"))
        await node.kill()
        await node.start()
        node.want(manifest("web", "app", hostname="new"))
        await node.until(lambda: is_up(node, "web") and len(node.calls("run_pod_sandbox")) == 2)
        assert len(node.runtime.world.sandboxes) == 1

    simulate(tmp_path, scenario)


def test_finished_pod_is_not_run_again_by_a_new_agent(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(Behaviour(exit_code=3, after_seconds=1.0), container_name="app")
        node.want(manifest("job", restartPolicy="Never"))
        await node.until(lambda: node.stage("job") is Stage.TERMINATED)
        await node.run(1)
        await again(node, violently=True)
        node.deliver()
        await node.run(60)
        assert node.status("job")["phase"] == "Failed"
        assert node.calls("create_container") == ["create_container"]

    simulate(tmp_path, scenario)


def test_reboot_runs_everything_again_with_higher_counts(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        await node.run(5)
        await node.kill()
        node.runtime.reboot()
        await node.start()
        node.deliver()
        await node.until(lambda: is_up(node, "web"))
        assert node.count("web", "app") == 1 and node.ready_sandboxes() == 1

    simulate(tmp_path, scenario)


@pytest.mark.parametrize("completes", [True, False])
@pytest.mark.parametrize("call", ["run_pod_sandbox", "create_container"])
def test_call_cut_short_by_the_agents_death_doubles_nothing(
    tmp_path: Path, call: str, completes: bool
) -> None:
    """The name stays reserved for a while; then the half-made thing appears, or does not."""

    async def scenario(node: SimNode) -> None:
        node.runtime.abandoned = Abandoned(seconds=1.0, completes=completes)
        node.runtime.fail(call, times=1, is_hang=True)
        node.want(manifest("web"))
        await node.run(1)
        await again(node, violently=True)
        node.deliver()
        await node.until(lambda: is_up(node, "web"), within=20)
        await node.run(30)
        assert node.ready_sandboxes() == 1 and len(node.running()) == 1
        node.unwant("web")
        await node.run(40)
        assert not node.running() and not node.runtime.world.leases
        assert node.is_clean()

    simulate(tmp_path, scenario)


MARKED = (
    "PrepareVolumes",
    "EnsureImage",
    "RunSandbox",
    "CreateContainer",
    "StartContainer",
    "RunPostStart",
    "RunPreStop",
    "StopContainer",
    "StopSandbox",
    "ReleaseVolumes",
    "RemoveSandbox",
    "ForgetPod",
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", MARKED)
def test_agent_killed_at_any_mark_ends_where_an_undisturbed_one_does(
    tmp_path: Path, kind: str, when: str
) -> None:
    async def scenario(node: SimNode) -> None:
        passed: list[str] = []
        test = asyncio.current_task()

        def die_at(name: str) -> None:
            if name == f"{when}:{kind}" and not passed:
                passed.append(name)
                for task in asyncio.all_tasks() - {test}:
                    task.cancel()
                raise asyncio.CancelledError

        node.point = die_at
        hooks = {"postStart": HOOK, "preStop": HOOK}
        node.want(
            manifest("web", {"name": "app", "lifecycle": hooks}, volumes=[{"name": "v", "emptyDir": {}}])
        )
        await node.clock.sleep(2)
        if not passed:
            node.unwant("web")
            await node.clock.sleep(2)
        assert passed
        await node.kill()
        node.point = lambda _name: None
        await node.start()
        node.deliver()
        if node.pods:
            await node.until(lambda: is_up(node, "web"), within=20)
            await node.run(5)
            assert node.count("web", "app") == 0 and node.ready_sandboxes() == 1
            node.unwant("web")
        await node.until(lambda: len(node.workers) == 0, within=60)
        await node.run(2)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_stranger_in_the_runtime_is_stopped_by_the_relist(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        (record,) = node.runtime.world.sandboxes.values()
        uid = record.config.metadata.uid
        worker = node.workers.get(uid)
        assert worker is not None
        await node.kill()
        for path in (Path(node.facts.root_dir) / "pykubelet/pods").iterdir():
            path.unlink()
        boxes = dict(node.runtime.world.sandboxes)
        node.runtime.world.sandboxes.clear()  # not there when the agent takes stock
        containers = dict(node.runtime.world.containers)
        node.runtime.world.containers.clear()
        node.pods.clear()
        await node.start()
        node.deliver()
        await node.run(1)
        node.runtime.world.sandboxes.update(boxes)
        node.runtime.world.containers.update(containers)
        await node.run(60)
        assert not node.runtime.world.sandboxes

    simulate(tmp_path, scenario, relist_seconds=10.0)


def test_pod_with_an_impossible_event_order_ends_the_agent_with_its_story(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))
        node.worker("web").post(h.NothingRan())
        with pytest.raises(Bug, match="cannot take NothingRan") as caught:
            await node.run(1)
        assert any("StartContainer" in line for line in caught.value.story)

    with pytest.raises(Bug, match="cannot take NothingRan"):
        simulate(tmp_path, scenario)


def test_pods_on_a_full_disk_still_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(node: SimNode) -> None:
        await up(node, manifest("web"))

        def refuse(*_args: object, **_options: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("kubelet.checkpoint.CheckpointFiles._replace", refuse)
            node.unwant("web")
            await node.until(lambda: not node.running("web"), within=5)
        await node.until(lambda: len(node.workers) == 0)
        assert node.is_clean()

    simulate(tmp_path, scenario)


def test_unreachable_runtime_at_start_is_an_error_of_the_start(tmp_path: Path) -> None:
    async def scenario(node: SimNode) -> None:
        await node.stop()
        node.runtime.go_down()
        with pytest.raises(Unavailable):
            await node.start()
        node.runtime.come_up()
        await node.start()

    simulate(tmp_path, scenario)
