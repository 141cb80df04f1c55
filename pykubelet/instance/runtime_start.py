"""The container runtime of an instance: the host's own containerd where it will do, else a private one.

The usual instance takes the host's containerd when it answers and its CRI plugin is sound; an instance with a
root of its own, and any host with another kubelet, gets a private one. The choice is kept in the record.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from cri.errors import CriError
from cri.imageload import ensure_builtin_images
from cri.types import StatusResponse
from cri.wire import Runtime, connect
from pykubelet.errors import CommandError
from pykubelet.instance import footprint
from pykubelet.instance.containerd import RuntimeNeeds, containerd_config
from pykubelet.instance.facts import CAP_SYS_RESOURCE, HostFacts, search_path
from pykubelet.instance.layout import Layout
from pykubelet.instance.network import CONFLIST_NAME, choose_subnet, conflist, read_routes, routed_networks
from pykubelet.instance.processes import is_running, start_detached
from pykubelet.instance.progress import Progress
from pykubelet.instance.record import Book, Component
from pykubelet.instance.running import CONTAINERD
from pykubelet.instance.starting import LOOK_AGAIN_SECONDS, Start
from pykubelet.runtime.connecting import connected

HOST_SOCKET = Path("/run/containerd/containerd.sock")
HOST_ENDPOINT = f"unix://{HOST_SOCKET}"
HOST_CHECK_SECONDS = 3.0
READY_SECONDS = 30.0
_RUNTIME_READY, _NETWORK_READY = "RuntimeReady", "NetworkReady"  # RuntimeCondition types of CRI


@dataclass(frozen=True, slots=True)
class HostRuntime:
    """The host's containerd: whether it will do, and why not."""

    will_do: bool
    reason: str = ""
    lacks_network: bool = False
    cni_directory: str = ""


async def bring_up(book: Book, facts: HostFacts, progress: Progress) -> None:
    """A runtime that is ready, and its network; the record says which."""
    if await _wants_private(book, facts, progress):
        await _private(book, facts, progress)
    else:
        book.change(is_private_runtime=False, runtime_endpoint=HOST_ENDPOINT)
        await _host_network(book, facts, progress)


async def load_images(book: Book, progress: Progress) -> None:
    """The built-in images, where the runtime lacks them."""
    endpoint = book.record.runtime_endpoint
    with progress.step("images") as step:
        async with connected(endpoint) as runtime:
            imported = await ensure_builtin_images(endpoint, runtime.runtime, runtime.images)
        names = ", ".join(imported)
        step.note(f"images: {names} imported" if imported else "images: the built-in ones are there")


def forget_last_boot(layout: Layout) -> None:
    """What a reboot left: containerd's volatile state, whose processes and mounts are gone."""
    footprint.remove_path(layout.containerd_state)
    footprint.remove_path(layout.run)


async def _wants_private(book: Book, facts: HostFacts, progress: Progress) -> bool:
    layout, record = book.layout, book.record
    if not layout.is_default or layout.containerd_config.exists():
        return True
    if record.runtime_endpoint:
        return record.is_private_runtime
    if not HOST_SOCKET.is_socket():
        return True
    with progress.step("the host's containerd") as step:
        found = await look_at_host(facts)
        if not found.will_do:
            step.note(f"the host's containerd is left alone: {found.reason}")
    return not found.will_do


async def look_at_host(facts: HostFacts) -> HostRuntime:
    """Ask the host's containerd for Version and Status."""
    if facts.other_kubelets:
        return HostRuntime(False, f"kubelet {facts.other_kubelets[0]} uses it")
    try:
        runtime = await connect(HOST_ENDPOINT, HOST_CHECK_SECONDS)
    except CriError as error:
        return HostRuntime(False, error.message)
    try:
        status = await runtime.runtime.status(verbose=True)
    except CriError as error:
        return HostRuntime(False, error.message)
    finally:
        await runtime.close()
    return judge_host(status, can_lower_oom_score=facts.has_capability(CAP_SYS_RESOURCE))


def judge_host(status: StatusResponse, *, can_lower_oom_score: bool) -> HostRuntime:
    """Whether a runtime with this verbose Status can run our pods (pure)."""
    conditions = {condition.type: condition for condition in status.status.conditions}
    ready = conditions.get(_RUNTIME_READY)
    if ready is None or not ready.status:
        return HostRuntime(False, f"it is not ready: {ready.message if ready else 'it does not say why'}")
    try:
        config = json.loads(status.info.get("config", "{}"))
    except json.JSONDecodeError:
        config = {}
    if not can_lower_oom_score and not config.get("restrictOOMScoreAdj"):
        return HostRuntime(
            False,
            "it has no restrict_oom_score_adj = true, and without CAP_SYS_RESOURCE it starts no container",
        )
    network = conditions.get(_NETWORK_READY)
    directory = (config.get("cni") or {}).get("confDir", "")
    return HostRuntime(True, "", not (network and network.status), directory)


async def _host_network(book: Book, facts: HostFacts, progress: Progress) -> None:
    """Give the host's runtime a network if it has none."""
    found = await look_at_host(facts)
    if not found.lacks_network:
        progress.say("          network: the host's runtime has one")
        return
    if not found.cni_directory:
        raise CommandError(
            "cannot give the host's runtime a network: because it does not say where it reads CNI "
            "configurations"
        )
    with progress.step("network") as step:
        choose_range(book)
        path = Path(found.cni_directory, CONFLIST_NAME)
        path.parent.mkdir(parents=True, exist_ok=True)
        book.change(conflist=str(path))
        path.write_bytes(_conflist(book, facts))
        step.note(f"network: bridge {book.layout.bridge}, {book.record.subnet}, written to {path}")
        async with connected(HOST_ENDPOINT) as runtime:
            await _wait_ready(runtime, time.monotonic() + READY_SECONDS)


async def _private(book: Book, facts: HostFacts, progress: Progress) -> None:
    layout, component = book.layout, book.record.component(CONTAINERD)
    if component is not None and is_running(component):
        progress.say(f"          containerd: runs already (pid {component.pid})")
        return
    with progress.step("containerd") as step:
        choose_range(book)
        needs = RuntimeNeeds(
            major=facts.containerd_major,
            cni_directory=facts.cni_directory,
            restrict_oom_score_adj=not facts.has_capability(CAP_SYS_RESOURCE),
        )
        for directory in (layout.containerd_data, layout.containerd_state, layout.cni_conf):
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        layout.containerd_config.write_text(containerd_config(layout, needs))
        (layout.cni_conf / CONFLIST_NAME).write_bytes(_conflist(book, facts))
        endpoint = f"unix://{layout.containerd_socket}"
        argv = [facts.containerd, "--config", str(layout.containerd_config)]
        env = os.environ | {"PATH": search_path()}
        component = start_detached(CONTAINERD, argv, layout.log_of(CONTAINERD), env)
        book.change(runtime_endpoint=endpoint, is_private_runtime=True)
        book.started(component)
        await _wait_started(layout, component, endpoint)
        step.note(
            f"containerd {facts.containerd_version}: a private one, pid {component.pid}; "
            f"bridge {layout.bridge}, {book.record.subnet}"
        )


def choose_range(book: Book) -> None:
    """The range once chosen is kept: leases and running pods use it."""
    if not book.record.subnet:
        book.change(subnet=choose_subnet(book.layout, routed_networks(read_routes())))


def _conflist(book: Book, facts: HostFacts) -> bytes:
    return conflist(book.layout, book.record.subnet, has_portmap=facts.has_portmap)


async def _wait_started(layout: Layout, component: Component, endpoint: str) -> None:
    coming = Start.now("containerd", component, layout.log_of(CONTAINERD), READY_SECONDS)
    socket = Path(endpoint.removeprefix("unix://"))
    while True:
        if socket.is_socket():
            try:
                runtime = await connect(endpoint)
            except CriError:
                pass  # it listens before its CRI plugin is ready
            else:
                try:
                    await _wait_ready(runtime, coming.deadline)
                finally:
                    await runtime.close()
                return
        await coming.look_again()


async def _wait_ready(runtime: Runtime, deadline: float) -> None:
    """Until the runtime says that it and its network are ready."""
    while True:
        conditions = (await runtime.runtime.status()).status.conditions
        faults = [condition for condition in conditions if not condition.status]
        if not faults:
            return
        if time.monotonic() > deadline:
            why = "; ".join(f"{fault.type}: {fault.message}" for fault in faults)
            raise CommandError(f"cannot use the runtime: because it is not ready: {why}")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
