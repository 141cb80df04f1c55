"""Volumes that show the API, with real mounts, threads and time: contents, modes, owners, atomic updates."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aio.clock import SystemClock
from aio.executors import Executors
from kube import objects
from kube.client import resources
from kube.fake import FakeApi
from kube.objects.core_v1 import Pod
from kubelet.events import RingEvents
from kubelet.objects.joining import join, make_inputs
from kubelet.objects.pod_inputs import ApiPodInputs
from kubelet.podspec.context import NodeFacts
from kubelet.volumes.mountinfo import mounts_below
from kubelet.volumes.mounting import LinuxMounter
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import PodVolumes

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
]

UID, GID = 12345, 54321
PATIENCE_SECONDS = 20.0  # a busy host; what is asked for is 2


class Joined:
    """The agent's volumes joined to a fake API server."""

    def __init__(self, root: Path) -> None:
        facts = NodeFacts(
            "n1",
            root_dir=str(root / "kubelet"),
            pod_logs_dir=str(root / "logs"),
            allocatable={"memory": "256Mi"},
            hosts_path="/etc/hosts",
        )
        clock = SystemClock()
        self.sink = RingEvents(clock)
        self.api = FakeApi(clock)
        self.inputs: ApiPodInputs = make_inputs(self.api.client(), clock, self.sink)
        mounter = LinuxMounter()
        self.volumes = PodVolumes(
            builtin_plugins(mounter, lambda: facts), mounter, Executors(), lambda: facts, inputs=self.inputs
        )
        self.loops = join(self.inputs, self.volumes, lambda _uid: None, clock, self.sink)

    def put(self, kind: str, name: str, **fields: Any) -> None:
        metadata = {"name": name, "namespace": "shop"}
        self.api.put({"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields})

    async def mount(self, pod: Pod) -> dict[str, Path]:
        self.inputs.register(pod)
        ready = await self.volumes.mount_all(pod)
        return {name: Path(volume.host_path) for name, volume in ready.items()}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nothing is left mounted, whatever the test does."""
    yield tmp_path
    mounter = LinuxMounter()
    for mount in mounts_below(mounter.table(str(tmp_path)), str(tmp_path)):
        mounter.unmount(mount.path)


@asynccontextmanager
async def joined(root: Path) -> AsyncIterator[Joined]:
    made = Joined(root)
    tasks = [asyncio.ensure_future(loop()) for loop in made.loops.values()]
    try:
        yield made
        for task in tasks:
            assert not task.done() or task.cancelled(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.inputs.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def make_pod(*volumes: dict[str, Any], **spec: Any) -> Pod:
    metadata = {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}}
    body = {"volumes": list(volumes), "containers": [{"name": "c"}], **spec}
    return objects.convert({"metadata": metadata, "spec": body}, Pod)


CONFIG = {"name": "config", "configMap": {"name": "m"}}
KEYS = {"name": "keys", "secret": {"secretName": "s", "defaultMode": 0o400}}
ACCESS = {
    "name": "access",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "deep/a"}]}},
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]
    },
}


def filesystem(path: Path) -> str:
    return next(
        mount.fs_type for mount in reversed(LinuxMounter().table()) if str(path).startswith(mount.path)
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.asyncio
async def test_contents_modes_owners_and_media_are_as_kubernetes_has_them(root: Path) -> None:
    async with joined(root) as node:
        node.put("ServiceAccount", "default")
        node.put("ConfigMap", "m", data={"a": "1"}, binaryData={"b": base64.b64encode(b"\xff").decode()})
        node.put("Secret", "s", data={"k": base64.b64encode(b"x").decode()})
        places = await node.mount(
            make_pod(CONFIG, KEYS, ACCESS, securityContext={"runAsUser": UID, "fsGroup": GID})
        )
        config, keys, access = places["config"], places["keys"], places["access"]
        assert (config / "b").read_bytes() == b"\xff" and mode(config / "a") == 0o644
        assert (config / "a").stat().st_gid == GID
        assert filesystem(config) != "tmpfs" or filesystem(root) == "tmpfs"
        assert str(config).endswith("pods/u1/volumes/kubernetes.io~configmap/config")
        assert filesystem(keys) == "tmpfs" and mode(keys / "k") == 0o440
        assert filesystem(access) == "tmpfs"
        token = (access / "token").stat()
        assert (token.st_uid, token.st_gid, mode(access / "token")) == (UID, GID, 0o640)
        assert (access / "deep/a").read_text() == "1" and (access / "l").read_text() == 'app="web"'
        assert str((access / "deep").readlink()) == "..data/deep"
        await node.volumes.unmount_all("u1")
        await node.volumes.remove_pod_dir("u1")
        assert not mounts_below(LinuxMounter().table(str(root)), str(root))


@pytest.mark.asyncio
async def test_change_reaches_the_files_all_at_once(root: Path) -> None:
    """A reader that follows `..data` never sees one file of the old and one of the new."""
    async with joined(root) as node:
        node.put("ConfigMap", "m", data={"a": "0", "b": "0"})
        places = await node.mount(make_pod(CONFIG))
        top = places["config"]
        done, torn, seen = threading.Event(), [], set()

        def read() -> None:
            while not done.is_set():
                try:
                    fd = os.open(top / "..data", os.O_RDONLY | os.O_DIRECTORY)
                except FileNotFoundError as gone:
                    torn.append(str(gone))
                    return
                try:
                    texts = {name: _text(fd, name) for name in ("a", "b")}
                finally:
                    os.close(fd)
                if "" not in texts.values():  # a directory that was exchanged while it was read is going
                    seen.add(texts["a"])
                    if texts["a"] != texts["b"]:
                        torn.append(str(texts))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(1, 21):
                node.put("ConfigMap", "m", data={"a": str(number), "b": str(number)})
                await until(lambda: (top / "b").read_text() == str(number))  # noqa: B023
        finally:
            done.set()
            reader.join()
        assert torn == [] and seen
        inode = (top / "a").stat().st_ino
        await node.volumes.refresh(make_pod(CONFIG))
        assert (top / "a").stat().st_ino == inode, "what is unchanged is not written again"
        await node.volumes.unmount_all("u1")


def _text(directory: int, name: str) -> str:
    try:
        fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    except FileNotFoundError:
        return ""
    with os.fdopen(fd) as file:
        return file.read()


@pytest.mark.asyncio
async def test_pod_that_is_taken_down_while_its_files_are_renewed_leaves_nothing(root: Path) -> None:
    async with joined(root) as node:
        node.put("ConfigMap", "m", data={"a": "0"})
        node.put("ServiceAccount", "default")
        node.put("Secret", "s", data={})
        for number in range(30):
            await node.mount(make_pod(CONFIG, KEYS, ACCESS))
            node.put("ConfigMap", "m", data={"a": str(number)})
            for _ in range(number % 7):
                await asyncio.sleep(0)
            await node.volumes.unmount_all("u1")
            node.inputs.forget("u1")
            await node.volumes.remove_pod_dir("u1")
        await asyncio.sleep(0.05)
        assert not (root / "kubelet/pods/u1").exists()
        assert not mounts_below(LinuxMounter().table(str(root)), str(root))
        assert [one.event.message for one in node.sink] == []


@pytest.mark.asyncio
async def test_volume_waits_for_its_object_and_optional_ones_come_later(root: Path) -> None:
    async with joined(root) as node:
        optional = {"name": "maybe", "configMap": {"name": "later", "optional": True}}
        with pytest.raises(VolumeError) as refused:
            await node.mount(make_pod(CONFIG, optional))
        assert (
            refused.value.message == 'MountVolume.SetUp failed for volume "config" : configmap "m" not found'
        )
        assert refused.value.after_seconds == 0.5
        node.put("ConfigMap", "m", data={"a": "1"})
        places = await node.mount(make_pod(CONFIG, optional))
        assert not [path for path in places["maybe"].iterdir() if not path.name.startswith("..")]
        node.put("ConfigMap", "later", data={"x": "1"})
        await until(lambda: (places["maybe"] / "x").exists())
        node.api.remove(resources.CONFIG_MAPS, "later", "shop")
        await until(lambda: not (places["maybe"] / "x").exists())
        await node.volumes.unmount_all("u1")
