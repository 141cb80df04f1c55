"""The fake runtime keeps a runtime's rules: names, states, signals, logs, events, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from cri.errors import (
    CriError,
    DeadlineExceeded,
    ImagePullError,
    NameReserved,
    NotFound,
    Unavailable,
    Unimplemented,
)
from cri.events import EventKind, Resync
from cri.fake import Abandoned, Behaviour, FakeRuntime, Pullable
from cri.types import (
    AuthConfig,
    ContainerConfig,
    ContainerFilter,
    ContainerMetadata,
    ContainerState,
    ImageSpec,
    LinuxContainerConfig,
    LinuxContainerSecurityContext,
    NamespaceMode,
    NamespaceOption,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxMetadata,
    PodSandboxState,
)

pytestmark = pytest.mark.pure

Scenario = Callable[[FakeRuntime, VirtualClock], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def on(clock: VirtualClock) -> None:
        fake = FakeRuntime(clock)
        try:
            await scenario(fake, clock)
        finally:
            fake.close()

    virtual.run(on)


def pod(name: str = "web", attempt: int = 0, **more: object) -> PodSandboxConfig:
    metadata = PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default", attempt=attempt)
    return PodSandboxConfig(metadata=metadata, labels={"app": name}, **more)  # type: ignore[arg-type]


def container(*command: str, name: str = "main", attempt: int = 0, log_path: str = "") -> ContainerConfig:
    """PID 1 of its own namespace, as Kubernetes makes them."""
    return ContainerConfig(
        metadata=ContainerMetadata(name, attempt),
        image=ImageSpec("busybox:1.35"),
        command=command,
        log_path=log_path,
        linux=LinuxContainerConfig(
            security_context=LinuxContainerSecurityContext(
                namespace_options=NamespaceOption(pid=NamespaceMode.CONTAINER)
            )
        ),
    )


async def started(fake: FakeRuntime, *command: str) -> str:
    sandbox = await fake.run_pod_sandbox(pod())
    id = await fake.create_container(sandbox, container(*command), pod())
    await fake.start_container(id)
    return id


def test_sandbox_name_belongs_to_its_first_maker_until_removed() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        first = await fake.run_pod_sandbox(pod())
        with pytest.raises(NameReserved) as refused:
            await fake.run_pod_sandbox(pod())
        assert refused.value.owner_id == first
        await fake.stop_pod_sandbox(first)
        with pytest.raises(NameReserved):
            await fake.run_pod_sandbox(pod())
        assert await fake.run_pod_sandbox(pod(attempt=1)) != first
        await fake.remove_pod_sandbox(first)
        assert await fake.run_pod_sandbox(pod()) != first

    play(scenario)


def test_given_up_creation_keeps_its_name_until_the_runtime_drops_it() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        fake.fail("run_pod_sandbox", is_hang=True, times=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await fake.run_pod_sandbox(pod())
        with pytest.raises(NameReserved):
            await fake.run_pod_sandbox(pod())
        assert await fake.list_pod_sandboxes() == []
        await clock.sleep(1.1)
        await fake.run_pod_sandbox(pod())

    play(scenario)


def test_given_up_container_may_appear_later_under_the_reserved_id() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        fake.abandoned = Abandoned(seconds=2, completes=True)
        sandbox = await fake.run_pod_sandbox(pod())
        fake.fail("create_container", is_hang=True, times=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await fake.create_container(sandbox, container("sleep", "9"), pod())
        with pytest.raises(NameReserved) as refused:
            await fake.create_container(sandbox, container("sleep", "9"), pod())
        assert await fake.list_containers() == []
        await clock.sleep(2.5)
        (found,) = await fake.list_containers()
        assert (found.id, found.state) == (refused.value.owner_id, ContainerState.CONTAINER_CREATED)

    play(scenario)


def test_restart_forgets_half_made_things_and_keeps_running_ones() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        running = await started(fake, "sleep", "inf")
        fake.fail("run_pod_sandbox", is_hang=True, times=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await fake.run_pod_sandbox(pod("other"))
        fake.go_down()
        with pytest.raises(Unavailable):
            await fake.list_containers()
        fake.come_up()
        await fake.run_pod_sandbox(pod("other"))
        status = (await fake.container_status(running)).status
        assert status.state == ContainerState.CONTAINER_RUNNING

    play(scenario)


def test_exit_after_a_time_shows_code_reason_and_moments() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        id = await started(fake, "sh", "-c", "sleep 3; exit 7")
        await clock.sleep(2.9)
        assert (await fake.container_status(id)).status.state == ContainerState.CONTAINER_RUNNING
        await clock.sleep(0.2)
        status = (await fake.container_status(id)).status
        assert (status.state, status.exit_code, status.reason) == (
            ContainerState.CONTAINER_EXITED,
            7,
            "Error",
        )
        assert status.created_at < status.started_at < status.finished_at
        assert status.finished_at - status.started_at == pytest.approx(3e9, rel=0.01)

    play(scenario)


@pytest.mark.parametrize(
    ("script", "grace", "took", "code"),
    [
        ("sleep 1000", 5, 5.0, 137),  # PID 1 without a handler ignores TERM
        ("trap '' TERM; sleep 1000", 5, 5.0, 137),
        ("trap 'exit 3' TERM; sleep 1000 & wait", 5, 0.0, 3),
        ("trap 'exit 3' TERM; sleep 4; sleep 1000", 9, 4.0, 3),  # traps run after the foreground command
        ("trap 'exit 3' TERM; sleep 1000 & wait", 0, 0.0, 137),
    ],
)
def test_stop_asks_waits_and_kills(script: str, grace: int, took: float, code: int) -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        id = await started(fake, "sh", "-c", script)
        before = clock.monotonic()
        await fake.stop_container(id, grace)
        assert clock.monotonic() - before == pytest.approx(took)
        assert (await fake.container_status(id)).status.exit_code == code
        await fake.stop_container(id, grace)

    play(scenario)


def test_process_in_the_pods_namespace_dies_of_term() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        sandbox = await fake.run_pod_sandbox(pod())
        shared = ContainerConfig(ContainerMetadata("main"), ImageSpec("busybox:1.35"), ("sleep", "99"))
        id = await fake.create_container(sandbox, shared, pod())
        await fake.start_container(id)
        await fake.stop_container(id, 30)
        assert (await fake.container_status(id)).status.exit_code == 143
        assert clock.monotonic() == virtual.START_SECONDS

    play(scenario)


def test_container_starts_once_and_only_in_a_ready_sandbox() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        sandbox = await fake.run_pod_sandbox(pod())
        first = await fake.create_container(sandbox, container("true"), pod())
        second = await fake.create_container(sandbox, container("true", name="other"), pod())
        await fake.start_container(first)
        with pytest.raises(CriError, match="CONTAINER_EXITED"):
            await fake.start_container(first)
        await fake.stop_pod_sandbox(sandbox)
        with pytest.raises(CriError, match="not running"):
            await fake.start_container(second)
        with pytest.raises(CriError, match="no running task"):
            await fake.create_container(sandbox, container("true", attempt=1), pod())

    play(scenario)


def test_removing_a_running_sandbox_stops_its_containers_and_frees_address_and_names() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        await started(fake, "sleep", "inf")
        (sandbox,) = await fake.list_pod_sandboxes()
        assert list(fake.world.leases.values()) == [sandbox.id]
        await fake.remove_pod_sandbox(sandbox.id)
        await fake.remove_pod_sandbox(sandbox.id)
        assert (await fake.list_pod_sandboxes(), await fake.list_containers()) == ([], [])
        assert (fake.world.leases, fake.world.names.holders()) == ({}, {})

    play(scenario)


def test_filters_select_by_id_state_sandbox_and_labels() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        ids = [await fake.run_pod_sandbox(pod(name)) for name in ("a", "b")]
        made = [await fake.create_container(id, container("sleep", "9"), pod()) for id in ids]
        await fake.start_container(made[0])
        await fake.stop_pod_sandbox(ids[1])

        async def sandboxes(**wanted: object) -> list[str]:
            return [item.id for item in await fake.list_pod_sandboxes(PodSandboxFilter(**wanted))]  # type: ignore[arg-type]

        async def containers(**wanted: object) -> list[str]:
            return [item.id for item in await fake.list_containers(ContainerFilter(**wanted))]  # type: ignore[arg-type]

        assert await sandboxes(label_selector={"app": "b"}) == [ids[1]]
        assert await sandboxes(state=PodSandboxState.SANDBOX_READY) == [ids[0]]
        assert await sandboxes(id=ids[0], label_selector={"app": "b"}) == []
        assert await containers(pod_sandbox_id=ids[1]) == [made[1]]
        assert await containers(state=ContainerState.CONTAINER_RUNNING) == [made[0]]
        assert await containers(id="0" * 64) == []

    play(scenario)


def test_unknown_ids_are_not_found_except_where_calls_are_idempotent() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        for call in (
            fake.container_status,
            fake.start_container,
            fake.pod_sandbox_status,
            fake.stop_pod_sandbox,
        ):
            with pytest.raises(NotFound):
                await call("nothing")
        with pytest.raises(NotFound):
            await fake.exec_sync("nothing", ["true"], 1)
        for idempotent in (fake.remove_container, fake.remove_pod_sandbox):
            await idempotent("nothing")

    play(scenario)


def test_behaviour_table_prefers_the_last_rule_that_matches() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        fake.behave(Behaviour(exit_code=1), image="busybox:1.35")
        fake.behave(Behaviour(is_oom=True, after_seconds=1), pod_name="web", container_name="main")
        id = await started(fake, "server", "--port", "80")
        await clock.sleep(2)
        status = (await fake.container_status(id)).status
        assert (status.exit_code, status.reason) == (137, "OOMKilled")

    play(scenario)


def test_command_that_is_not_found_fails_the_start_and_shows_it() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        fake.behave(Behaviour(start_error='exec: "nope": executable file not found in $PATH'))
        with pytest.raises(CriError, match="executable file not found"):
            await started(fake, "nope")
        (found,) = await fake.list_containers()
        status = (await fake.container_status(found.id)).status
        assert (status.exit_code, status.reason) == (128, "StartError")

    play(scenario)


def test_exec_sync_returns_streams_and_code_and_times_out() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        id = await started(fake, "sleep", "inf")
        answer = await fake.exec_sync(id, ["sh", "-c", "echo out; echo err >&2; exit 4"], 5)
        assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out\n", b"err\n", 4)
        before = clock.monotonic()
        with pytest.raises(DeadlineExceeded):
            await fake.exec_sync(id, ["sleep", "60"], 2)
        assert clock.monotonic() - before == pytest.approx(2)
        fake.on_exec(Behaviour(exit_code=9, stdout=b"scripted"), command=("probe",))
        assert (await fake.exec_sync(id, ["probe", "-x"], 1)).exit_code == 9
        fake.crash(id)
        with pytest.raises(CriError, match="CONTAINER_EXITED"):
            await fake.exec_sync(id, ["true"], 1)

    play(scenario)


def test_log_lines_follow_the_file_until_it_is_reopened(tmp_path: Path) -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        config = pod(log_directory=str(tmp_path))
        sandbox = await fake.run_pod_sandbox(config)
        command = ("sh", "-c", "echo one; sleep 1; echo two; sleep 1; echo -n three >&2")
        id = await fake.create_container(sandbox, container(*command, log_path="main/0.log"), config)
        await fake.start_container(id)
        log = tmp_path / "main" / "0.log"
        log.rename(tmp_path / "rotated")
        await clock.sleep(1.5)
        await fake.reopen_container_log(id)
        await clock.sleep(1)
        assert [line[31:] for line in (tmp_path / "rotated").read_text().splitlines()] == [
            "stdout F one",
            "stdout F two",
        ]
        assert log.read_text() == "2026-01-01T00:00:02.000000000Z stderr P three\n"

    play(scenario)


def test_events_tell_the_life_of_sandbox_and_container_and_of_a_lost_runtime() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        seen: list[object] = []

        async def listen() -> None:
            async for event in fake.event_source().events():
                seen.append("resync" if isinstance(event, Resync) else (event.kind, event.container_id))

        listener = asyncio.create_task(listen())
        await clock.sleep(0)
        id = await started(fake, "sleep", "1")
        (sandbox,) = await fake.list_pod_sandboxes()
        await clock.sleep(2)
        await fake.remove_pod_sandbox(sandbox.id)
        fake.restart()
        await clock.sleep(0.1)
        listener.cancel()
        await asyncio.wait([listener])
        assert seen == [
            "resync",
            (EventKind.CREATED, sandbox.id),
            (EventKind.STARTED, sandbox.id),
            (EventKind.CREATED, id),
            (EventKind.STARTED, id),
            (EventKind.STOPPED, id),
            (EventKind.STOPPED, sandbox.id),
            (EventKind.DELETED, id),
            (EventKind.DELETED, sandbox.id),
            "resync",
        ]

    play(scenario)


def test_reboot_leaves_records_but_nothing_running_and_no_address() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        id = await started(fake, "sleep", "inf")
        fake.reboot()
        status = (await fake.container_status(id)).status
        assert (status.state, status.exit_code, status.reason) == (
            ContainerState.CONTAINER_EXITED,
            255,
            "Unknown",
        )
        assert (await fake.list_pod_sandboxes())[0].state == PodSandboxState.SANDBOX_NOTREADY
        assert fake.world.leases == {}

    play(scenario)


def test_faults_count_down_delay_and_lose_answers_and_every_call_is_recorded() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        fake.fail("list_containers", CriError("flaky"), times=2)
        for _ in range(2):
            with pytest.raises(CriError, match="flaky"):
                await fake.list_containers()
        assert await fake.list_containers() == []
        fake.fail("version", delay_seconds=3, times=1)
        await fake.version()
        assert clock.monotonic() == virtual.START_SECONDS + 3
        fake.fail("run_pod_sandbox", DeadlineExceeded("late"), is_answer_lost=True, times=1)
        with pytest.raises(DeadlineExceeded):
            await fake.run_pod_sandbox(pod())
        assert len(await fake.list_pod_sandboxes()) == 1
        fake.faults.unimplemented.add("runtime_config")
        with pytest.raises(Unimplemented):
            await fake.runtime_config()
        assert [call.name for call in fake.calls] == [
            *(["list_containers"] * 3),
            "version",
            "run_pod_sandbox",
            "list_pod_sandboxes",
            "runtime_config",
        ]

    play(scenario)


def test_images_are_pulled_from_the_registry_with_the_right_password_only() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        images = fake.images
        with pytest.raises(ImagePullError, match="failed to resolve reference"):
            await images.pull_image(ImageSpec("example.com/app:1"))
        images.add_to_registry("example.com/app:1", Pullable("app", password="s3cret"))
        with pytest.raises(ImagePullError, match="authorization failed"):
            await images.pull_image(ImageSpec("example.com/app:1"), AuthConfig(password="wrong"))
        reference = await images.pull_image(ImageSpec("example.com/app:1"), AuthConfig(password="s3cret"))
        found = (await images.image_status(ImageSpec("example.com/app:1"))).image
        assert found is not None
        assert found.id == reference
        assert found.repo_digests == (f"example.com/app@{reference}",)
        await images.remove_image(ImageSpec(reference))
        assert (await images.image_status(ImageSpec("example.com/app:1"))).image is None
        sandbox = await fake.run_pod_sandbox(pod())
        absent = ContainerConfig(ContainerMetadata("main"), ImageSpec("example.com/app:1"))
        with pytest.raises(CriError, match="not found"):
            await fake.create_container(sandbox, absent, pod())
        assert len(fake.world.names.holders()) == 1

    play(scenario)


def test_ten_thousand_pods_live_and_die_in_seconds() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        for number in range(10_000):
            config = pod(f"p{number}")
            sandbox = await fake.run_pod_sandbox(config)
            id = await fake.create_container(sandbox, container("exit", "0", "after", "1"), config)
            await fake.start_container(id)
        await clock.sleep(2)
        assert (
            len(await fake.list_containers(ContainerFilter(state=ContainerState.CONTAINER_EXITED))) == 10_000
        )
        for found in await fake.list_pod_sandboxes():
            await fake.remove_pod_sandbox(found.id)
        assert fake.world.containers == {}

    play(scenario)
