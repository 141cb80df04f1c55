"""Cases about pod sandboxes: running, stopping, removing, listing, names."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cri.conformance.case import case, expect, expect_equal, expect_error
from cri.conformance.context import Context, Pod
from cri.errors import CriError, NameReserved, NotFound
from cri.types import (
    ContainerState,
    LinuxContainerResources,
    NamespaceMode,
    NamespaceOption,
    PodSandboxFilter,
    PodSandboxMetadata,
    PodSandboxState,
    PodSandboxStatus,
)

POD_COUNT = 10


async def _status(ctx: Context, pod: Pod) -> PodSandboxStatus:
    return (await ctx.runtime.pod_sandbox_status(pod.id)).status


async def _ids(ctx: Context, wanted: PodSandboxFilter | None) -> set[str]:
    return {item.id for item in await ctx.runtime.list_pod_sandboxes(wanted)}


@case()
async def a_sandbox_that_ran_is_ready_and_shows_its_configuration(ctx: Context) -> None:
    before = ctx.clock.wall()
    pod = await ctx.pod(labels={"a.b/c": "d"}, annotations={"note": "x y ü"})
    status = await _status(ctx, pod)
    expect_equal(status.id, pod.id, "id")
    expect_equal(status.state, PodSandboxState.SANDBOX_READY, "state")
    expect_equal(status.metadata, pod.config.metadata, "metadata")
    expect_equal(dict(status.labels), dict(pod.config.labels), "labels")
    expect_equal(dict(status.annotations), dict(pod.config.annotations), "annotations")
    expect(before - 1 <= status.created_at / 1e9 <= ctx.clock.wall() + 1, f"created_at: {status.created_at}")


@case()
async def sandboxes_have_addresses_of_their_own(ctx: Context) -> None:
    first, second = [(await _status(ctx, await ctx.pod())).network.ip for _ in range(2)]
    expect(first and second, f"addresses: want two, got {first!r} and {second!r}")
    expect(first != second, f"addresses: want different ones, got {first!r} twice")


@case()
async def a_sandbox_on_the_host_network_has_no_address_of_its_own(ctx: Context) -> None:
    # A hostname cannot be set without a private UTS namespace, which a pod on the host network has not.
    pod = await ctx.pod(namespaces=NamespaceOption(network=NamespaceMode.NODE), hostname="")
    status = await _status(ctx, pod)
    expect_equal(status.network.ip, "", "address")
    options = status.linux and status.linux.namespaces and status.linux.namespaces.options
    expect_equal(options and options.network, NamespaceMode.NODE, "network namespace mode")


@case()
async def a_stopped_sandbox_is_not_ready_and_still_listed(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(pod.id)
    expect_equal((await _status(ctx, pod)).state, PodSandboxState.SANDBOX_NOTREADY, "state")
    expect(pod.id in await _ids(ctx, None), "want the stopped sandbox in the list, got none")


@case()
async def stopping_twice_is_no_error(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(pod.id)
    await ctx.runtime.stop_pod_sandbox(pod.id)


@case()
async def removing_twice_is_no_error(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(pod.id)
    await ctx.runtime.remove_pod_sandbox(pod.id)
    await ctx.runtime.remove_pod_sandbox(pod.id)


@case()
async def removing_an_unknown_sandbox_is_no_error_and_stopping_may_say_not_found(ctx: Context) -> None:
    try:
        await ctx.runtime.stop_pod_sandbox("0" * 64)
    except CriError as error:
        expect(isinstance(error, NotFound), f"StopPodSandbox: want success or NotFound, got {error.code}")
    await ctx.runtime.remove_pod_sandbox("0" * 64)


@case()
async def the_status_of_an_unknown_sandbox_is_not_found(ctx: Context) -> None:
    await expect_error(ctx.runtime.pod_sandbox_status("0" * 64), "status", NotFound)


@case()
async def a_removed_sandbox_is_not_found_nor_listed(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(pod.id)
    await ctx.runtime.remove_pod_sandbox(pod.id)
    await expect_error(ctx.runtime.pod_sandbox_status(pod.id), "status", NotFound)
    expect(pod.id not in await _ids(ctx, None), "want the removed sandbox gone from the list, got it")


@case()
async def stopping_kills_the_containers_inside(ctx: Context) -> None:
    pod = await ctx.pod()
    id = await ctx.start(pod, "sleep", "1000")
    await ctx.runtime.stop_pod_sandbox(pod.id)
    status = await ctx.exited(id)
    expect_equal(status.exit_code, 137, "exit code")


@case()
async def removing_a_running_sandbox_takes_its_containers_along(ctx: Context) -> None:
    pod = await ctx.pod()
    id = await ctx.idle(pod)
    await ctx.runtime.remove_pod_sandbox(pod.id)
    await expect_error(ctx.runtime.pod_sandbox_status(pod.id), "sandbox status", NotFound)
    await expect_error(ctx.runtime.container_status(id), "container status", NotFound)


@case()
async def the_list_shows_what_status_shows(ctx: Context) -> None:
    pod = await ctx.pod(annotations={"note": "x"})
    (item,) = await ctx.runtime.list_pod_sandboxes(PodSandboxFilter(id=pod.id))
    status = await _status(ctx, pod)
    for name in ("id", "metadata", "state", "created_at", "labels", "annotations"):
        expect_equal(getattr(item, name), getattr(status, name), name)


@case()
async def the_list_filters_by_id(ctx: Context) -> None:
    pod, _ = await ctx.pod(), await ctx.pod()
    expect_equal(await _ids(ctx, PodSandboxFilter(id=pod.id)), {pod.id}, "listed")
    expect_equal(await _ids(ctx, PodSandboxFilter(id="0" * 64)), set(), "listed for an unknown id")


@case()
async def the_list_filters_by_state(ctx: Context) -> None:
    ready, stopped = await ctx.pod(), await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(stopped.id)
    seen = await _ids(ctx, PodSandboxFilter(state=PodSandboxState.SANDBOX_READY))
    expect(ready.id in seen and stopped.id not in seen, "ready: want only the ready sandbox")
    seen = await _ids(ctx, PodSandboxFilter(state=PodSandboxState.SANDBOX_NOTREADY))
    expect(stopped.id in seen and ready.id not in seen, "not ready: want only the stopped sandbox")


@case()
async def the_list_filters_by_all_of_the_labels(ctx: Context) -> None:
    label = ctx.name("label")
    one = await ctx.pod(labels={"group": label, "member": "one"})
    two = await ctx.pod(labels={"group": label, "member": "two"})
    group = await _ids(ctx, PodSandboxFilter(label_selector={"group": label}))
    expect_equal(group, {one.id, two.id}, "the group")
    member = await _ids(ctx, PodSandboxFilter(label_selector={"group": label, "member": "two"}))
    expect_equal(member, {two.id}, "the member")
    both = await _ids(ctx, PodSandboxFilter(id=one.id, label_selector={"member": "two"}))
    expect_equal(both, set(), "id of the one and label of the other")


@case()
async def a_name_in_use_is_refused_and_its_owner_named(ctx: Context) -> None:
    pod = await ctx.pod()
    error = await expect_error(ctx.pod(pod.config), "a second sandbox of the same name", NameReserved)
    expect_equal(error.owner_id, pod.id, "owner of the name")


@case()
async def a_stopped_sandbox_keeps_its_name_until_removed(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.stop_pod_sandbox(pod.id)
    await expect_error(ctx.pod(pod.config), "the name of a stopped sandbox", NameReserved)
    await ctx.runtime.remove_pod_sandbox(pod.id)
    again = await ctx.pod(pod.config)
    expect(again.id != pod.id, "id of the second sandbox: want a new one, got the old")


@case()
async def another_attempt_is_another_sandbox(ctx: Context) -> None:
    pod = await ctx.pod()
    metadata: PodSandboxMetadata = replace(pod.config.metadata, attempt=1)
    again = await ctx.pod(replace(pod.config, metadata=metadata))
    expect(again.id != pod.id, "id of the second attempt: want a new one, got the old")
    expect_equal((await _status(ctx, again)).metadata.attempt, 1, "attempt")


@case()
async def an_unknown_runtime_handler_is_refused_and_leaves_nothing(ctx: Context) -> None:
    config = ctx.pod_config()
    await expect_error(ctx.pod(config, runtime_handler="no-such-handler"), "an unknown runtime handler")
    listed = await ctx.runtime.list_pod_sandboxes(PodSandboxFilter(label_selector=config.labels))
    expect_equal([item.id for item in listed if item.metadata == config.metadata], [], "sandboxes left")
    await ctx.pod(config)


@case()
async def ten_sandboxes_run_at_once(ctx: Context) -> None:
    pods = await asyncio.gather(*(ctx.pod() for _ in range(POD_COUNT)))
    expect_equal(len({pod.id for pod in pods}), POD_COUNT, "different ids")
    containers = await asyncio.gather(*(ctx.idle(pod) for pod in pods))
    for id in containers:
        expect_equal((await ctx.status(id)).state, ContainerState.CONTAINER_RUNNING, "state")
    addresses = {(await _status(ctx, pod)).network.ip for pod in pods}
    expect_equal(len(addresses), POD_COUNT, "different addresses")
    await asyncio.gather(*(ctx.runtime.stop_pod_sandbox(pod.id) for pod in pods))
    await asyncio.gather(*(ctx.runtime.remove_pod_sandbox(pod.id) for pod in pods))
    left = await _ids(ctx, None)
    expect(not left & {pod.id for pod in pods}, "want all ten removed, got some left")


@case(may_lack="UpdatePodSandboxResources")
async def resources_of_a_sandbox_can_be_updated(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.runtime.update_pod_sandbox_resources(
        pod.id, overhead=LinuxContainerResources(), resources=LinuxContainerResources(cpu_shares=512)
    )
