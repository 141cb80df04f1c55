"""Loading images: only what is missing, done when CRI shows it, and clear words where there is no way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import SystemClock, VirtualClock
from cri import imagefile, imageload
from cri.fake import FakeRuntime
from cri.imagefile import FileEntry, ImageConfig
from cri.imageload import ImageLoadError, Target

pytestmark = pytest.mark.pure

NAME = "localhost/some/thing:1"


def play(scenario: Callable[[FakeRuntime, VirtualClock], Awaitable[None]]) -> None:
    async def on(clock: VirtualClock) -> None:
        await scenario(FakeRuntime(clock), clock)

    virtual.run(on)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    return imagefile.build_image([NAME], [FileEntry("a", b"b")], ImageConfig(), path=path)


def test_runtime_without_known_import_is_named(archive: Path) -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        with pytest.raises(ImageLoadError, match='calls itself "other"'):
            await imageload.import_archive(Target("unix:///nowhere", "other"), fake.images, archive)

    play(scenario)


def test_crio_without_its_tools_is_told_which_package_helps(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)

    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        with pytest.raises(ImageLoadError, match="apt-get install skopeo"):
            await imageload.import_archive(Target("unix:///nowhere", "cri-o"), fake.images, archive)

    play(scenario)


@pytest.mark.asyncio
async def test_import_is_done_only_when_cri_shows_the_name(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/true")
    monkeypatch.setattr(imageload, "VISIBLE_TIMEOUT_SECONDS", 0.05)
    fake, target = FakeRuntime(SystemClock()), Target("unix:///nowhere", "cri-o")
    with pytest.raises(ImageLoadError, match=f'cannot use image "{NAME}"'):
        await imageload.import_archive(target, fake.images, archive)
    fake.images.add(NAME)
    assert await imageload.import_archive(target, fake.images, archive) == (NAME,)


@pytest.mark.asyncio
async def test_failing_tool_is_quoted_with_its_own_words(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/ls")
    fake = FakeRuntime(SystemClock())
    with pytest.raises(ImageLoadError, match=r"(?s)cannot run \"/bin/ls copy .*No such file"):
        await imageload.import_archive(Target("unix:///nowhere", "cri-o"), fake.images, archive)


def test_nothing_is_imported_when_all_images_are_there() -> None:
    async def scenario(fake: FakeRuntime, clock: VirtualClock) -> None:
        assert await imageload.ensure_builtin_images("unix:///nowhere", fake, fake.images, clock=clock) == ()

    play(scenario)
