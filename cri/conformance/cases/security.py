"""Cases about who a container is and what it may do."""

from __future__ import annotations

from typing import Any

from cri.conformance.case import case, expect, expect_equal
from cri.conformance.context import Context
from cri.types import Capability, ProfileType, SecurityProfile

CHOWN_BIT, NET_RAW_BIT, SYS_TIME_BIT = 0, 13, 25  # linux/capability.h


async def _with(ctx: Context, **security: Any) -> str:
    return await ctx.idle(await ctx.pod(), security=security)


async def _proc_status(ctx: Context, id: str, field: str) -> str:
    """A field of the main process's /proc/PID/status; PID 1, for a container has its own namespace."""
    return await ctx.shell(id, f"sed -n 's/^{field}:[ \\t]*//p' /proc/1/status")


async def _has_capability(ctx: Context, id: str, bit: int) -> bool:
    return bool(int(await _proc_status(ctx, id, "CapEff"), 16) >> bit & 1)


@case(needs="kernel")
async def user_and_group_are_set(ctx: Context) -> None:
    id = await _with(ctx, run_as_user=1234, run_as_group=2345)
    expect_equal((await ctx.shell(id, "id -u; id -g")).split(), ["1234", "2345"], "uid and gid")


@case(needs="kernel")
async def a_user_name_is_looked_up_in_the_image(ctx: Context) -> None:
    id = await _with(ctx, run_as_username="www-data")
    expect_equal((await ctx.shell(id, "id -u; id -g")).split(), ["33", "33"], "uid and gid")


@case(needs="kernel")
async def supplemental_groups_are_added(ctx: Context) -> None:
    id = await _with(ctx, run_as_user=1234, supplemental_groups=(3001, 3002))
    seen = (await ctx.shell(id, "id -G")).split()
    expect({"3001", "3002"} <= set(seen), f"groups: want 3001 and 3002 among them, got {seen}")


@case(needs="kernel")
async def a_read_only_root_refuses_writing(ctx: Context) -> None:
    id = await _with(ctx, readonly_rootfs=True)
    answer = await ctx.runtime.exec_sync(id, ["sh", "-c", "echo x > /file"], 10)
    expect(answer.exit_code != 0 and b"Read-only" in answer.stderr, f"want EROFS, got {answer!r}")


@case(needs="kernel")
async def the_root_is_writable_and_not_shared_by_default(ctx: Context) -> None:
    pod = await ctx.pod()
    first, second = await ctx.idle(pod, name="first"), await ctx.idle(pod, name="second")
    await ctx.shell(first, "echo x > /file")
    expect_equal(await ctx.shell(second, "test -e /file || echo absent"), "absent", "the file in the second")


@case(needs="kernel")
async def capabilities_can_be_dropped(ctx: Context) -> None:
    id = await _with(ctx, capabilities=Capability(drop_capabilities=("CHOWN",)))
    expect(not await _has_capability(ctx, id, CHOWN_BIT), "CAP_CHOWN: want it dropped, got it")
    every = await _with(ctx, capabilities=Capability(drop_capabilities=("ALL",)))
    expect_equal(int(await _proc_status(ctx, every, "CapEff"), 16), 0, "capabilities after dropping ALL")


@case(needs="kernel")
async def capabilities_can_be_added(ctx: Context) -> None:
    plain = await _with(ctx)
    expect(not await _has_capability(ctx, plain, SYS_TIME_BIT), "CAP_SYS_TIME: want it absent by default")
    id = await _with(ctx, capabilities=Capability(add_capabilities=("SYS_TIME",)))
    expect(await _has_capability(ctx, id, SYS_TIME_BIT), "CAP_SYS_TIME: want it added, got none")


@case(needs="kernel")
async def no_new_privileges_is_set_only_on_request(ctx: Context) -> None:
    expect_equal(await _proc_status(ctx, await _with(ctx), "NoNewPrivs"), "0", "NoNewPrivs by default")
    id = await _with(ctx, no_new_privs=True)
    expect_equal(await _proc_status(ctx, id, "NoNewPrivs"), "1", "NoNewPrivs on request")


@case(needs="kernel")
async def seccomp_is_as_asked(ctx: Context) -> None:
    for profile, mode in ((ProfileType.RuntimeDefault, "2"), (ProfileType.Unconfined, "0")):
        id = await _with(ctx, seccomp=SecurityProfile(profile))
        expect_equal(await _proc_status(ctx, id, "Seccomp"), mode, f"Seccomp for {profile.name}")


@case(needs="kernel")
async def masked_and_read_only_paths_are_honoured(ctx: Context) -> None:
    id = await _with(ctx, masked_paths=("/proc/cmdline",), readonly_paths=("/tmp",))
    expect_equal(await ctx.shell(id, "cat /proc/cmdline"), "", "content of the masked path")
    answer = await ctx.runtime.exec_sync(id, ["sh", "-c", "echo x > /tmp/file"], 10)
    expect(answer.exit_code != 0, "writing to the read-only path: want a failure, got success")


@case()
async def status_tells_the_user_where_the_runtime_reports_it(ctx: Context) -> None:
    status = await ctx.status(await _with(ctx, run_as_user=1234, run_as_group=2345))
    if status.user is not None and status.user.linux is not None:
        expect_equal((status.user.linux.uid, status.user.linux.gid), (1234, 2345), "user in the status")
