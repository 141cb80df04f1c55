"""Cases about log files: their format, partial lines, and rotation."""

from __future__ import annotations

import re
from pathlib import Path

from cri.conformance.case import case, expect, expect_equal, expect_error
from cri.conformance.context import Context

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP]) ?(.*)")
LONG_LINE_BYTES = 40_000


async def _lines(ctx: Context, id: str) -> list[tuple[str, str, str]]:
    """(stream, tag, text) of each line of a container's log; a line of another form fails the case."""
    parsed = []
    for line in (await ctx.log_text(id)).splitlines():
        match = LINE.fullmatch(line)
        if match is None:
            expect(False, f"log line: want TIME STREAM TAG TEXT, got {line!r}")
            continue
        parsed.append((match[2], match[3], match[4]))
    return parsed


@case()
async def lines_carry_time_stream_and_tag(ctx: Context) -> None:
    id = await ctx.script(
        await ctx.pod(), "echo out one; sleep 1; echo err one >&2; sleep 1; echo; echo last"
    )
    await ctx.exited(id)
    wanted = [
        ("stdout", "F", "out one"),
        ("stderr", "F", "err one"),
        ("stdout", "F", ""),
        ("stdout", "F", "last"),
    ]
    expect_equal(await _lines(ctx, id), wanted, "log")


@case()
async def text_without_newline_is_kept(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), "echo -n unfinished")
    await ctx.exited(id)
    lines = await _lines(ctx, id)
    expect_equal("".join(text for _, _, text in lines), "unfinished", "text")


@case(needs="kernel")
async def a_long_line_is_split_into_parts_and_ends_full(ctx: Context) -> None:
    id = await ctx.script(
        await ctx.pod(), f"head -c {LONG_LINE_BYTES} /dev/zero | tr '\\0' x; echo; echo end"
    )
    await ctx.exited(id)
    *parts, end = await _lines(ctx, id)
    expect_equal(end, ("stdout", "F", "end"), "last line")
    expect_equal("".join(text for _, _, text in parts), "x" * LONG_LINE_BYTES, "text of the long line")
    tags = [tag for _, tag, _ in parts]
    expect(len(tags) > 1, "parts of the long line: want more than one, got one")
    expect_equal(tags, ["P"] * (len(tags) - 1) + ["F"], "tags of the long line")


@case()
async def a_renamed_log_is_reopened_on_request(ctx: Context) -> None:
    script = "echo before; sleep 2; echo after; trap 'exit 0' TERM; sleep 1000 & wait"
    id = await ctx.script(await ctx.pod(), script)

    async def has(text: str) -> bool:
        return text in await ctx.log_text(id)

    await ctx.until(lambda: has("before"), "the first line")
    path = Path((await ctx.status(id)).log_path)
    rotated = path.with_suffix(".rotated")
    path.rename(rotated)
    await ctx.runtime.reopen_container_log(id)
    expect(path.is_file(), "log file after reopening: want a new one, got none")
    await ctx.until(lambda: has("after"), "the second line in the new file")
    expect("before" in rotated.read_text(), "rotated file: want the first line in it")
    expect("after" not in rotated.read_text(), "rotated file: want the second line elsewhere")


@case()
async def reopening_the_log_of_an_exited_container_is_an_error(ctx: Context) -> None:
    id = await ctx.start(await ctx.pod(), "true")
    await ctx.exited(id)
    await expect_error(ctx.runtime.reopen_container_log(id), "reopening after the exit")


@case()
async def output_survives_the_container_being_removed(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), "echo kept")
    await ctx.exited(id)
    path = Path((await ctx.status(id)).log_path)
    await ctx.runtime.remove_container(id)
    expect(path.is_file() and "kept" in path.read_text(), "log file: want it kept after the removal")
