"""Cases about a container's life: create, start, exit, stop, remove, and the next attempt."""

from __future__ import annotations

import asyncio

from cri.conformance.case import case, expect, expect_equal, expect_error
from cri.conformance.context import Context
from cri.errors import CriError, NameReserved, NotFound
from cri.types import (
    ContainerFilter,
    ContainerState,
    ImageSpec,
    LinuxContainerResources,
    NamespaceMode,
    NamespaceOption,
)

OBEDIENT = "trap 'exit 5' TERM; sleep 100000 & wait"
OOM_LIMIT_BYTES = 24 << 20


@case()
async def a_created_container_waits_to_be_started(ctx: Context) -> None:
    id = await ctx.create(await ctx.pod(), "sleep", "1000")
    status = await ctx.status(id)
    expect_equal(status.state, ContainerState.CONTAINER_CREATED, "state")
    expect(status.created_at > 0, f"created_at: want a time, got {status.created_at}")
    expect_equal((status.started_at, status.finished_at), (0, 0), "started_at and finished_at")


@case()
async def a_started_container_runs(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    status = await ctx.status(id)
    expect_equal(status.state, ContainerState.CONTAINER_RUNNING, "state")
    expect(status.started_at >= status.created_at > 0, "started_at: want it after created_at")
    expect_equal(status.finished_at, 0, "finished_at")


@case()
async def exit_code_zero_is_completed(ctx: Context) -> None:
    status = await ctx.exited(await ctx.start(await ctx.pod(), "true"))
    expect_equal((status.exit_code, status.reason), (0, "Completed"), "exit code and reason")
    # Not compared: a process may exit before the runtime writes down that it was started.
    expect(status.started_at > 0 and status.finished_at > 0, "started_at, finished_at: want times, got 0")


@case()
async def another_exit_code_is_an_error(ctx: Context) -> None:
    status = await ctx.exited(await ctx.script(await ctx.pod(), "exit 42"))
    expect_equal((status.exit_code, status.reason), (42, "Error"), "exit code and reason")


@case(needs="kernel")
async def death_by_signal_is_128_plus_its_number(ctx: Context) -> None:
    # Not PID 1 of its namespace, so that the signal has its default effect.
    pod = await ctx.pod(namespaces=NamespaceOption(pid=NamespaceMode.POD))
    shared = {"namespace_options": NamespaceOption(pid=NamespaceMode.POD)}
    for signal, number in (("KILL", 9), ("SEGV", 11)):
        id = await ctx.script(pod, f"kill -{signal} $$", name=signal.lower(), security=shared)
        expect_equal((await ctx.exited(id)).exit_code, 128 + number, f"exit code after SIG{signal}")


@case(needs="kernel")
async def memory_over_the_limit_is_oom_killed(ctx: Context) -> None:
    limit = LinuxContainerResources(memory_limit_in_bytes=OOM_LIMIT_BYTES)
    id = await ctx.start(await ctx.pod(), "tail", "-c", str(1 << 30), "/dev/zero", resources=limit)
    status = await ctx.exited(id, within=30)
    expect_equal((status.exit_code, status.reason), (137, "OOMKilled"), "exit code and reason")


@case()
async def a_container_starts_only_once(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await expect_error(ctx.runtime.start_container(id), "starting a running container")
    await ctx.runtime.stop_container(id, 10)
    await expect_error(ctx.runtime.start_container(id), "starting an exited container")


@case()
async def stop_asks_and_the_container_may_choose_its_exit_code(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), f"echo up; {OBEDIENT}")

    async def is_up() -> bool:
        return "up" in await ctx.log_text(id)

    await ctx.until(is_up, "the container's first words")
    before = ctx.clock.monotonic()
    await ctx.runtime.stop_container(id, 20)
    took = ctx.clock.monotonic() - before
    expect_equal((await ctx.exited(id)).exit_code, 5, "exit code")
    expect(took < 10, f"stopping: want far less than the 20 s of grace, took {took:.1f} s")


@case()
async def stop_kills_when_the_grace_is_over(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), "trap '' TERM; sleep 1000")
    before = ctx.clock.monotonic()
    await ctx.runtime.stop_container(id, 2)
    took = ctx.clock.monotonic() - before
    expect_equal((await ctx.exited(id)).exit_code, 137, "exit code")
    expect(1.9 <= took < 8, f"stopping: want the 2 s of grace and not much more, took {took:.1f} s")


@case()
async def stop_without_grace_kills_at_once(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), OBEDIENT)
    await ctx.runtime.stop_container(id, 0)
    expect_equal((await ctx.exited(id)).exit_code, 137, "exit code")


@case()
async def stopping_again_is_no_error(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await ctx.runtime.stop_container(id, 10)
    first = await ctx.exited(id)
    await ctx.runtime.stop_container(id, 10)
    expect_equal((await ctx.status(id)).finished_at, first.finished_at, "finished_at after the second stop")


@case()
async def two_stops_at_once_both_succeed(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), "trap '' TERM; sleep 1000")
    await asyncio.gather(*(ctx.runtime.stop_container(id, 1) for _ in range(2)))
    expect_equal((await ctx.exited(id)).exit_code, 137, "exit code")


@case()
async def removing_an_exited_container_is_idempotent(ctx: Context) -> None:
    id = await ctx.start(await ctx.pod(), "true")
    await ctx.exited(id)
    await ctx.runtime.remove_container(id)
    await ctx.runtime.remove_container(id)
    await expect_error(ctx.runtime.container_status(id), "status after removal", NotFound)


@case()
async def a_container_never_started_can_be_removed(ctx: Context) -> None:
    pod = await ctx.pod()
    id = await ctx.create(pod, "sleep", "1000")
    await ctx.runtime.remove_container(id)
    listed = await ctx.runtime.list_containers(ContainerFilter(pod_sandbox_id=pod.id))
    expect_equal([item.id for item in listed], [], "containers left")


@case()
async def removing_a_running_container_kills_it(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await ctx.runtime.remove_container(id)
    await expect_error(ctx.runtime.container_status(id), "status after removal", NotFound)


@case()
async def a_name_in_use_is_refused_and_its_owner_named(ctx: Context) -> None:
    pod = await ctx.pod()
    id = await ctx.create(pod, "true")
    error = await expect_error(ctx.create(pod, "true"), "a second container of one name", NameReserved)
    expect_equal(error.owner_id, id, "owner of the name")


@case()
async def the_name_is_free_after_removal(ctx: Context) -> None:
    pod = await ctx.pod()
    first = await ctx.create(pod, "true")
    await ctx.runtime.remove_container(first)
    expect(await ctx.create(pod, "true") != first, "id: want a new one, got the old")


@case()
async def the_next_attempt_runs_beside_the_exited_one(ctx: Context) -> None:
    pod = await ctx.pod()
    first = await ctx.script(pod, "exit 1")
    await ctx.exited(first)
    second = await ctx.idle(pod, attempt=1)
    expect_equal((await ctx.status(second)).metadata.attempt, 1, "attempt")
    listed = await ctx.runtime.list_containers(ContainerFilter(pod_sandbox_id=pod.id))
    seen = {item.metadata.attempt: item.state for item in listed}
    wanted = {0: ContainerState.CONTAINER_EXITED, 1: ContainerState.CONTAINER_RUNNING}
    expect_equal(seen, wanted, "attempts and their states")


@case()
async def no_container_in_an_unknown_sandbox(ctx: Context) -> None:
    config = ctx.container_config("true")
    call = ctx.runtime.create_container("0" * 64, config, ctx.pod_config())
    await expect_error(call, "creating in an unknown sandbox")


@case()
async def no_container_in_a_stopped_sandbox(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(pod.id)

    async def create_and_start() -> None:
        await ctx.start(pod, "true")

    await expect_error(create_and_start(), "creating and starting in a stopped sandbox")


@case()
async def a_missing_image_refuses_creation_and_frees_the_name(ctx: Context) -> None:
    pod = await ctx.pod()
    absent = ImageSpec(image=f"localhost/pykubelet/{ctx.name('absent')}:1")
    await expect_error(ctx.create(pod, "true", image=absent), "creating from an image that is not there")
    await ctx.create(pod, "true")


@case(needs="kernel")
async def a_missing_command_fails_the_start_and_shows_it(ctx: Context) -> None:
    id = await ctx.create(await ctx.pod(), "/no/such/command")
    error = await expect_error(ctx.runtime.start_container(id), "starting a command that is not there")
    expect("/no/such/command" in error.message, f"message: want the command in it, got {error.message!r}")
    status = await ctx.exited(id)
    expect_equal((status.exit_code, status.reason), (128, "StartError"), "exit code and reason")


@case()
async def calls_for_an_unknown_container_say_not_found(ctx: Context) -> None:
    runtime, unknown = ctx.runtime, "0" * 64
    await expect_error(runtime.container_status(unknown), "ContainerStatus", NotFound)
    await expect_error(runtime.start_container(unknown), "StartContainer", NotFound)
    await expect_error(runtime.exec_sync(unknown, ["true"], 1), "ExecSync")
    try:
        await runtime.stop_container(unknown, 0)  # containerd 2 counts it as stopped
    except CriError as error:
        expect(isinstance(error, NotFound), f"StopContainer: want success or NotFound, got {error.code}")
    await runtime.remove_container(unknown)
