"""Cases about usage figures."""

from __future__ import annotations

from dataclasses import replace

from cri.conformance.case import case, expect, expect_equal, expect_error
from cri.conformance.context import Context, Pod
from cri.stats import ContainerStats, ContainerStatsFilter, PodSandboxStatsFilter


async def _pod_in_cgroup(ctx: Context) -> Pod:
    """A sandbox with a named cgroup parent, without which containerd has no figures for it."""
    config = ctx.pod_config()
    if config.linux is None:
        return await ctx.pod(config)
    is_systemd = '"SystemdCgroup":true' in (await ctx.runtime.status(verbose=True)).info.get("config", "")
    linux = replace(config.linux, cgroup_parent="system.slice" if is_systemd else "/k8s.io")
    return await ctx.pod(replace(config, linux=linux))


@case()
async def a_running_container_has_figures(ctx: Context) -> None:
    config = ctx.container_config("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait", name="web", attempt=2)
    id = await ctx.create_from(await ctx.pod(), config)
    await ctx.runtime.start_container(id)

    async def with_figures() -> ContainerStats | None:
        stats = await ctx.runtime.container_stats(id)
        return stats if stats.cpu and stats.memory and stats.memory.working_set_bytes else None

    stats = await ctx.until(with_figures, "figures for processor and memory")
    expect_equal((stats.attributes.id, stats.attributes.metadata), (id, config.metadata), "attributes")
    expect(stats.cpu and stats.cpu.timestamp > 0, "cpu: want a time stamp, got none")
    expect(stats.cpu and stats.cpu.usage_core_nano_seconds is not None, "cpu: want a usage, got none")


@case()
async def figures_of_an_unknown_container_are_an_error(ctx: Context) -> None:
    await expect_error(ctx.runtime.container_stats("0" * 64), "stats of an unknown container")


@case()
async def the_list_of_figures_filters(ctx: Context) -> None:
    first, second, label = await ctx.pod(), await ctx.pod(), ctx.name("label")
    a = await ctx.idle(first, labels={"member": label})
    b = await ctx.idle(second)

    async def ids(wanted: ContainerStatsFilter | None) -> set[str]:
        return {item.attributes.id for item in await ctx.runtime.list_container_stats(wanted)}

    expect({a, b} <= await ids(None), "all figures: want both containers among them")
    expect_equal(await ids(ContainerStatsFilter(id=b)), {b}, "by id")
    expect_equal(await ids(ContainerStatsFilter(pod_sandbox_id=first.id)), {a}, "by sandbox")
    expect_equal(await ids(ContainerStatsFilter(label_selector={"member": label})), {a}, "by label")


@case(may_lack="PodSandboxStats")
async def a_sandbox_has_figures_with_its_containers(ctx: Context) -> None:
    pod = await _pod_in_cgroup(ctx)
    id = await ctx.idle(pod)
    stats = await ctx.runtime.pod_sandbox_stats(pod.id)
    expect_equal(stats.attributes.id, pod.id, "id")
    inside = {item.attributes.id for item in stats.linux.containers} if stats.linux else set()
    expect_equal(inside, {id}, "containers")


@case(may_lack="ListPodSandboxStats")
async def figures_of_sandboxes_are_listed_by_id(ctx: Context) -> None:
    pod, _ = await _pod_in_cgroup(ctx), await _pod_in_cgroup(ctx)
    listed = await ctx.runtime.list_pod_sandbox_stats(PodSandboxStatsFilter(id=pod.id))
    expect_equal([item.attributes.id for item in listed], [pod.id], "listed")


@case(may_lack="ListMetricDescriptors")
async def metric_descriptors_have_names(ctx: Context) -> None:
    descriptors = await ctx.runtime.list_metric_descriptors()
    expect(all(item.name for item in descriptors), "descriptors: want a name in each")


@case(may_lack="ListPodSandboxMetrics")
async def metrics_name_their_sandbox(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.idle(pod)
    listed = {item.pod_sandbox_id for item in await ctx.runtime.list_pod_sandbox_metrics()}
    expect(pod.id in listed, f"metrics: want the sandbox among {len(listed)}, got none")
