"""Cases about running further commands in a container, and about the addresses of streaming sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from urllib.parse import urlsplit

from cri.conformance.case import case, expect, expect_equal, expect_error
from cri.conformance.context import Context
from cri.errors import DeadlineExceeded, NotFound
from cri.service import Streams
from cri.types import ContainerState

OUTPUT_BYTES = 300_000
EXEC_COUNT = 10


@case()
async def streams_and_exit_code_come_apart(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    answer = await ctx.runtime.exec_sync(id, ["sh", "-c", "echo out; echo err >&2; exit 9"], 10)
    expect_equal((answer.stdout, answer.stderr, answer.exit_code), (b"out\n", b"err\n", 9), "answer")


@case()
async def a_command_over_its_time_is_ended_and_said_so(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    before = ctx.clock.monotonic()
    await expect_error(
        ctx.runtime.exec_sync(id, ["sleep", "60"], 1), "exec of 60 s with 1 s", DeadlineExceeded
    )
    took = ctx.clock.monotonic() - before
    expect(0.9 <= took < 8, f"time-out: want it after 1 s, took {took:.1f} s")
    expect_equal((await ctx.status(id)).state, ContainerState.CONTAINER_RUNNING, "state of the container")


@case(needs="kernel")
async def a_command_over_its_time_leaves_no_process(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await expect_error(ctx.runtime.exec_sync(id, ["sleep", "60606"], 1), "exec", DeadlineExceeded)

    async def is_gone() -> bool:
        return "60606" not in await ctx.shell(id, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true")

    await ctx.until(is_gone, "the process of the timed-out exec to be gone")


@case()
async def without_time_limit_a_command_runs_to_its_end(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    answer = await ctx.runtime.exec_sync(id, ["sh", "-c", "sleep 2; echo done"], 0)
    expect_equal((answer.stdout, answer.exit_code), (b"done\n", 0), "answer")


@case(needs="kernel")
async def much_output_arrives_whole(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    script = f"head -c {OUTPUT_BYTES} /dev/zero | tr '\\0' y"
    answer = await ctx.runtime.exec_sync(id, ["sh", "-c", script], 20)
    expect_equal(answer.stdout, b"y" * OUTPUT_BYTES, "output")


@case(needs="kernel")
async def output_is_bytes(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    answer = await ctx.runtime.exec_sync(id, ["printf", "\\377\\0\\001"], 10)
    expect_equal(answer.stdout, b"\xff\x00\x01", "output")


@case()
async def commands_run_beside_each_other(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    calls = [ctx.runtime.exec_sync(id, ["sh", "-c", f"echo {n}; exit {n}"], 20) for n in range(EXEC_COUNT)]
    answers = await asyncio.gather(*calls)
    seen = [(answer.stdout, answer.exit_code) for answer in answers]
    expect_equal(seen, [(b"%d\n" % n, n) for n in range(EXEC_COUNT)], "answers")


@case()
async def nothing_runs_in_a_container_that_does_not(ctx: Context) -> None:
    pod = await ctx.pod()
    created = await ctx.create(pod, "sleep", "1000", name="created")
    exited = await ctx.start(pod, "true", name="exited")
    await ctx.exited(exited)
    for id, state in ((created, "created"), (exited, "exited")):
        await expect_error(ctx.runtime.exec_sync(id, ["true"], 5), f"exec in a container that is {state}")


@case(needs="kernel")
async def a_missing_command_is_an_error(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await expect_error(ctx.runtime.exec_sync(id, ["/no/such/command"], 5), "exec of a missing command")


@case(needs="kernel")
async def a_command_sees_the_containers_environment_and_files(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod(), working_dir="/tmp", security={"run_as_user": 1234})
    seen = await ctx.shell(id, "pwd; id -u; hostname")
    expect_equal(seen.split()[:2], ["/tmp", "1234"], "working directory and user")


async def _expect_url(call: Awaitable[str], what: str) -> None:
    url = urlsplit(await call)
    expect(
        url.scheme in ("http", "https") and url.netloc, f"{what}: want an http address, got {url.geturl()!r}"
    )


@case()
async def exec_gives_an_address(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await _expect_url(ctx.runtime.exec(id, ["true"], Streams()), "Exec")
    tty = Streams(stdin=True, stderr=False, tty=True)
    await _expect_url(ctx.runtime.exec(id, ["sh"], tty), "Exec with a terminal")


@case()
async def attach_gives_an_address(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    await _expect_url(ctx.runtime.attach(id, Streams()), "Attach")


@case()
async def port_forward_gives_an_address(ctx: Context) -> None:
    pod = await ctx.pod()
    await _expect_url(ctx.runtime.port_forward(pod.id, (8080,)), "PortForward")


@case()
async def sessions_that_cannot_be_are_refused(ctx: Context) -> None:
    pod = await ctx.pod()
    id = await ctx.idle(pod)
    confused = Streams(tty=True, stderr=True)
    await expect_error(ctx.runtime.exec(id, ["sh"], confused), "a terminal with a stderr of its own")
    nothing = Streams(stdout=False, stderr=False)
    await expect_error(ctx.runtime.exec(id, ["sh"], nothing), "a session without streams")
    await ctx.runtime.stop_container(id, 10)
    await expect_error(ctx.runtime.exec(id, ["sh"], Streams()), "exec in an exited container")
    await expect_error(ctx.runtime.attach(id, Streams()), "attach to an exited container")
    await expect_error(ctx.runtime.attach("0" * 64, Streams()), "attach to an unknown container", NotFound)
