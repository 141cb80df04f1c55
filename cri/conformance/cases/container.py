"""Cases about what a container is given: command, environment, files, resources; and how it is listed."""

from __future__ import annotations

from cri.conformance.case import case, expect, expect_equal
from cri.conformance.context import IMAGE, Context
from cri.types import (
    ContainerFilter,
    ContainerState,
    Device,
    ImageSpec,
    KeyValue,
    LinuxContainerResources,
    Mount,
)

LIMIT_BYTES = 64 << 20
RAISED_BYTES = 96 << 20
# The limit's file in either hierarchy, from inside the container.
MEMORY_LIMIT = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"


async def _listed(ctx: Context, **wanted: object) -> set[str]:
    filter = ContainerFilter(**wanted)  # type: ignore[arg-type]
    return {item.id for item in await ctx.runtime.list_containers(filter)}


@case()
async def status_shows_what_was_asked(ctx: Context) -> None:
    config = ctx.container_config("sleep", "1000", name="web", attempt=3, annotations={"note": "x y ü"})
    id = await ctx.create_from(await ctx.pod(), config)
    status = await ctx.status(id)
    expect_equal(status.id, id, "id")
    expect_equal(status.metadata, config.metadata, "metadata")
    expect_equal(dict(status.labels), dict(config.labels), "labels")
    expect_equal(dict(status.annotations), dict(config.annotations), "annotations")
    expect_equal(status.log_path, f"{ctx.directory}/{config.log_path}", "log_path")


@case()
async def status_names_the_image_and_its_id(ctx: Context) -> None:
    status = await ctx.status(await ctx.create(await ctx.pod(), "true"))
    image = (await ctx.images.image_status(ImageSpec(image=IMAGE))).image
    expect(image is not None, f"want the image {IMAGE!r} present, got none")
    known = {image.id, *image.repo_tags, *image.repo_digests} if image else set()
    expect(status.image.image in known, f"image: want one of {sorted(known)}, got {status.image.image!r}")
    expect(status.image_ref in known, f"image_ref: want one of {sorted(known)}, got {status.image_ref!r}")


@case()
async def the_list_shows_what_status_shows(ctx: Context) -> None:
    pod = await ctx.pod()
    id = await ctx.idle(pod, annotations={"note": "x"})
    (item,) = await ctx.runtime.list_containers(ContainerFilter(id=id))
    status = await ctx.status(id)
    expect_equal(item.pod_sandbox_id, pod.id, "pod_sandbox_id")
    for name in ("id", "metadata", "state", "created_at", "labels", "annotations", "image_ref"):
        expect_equal(getattr(item, name), getattr(status, name), name)


@case()
async def the_list_filters_by_sandbox_and_id(ctx: Context) -> None:
    first, second = await ctx.pod(), await ctx.pod()
    a, b = await ctx.create(first, "true", name="a"), await ctx.create(first, "true", name="b")
    await ctx.create(second, "true")
    expect_equal(await _listed(ctx, pod_sandbox_id=first.id), {a, b}, "containers of the first pod")
    expect_equal(await _listed(ctx, id=b), {b}, "container by id")
    expect_equal(await _listed(ctx, id=b, pod_sandbox_id=second.id), set(), "by id in the other pod")
    expect_equal(await _listed(ctx, id="0" * 64), set(), "by an unknown id")


@case()
async def the_list_filters_by_state(ctx: Context) -> None:
    pod = await ctx.pod()
    created = await ctx.create(pod, "true", name="created")
    running = await ctx.idle(pod, name="running")
    exited = await ctx.start(pod, "true", name="exited")
    await ctx.exited(exited)
    for state, id in (
        (ContainerState.CONTAINER_CREATED, created),
        (ContainerState.CONTAINER_RUNNING, running),
        (ContainerState.CONTAINER_EXITED, exited),
    ):
        expect_equal(await _listed(ctx, pod_sandbox_id=pod.id, state=state), {id}, state.name)


@case()
async def the_list_filters_by_all_of_the_labels(ctx: Context) -> None:
    pod, label = await ctx.pod(), ctx.name("label")
    one = await ctx.create(pod, "true", name="one", labels={"group": label, "member": "one"})
    two = await ctx.create(pod, "true", name="two", labels={"group": label, "member": "two"})
    expect_equal(await _listed(ctx, label_selector={"group": label}), {one, two}, "the group")
    wanted = {"group": label, "member": "two"}
    expect_equal(await _listed(ctx, label_selector=wanted), {two}, "the member")


@case()
async def environment_variables_arrive(ctx: Context) -> None:
    envs = (KeyValue("PLAIN", b"value"), KeyValue("SPACED", b"a  b=c"), KeyValue("UTF", "grün".encode()))
    id = await ctx.idle(await ctx.pod(), envs=envs)
    for pair in envs:
        seen = await ctx.shell(id, f'echo "${pair.key}"')
        expect_equal(seen, pair.value.decode(), pair.key)


@case()
async def command_and_args_are_joined(ctx: Context) -> None:
    config = ctx.container_config("echo", "one", args=("two", "three  four"))
    id = await ctx.create_from(await ctx.pod(), config)
    await ctx.runtime.start_container(id)
    await ctx.exited(id)
    text = await ctx.log_text(id)
    expect(text.endswith("stdout F one two three  four\n"), f"output: want the joined command, got {text!r}")


@case(needs="kernel")
async def args_alone_replace_the_images_command(ctx: Context) -> None:
    id = await ctx.create_from(await ctx.pod(), ctx.container_config(args=("sh", "-c", "exit 23")))
    await ctx.runtime.start_container(id)
    expect_equal((await ctx.exited(id)).exit_code, 23, "exit code")


@case(needs="kernel")
async def the_images_own_command_runs_when_none_is_given(ctx: Context) -> None:
    id = await ctx.create_from(await ctx.pod(), ctx.container_config())
    await ctx.runtime.start_container(id)  # a shell without input ends at once
    expect_equal((await ctx.exited(id)).exit_code, 0, "exit code")


@case()
async def the_working_directory_is_set(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), "pwd", working_dir="/tmp")
    await ctx.exited(id)
    text = await ctx.log_text(id)
    expect(text.endswith("stdout F /tmp\n"), f"output: want /tmp, got {text!r}")


@case(needs="kernel")
async def a_directory_can_be_mounted_for_writing(ctx: Context) -> None:
    source = ctx.directory / "rw"
    source.mkdir()
    (source / "in").write_text("from the host")
    id = await ctx.idle(await ctx.pod(), mounts=(Mount("/data", str(source)),))
    expect_equal(await ctx.shell(id, "cat /data/in"), "from the host", "content seen inside")
    await ctx.shell(id, "echo from inside > /data/out")
    expect_equal((source / "out").read_text(), "from inside\n", "content seen outside")


@case(needs="kernel")
async def a_read_only_mount_refuses_writing(ctx: Context) -> None:
    source = ctx.directory / "ro"
    source.mkdir()
    (source / "in").write_text("fixed")
    id = await ctx.idle(await ctx.pod(), mounts=(Mount("/data", str(source), readonly=True),))
    expect_equal(await ctx.shell(id, "cat /data/in"), "fixed", "content")
    answer = await ctx.runtime.exec_sync(id, ["sh", "-c", "echo x > /data/out"], 10)
    expect(answer.exit_code != 0, "writing: want a failure, got success")
    expect(b"Read-only" in answer.stderr, f"writing: want EROFS, got {answer.stderr!r}")


@case(needs="kernel")
async def a_single_file_can_be_mounted(ctx: Context) -> None:
    source = ctx.directory / "hosts"
    source.write_text("192.0.2.1 somewhere\n")
    id = await ctx.idle(await ctx.pod(), mounts=(Mount("/etc/hosts", str(source)),))
    expect_equal(await ctx.shell(id, "cat /etc/hosts"), "192.0.2.1 somewhere", "content")


@case()
async def status_shows_the_mounts(ctx: Context) -> None:
    mount = Mount("/data", str(ctx.directory), readonly=True)
    status = await ctx.status(await ctx.create(await ctx.pod(), "true", mounts=(mount,)))
    seen = {(item.container_path, item.host_path, item.readonly) for item in status.mounts}
    expect(("/data", str(ctx.directory), True) in seen, f"mounts: want /data among them, got {seen}")


@case(needs="kernel")
async def a_device_can_be_given(ctx: Context) -> None:
    device = Device("/dev/nothing", "/dev/null", "rw")
    id = await ctx.idle(await ctx.pod(), devices=(device,))
    expect_equal(
        await ctx.shell(id, "echo x > /dev/nothing; test -c /dev/nothing && echo yes"), "yes", "device"
    )


@case(needs="kernel")
async def a_terminal_can_be_given(ctx: Context) -> None:
    id = await ctx.script(await ctx.pod(), "test -t 1 && exit 12; exit 1", tty=True)
    expect_equal((await ctx.exited(id)).exit_code, 12, "exit code")


@case(needs="kernel")
async def the_memory_limit_holds_and_can_be_raised(ctx: Context) -> None:
    limit = LinuxContainerResources(memory_limit_in_bytes=LIMIT_BYTES)
    id = await ctx.idle(await ctx.pod(), resources=limit)
    expect_equal(await ctx.shell(id, MEMORY_LIMIT), str(LIMIT_BYTES), "limit in the kernel")
    raised = LinuxContainerResources(memory_limit_in_bytes=RAISED_BYTES)
    await ctx.runtime.update_container_resources(id, raised)
    expect_equal(await ctx.shell(id, MEMORY_LIMIT), str(RAISED_BYTES), "limit after the update")


@case()
async def resources_of_a_running_container_can_be_updated(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod(), resources=LinuxContainerResources(cpu_shares=256))
    await ctx.runtime.update_container_resources(id, LinuxContainerResources(cpu_shares=512))
    expect_equal((await ctx.status(id)).state, ContainerState.CONTAINER_RUNNING, "state")
