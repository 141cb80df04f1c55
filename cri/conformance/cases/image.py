"""Cases about images: listing, status, removal, failing pulls, disk usage."""

from __future__ import annotations

from cri.conformance.case import case, expect, expect_equal, expect_error
from cri.conformance.context import IMAGE, Context
from cri.errors import ImagePullError
from cri.types import Image, ImageFilter, ImageSpec


async def _present(ctx: Context, name: str) -> Image | None:
    return (await ctx.images.image_status(ImageSpec(image=name))).image


async def _known(ctx: Context) -> Image:
    image = await _present(ctx, IMAGE)
    if image is None:
        expect(False, f"want the image {IMAGE!r} present, got none")
        return Image()
    return image


@case()
async def status_describes_an_image(ctx: Context) -> None:
    image = await _known(ctx)
    expect(image.id, "id: want one, got none")
    expect(IMAGE in image.repo_tags, f"repo_tags: want {IMAGE!r} in it, got {image.repo_tags}")
    expect(image.size > 0, f"size: want more than 0, got {image.size}")


@case()
async def an_image_is_found_by_its_id(ctx: Context) -> None:
    image = await _known(ctx)
    found = await _present(ctx, image.id)
    expect_equal(found and found.id, image.id, "image found by id")


@case()
async def an_absent_image_is_no_error(ctx: Context) -> None:
    expect_equal(await _present(ctx, f"localhost/pykubelet/{ctx.name('absent')}:1"), None, "image")


@case()
async def verbose_status_carries_information(ctx: Context) -> None:
    answer = await ctx.images.image_status(ImageSpec(image=IMAGE), verbose=True)
    expect(answer.info, "verbose info: want some, got none")


@case()
async def the_list_holds_the_image_with_and_without_a_filter(ctx: Context) -> None:
    image = await _known(ctx)
    expect(image.id in {item.id for item in await ctx.images.list_images()}, "list: want the image in it")
    # containerd 1.x takes a filter and lists everything.
    wanted = ImageFilter(ImageSpec(image=IMAGE))
    filtered = {item.id for item in await ctx.images.list_images(wanted)}
    expect(image.id in filtered, "filtered list: want the image in it")


@case()
async def a_loaded_image_runs_and_can_be_removed(ctx: Context) -> None:
    name = await ctx.own_image()
    expect(await _present(ctx, name), "loaded image: want it present, got none")
    pod = await ctx.pod()
    id = await ctx.start(pod, "true", image=ImageSpec(image=name))
    expect_equal((await ctx.exited(id)).exit_code, 0, "exit code")
    await ctx.runtime.remove_container(id)
    await ctx.images.remove_image(ImageSpec(image=name))
    expect_equal(await _present(ctx, name), None, "image after removal")
    await ctx.images.remove_image(ImageSpec(image=name))


@case()
async def a_pull_that_cannot_work_says_so(ctx: Context) -> None:
    # Port 1 of loopback: nobody listens, and no packet leaves the host.
    name = f"127.0.0.1:1/{ctx.name('absent')}:1"
    error = await expect_error(ctx.images.pull_image(ImageSpec(image=name)), "pulling", ImagePullError)
    expect(error.message, "message: want a reason, got none")
    expect_equal(await _present(ctx, name), None, "image after the failed pull")


@case()
async def a_reference_that_is_none_is_refused(ctx: Context) -> None:
    await expect_error(
        ctx.images.pull_image(ImageSpec(image="UPPER/ CASE::")), "pulling an invalid reference"
    )


@case()
async def the_image_filesystem_is_described(ctx: Context) -> None:
    usage = (await ctx.images.image_fs_info()).image_filesystems
    expect(usage, "image_filesystems: want at least one, got none")
    for item in usage:
        expect(item.timestamp > 0, f"timestamp: want a time, got {item.timestamp}")
        expect(item.fs_id.mountpoint, "mountpoint: want a path, got none")
        expect(item.used_bytes is not None, "used_bytes: want a figure, got none")
