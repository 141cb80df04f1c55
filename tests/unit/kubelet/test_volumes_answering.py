"""Which paths lead onto a filesystem that others serve, and what happens when it does not answer."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from kubelet.volumes import answering
from kubelet.volumes.answering import Answering, first_remote, remote_mounts
from kubelet.volumes.plugin import VolumeError

pytestmark = pytest.mark.pure

TABLE = """\
22 1 0:21 / / rw shared:1 - ext4 /dev/vda1 rw
30 22 0:40 / /mnt/data rw shared:9 - nfs4 server:/x rw
31 22 0:41 / /mnt/with\\040blank rw - fuse.sshfs host: rw
32 22 0:42 / /dev/shm rw - tmpfs tmpfs rw
33 22 0:43 / /mnt/fuseblk rw - fuseblk /dev/sdb1 rw
"""
MOUNTS = frozenset({"/mnt/data"})


def no_links(path: str) -> str | None:
    assert path != "/mnt/data", "it may never answer"
    return None


def test_remote_filesystems_are_told_by_their_type() -> None:
    assert remote_mounts(TABLE) == {"/mnt/data": "nfs4", "/mnt/with blank": "fuse.sshfs"}


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/mnt/data", "/mnt/data"),
        ("/mnt//data/./a/b", "/mnt/data"),
        ("/mnt/x/../data/a", "/mnt/data"),
        ("/mnt/database", None),
        ("/mnt", None),
        ("/", None),
    ],
)
def test_path_is_followed_up_to_the_first_remote_mount(path: str, where: str | None) -> None:
    assert first_remote(path, MOUNTS, no_links) == where


@pytest.mark.parametrize(
    ("links", "where"),
    [
        ({"/srv/web": "/mnt/data/web"}, "/mnt/data"),
        ({"/srv/web": "../mnt/x", "/mnt/x": "data"}, "/mnt/data"),
        ({"/srv/web": "local"}, None),
        ({"/srv/web": "web"}, None),  # a loop: looking at it fails at once
    ],
)
def test_links_are_followed_without_looking_behind_the_mount(
    links: dict[str, str], where: str | None
) -> None:
    def readlink(path: str) -> str | None:
        assert not path.startswith("/mnt/data"), "it may never answer"
        return links.get(path)

    assert first_remote("/srv/web/index.html", MOUNTS, readlink) == where


def table_of(directory: Path) -> str:
    return f"40 22 0:50 / {directory} rw - fuse silent rw"


def test_remote_filesystem_that_answers_is_used_whatever_it_answers(tmp_path: Path) -> None:
    asked = Answering(lambda: table_of(tmp_path))
    asked.check(str(tmp_path))
    asked.check(str(tmp_path / "missing"))
    asked.check("/elsewhere")


def test_silent_filesystem_is_refused_in_time_with_one_child_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The child sleeps as if its stat did not come back.
    monkeypatch.setattr(answering, "_LOOK", "import time; time.sleep(30)")
    asked = Answering(lambda: table_of(tmp_path), answer_seconds=0.3)
    refused: list[str] = []

    def check() -> None:
        with pytest.raises(VolumeError) as error:
            asked.check(str(tmp_path / "a"))
        refused.append(str(error.value))

    began = time.monotonic()
    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 3.0
    text = f'cannot use "{tmp_path}/a": because the fuse filesystem at "{tmp_path}" has not answered for 0s'
    assert refused == [text] * 3
    (look,) = asked._looks.values()
    assert look.child.wait(5.0) == -signal.SIGKILL
    # Once it answers again, so does this.
    monkeypatch.setattr(answering, "_LOOK", "pass")
    Answering.check(asked, str(tmp_path))
