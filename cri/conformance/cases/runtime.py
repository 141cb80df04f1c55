"""Cases about the runtime itself: who it is and how it feels."""

from __future__ import annotations

from cri.conformance.case import case, expect, expect_equal
from cri.conformance.context import Context
from cri.types import CgroupDriver


@case()
async def version_names_the_runtime_and_api_v1(ctx: Context) -> None:
    version = await ctx.runtime.version()
    expect(version.runtime_name, "runtime_name: want a name, got nothing")
    expect(version.runtime_version, "runtime_version: want a version, got nothing")
    expect_equal(version.runtime_api_version, "v1", "runtime_api_version")


@case()
async def status_says_that_runtime_and_network_are_ready(ctx: Context) -> None:
    conditions = {item.type: item for item in (await ctx.runtime.status()).status.conditions}
    for kind in ("RuntimeReady", "NetworkReady"):
        expect(kind in conditions, f"want a condition {kind}, got {sorted(conditions)}")
        expect(conditions[kind].status, f"{kind}: want true, got {conditions[kind].message!r}")


@case()
async def only_verbose_status_carries_information(ctx: Context) -> None:
    expect((await ctx.runtime.status(verbose=True)).info, "verbose info: want some, got none")
    expect_equal(dict((await ctx.runtime.status()).info), {}, "info without verbose")


@case(may_lack="RuntimeConfig")
async def runtime_config_names_a_cgroup_driver(ctx: Context) -> None:
    linux = await ctx.runtime.runtime_config()
    expect(linux is not None and linux.cgroup_driver in CgroupDriver, f"want a cgroup driver, got {linux!r}")


@case()
async def a_runtime_config_without_pod_cidr_changes_nothing(ctx: Context) -> None:
    before = (await ctx.runtime.status()).status
    await ctx.runtime.update_runtime_config("")
    expect_equal((await ctx.runtime.status()).status, before, "status after an empty update")
