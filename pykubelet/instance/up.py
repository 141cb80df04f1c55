"""`pykubelet up`: from nothing to a cluster of one node, as many steps side by side as can be.

Every step looks first and does only what is missing, so `up` again mends what has died and otherwise says
that all is up. The record is written at each step: `down` can end what was half made.

    containerd ──► images ─────────────────────────┐
    control plane (starts) ──────────► /readyz ────┼──► node Ready ──► pods of the manifests
       credentials, kubeconfigs ──► kubelet ───────┘
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from aio import log as aio_log
from pykubelet.errors import CommandError
from pykubelet.instance import agent_start, cgroupfs, closing, controlplane_start, netfilter, runtime_start
from pykubelet.instance.controlplane import first_service_address
from pykubelet.instance.facts import HostFacts, read_facts
from pykubelet.instance.findings import errors, examine, without_own
from pykubelet.instance.kubectl import find_kubectl
from pykubelet.instance.layout import Layout
from pykubelet.instance.manifests import read_manifests_in
from pykubelet.instance.network import rules
from pykubelet.instance.processes import boot_id
from pykubelet.instance.progress import Progress
from pykubelet.instance.record import Book, Record, SharedThings, first_record, keep_choices, read_record
from pykubelet.instance.running import (
    CONTROLPLANE,
    is_process_up,
    locked,
    look_at,
    node_name,
    own_kubelet,
    pod_rows,
    pod_table,
)
from pykubelet.instance.waiting import Wait, wait_for_node, wait_for_pods


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: `static` is a directory or "", `timeout` seconds."""

    static: str
    is_standalone: bool
    timeout: float


def up(args: Namespace) -> int:
    layout = Layout.of(args.root)
    static = str(Path(args.static).resolve()) if args.static else ""
    if static and not Path(static).is_dir():
        raise CommandError(f'cannot run the manifests in "{args.static}": because it is no directory')
    with locked(layout), _log_of_its_own(layout):
        return asyncio.run(_up(layout, Wish(static, args.standalone, args.timeout)))


@contextmanager
def _log_of_its_own(layout: Layout) -> Iterator[None]:
    """What libraries log while the command works is for a file, not for the person who waits."""
    file = layout.log_of("up")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        aio_log.configure(stream=stream)
        try:
            yield
        finally:
            aio_log.configure()


async def _up(layout: Layout, wish: Wish) -> int:
    record = _usable_record(layout)
    is_standalone = _is_standalone(record, wish)
    if record is not None and _is_up_already(layout, record, wish):
        print(f"The node in {layout.root} is up already.\n")
        if not record.is_standalone:
            print(f"kubeconfig: {layout.admin_kubeconfig}\n")
        print(pod_table(pod_rows(layout)), end="")
        return 0
    progress = Progress()
    facts = _check_host(layout, record, progress)
    record = record or first_record(layout, boot_id(), _shared_things_now())
    static = wish.static or record.static or str(layout.default_static)
    _prepare_directories(layout, static)
    turn_manifests(layout, Path(static))
    book = Book(layout, record)
    book.change(static=static, is_standalone=is_standalone)
    kubectl = asyncio.create_task(asyncio.to_thread(find_kubectl))
    try:
        await _bring_up(book, facts, progress)
    finally:
        keep_choices(layout, book.record)
    wait = await _wait(book, wish, progress)
    closing.report(book, wait, await kubectl)
    progress.say(f"\nUp in {progress.elapsed:.1f} s.")
    return 0 if wait.are_settled else 1


def _is_up_already(layout: Layout, record: Record, wish: Wish) -> bool:
    return wish.static in ("", record.static) and look_at(layout, record).is_ready


def _is_standalone(record: Record | None, wish: Wish) -> bool:
    """What is up, if only in part, stays what it is."""
    if record is None or not record.components:
        return wish.is_standalone
    if wish.is_standalone and not record.is_standalone:
        raise CommandError(
            "cannot run the node alone: because it runs in a cluster; `pykubelet down` ends that first"
        )
    return record.is_standalone


async def _bring_up(book: Book, facts: HostFacts, progress: Progress) -> None:
    """Every component, each as soon as what it needs is there."""
    runtime_start.choose_range(book)
    if book.record.is_standalone:
        await runtime_start.bring_up(book, facts, progress)
        netfilter.put(rules(book.layout, book.record, ""))
        await _side_by_side(
            runtime_start.load_images(book, progress), agent_start.bring_up(book, facts, progress)
        )
        return
    is_runtime_up, are_credentials_there = asyncio.Event(), asyncio.Event()

    async def runtime() -> None:
        await runtime_start.bring_up(book, facts, progress)
        is_runtime_up.set()
        await runtime_start.load_images(book, progress)

    async def control_plane() -> None:
        await controlplane_start.bring_up(book, progress, are_credentials_there)

    async def agent() -> None:
        await is_runtime_up.wait()
        await are_credentials_there.wait()
        # Which network pods are on is known only with the runtime.
        await asyncio.to_thread(netfilter.put, rules(book.layout, book.record, first_service_address()))
        await agent_start.bring_up(book, facts, progress)

    # The control plane first: it takes longest to serve.
    await _side_by_side(control_plane(), runtime(), agent())


async def _side_by_side(*steps: Coroutine[Any, Any, None]) -> None:
    """All of them; the first that fails ends the others, and is what is said."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _wait(book: Book, wish: Wish, progress: Progress) -> Wait:
    """For the node, and for the pods of the manifests if there are any."""
    if not book.record.is_standalone:
        with progress.step(f"node {node_name()}") as step:
            await wait_for_node(book, wish.timeout, step)
    manifests = read_manifests_in(book.record.static, node_name())
    if not manifests.count:
        return Wait([], True, manifests)
    with progress.step(f"pods of {book.record.static}") as step:
        return await wait_for_pods(book.layout, manifests, wish.timeout, step)


def _usable_record(layout: Layout) -> Record | None:
    """The record of this boot. After a reboot only the choices are kept: processes and mounts are gone."""
    record = read_record(layout)
    if record is None or record.boot_id == boot_id():
        return record
    runtime_start.forget_last_boot(layout)
    return msgspec.structs.replace(record, boot_id=boot_id(), components=(), before=_shared_things_now())


def _shared_things_now() -> SharedThings:
    return SharedThings(cgroups=tuple(cgroupfs.parents()), tables=tuple(netfilter.tables()))


def _check_host(layout: Layout, record: Record | None, progress: Progress) -> HostFacts:
    """Say what was found; CommandError when a node cannot run here."""
    with progress.step("host") as step:
        is_serving = is_process_up(record, CONTROLPLANE)
        facts = without_own(read_facts(layout), own_kubelet(record), is_serving=is_serving)
        findings = examine(facts)
        containerd = f"containerd {facts.containerd_version}" if facts.containerd else "no containerd"
        cgroups = "cgroup v2" if facts.is_cgroup2_unified else "cgroup v1 (hybrid)"
        step.note(f"host: {containerd}, {cgroups}, network plugins in {facts.cni_directory or 'no place'}")
    for finding in findings:
        if finding.level != "ok":
            progress.say(f"          {finding.level}: {finding.text}")
    faults = errors(findings)
    if faults:
        mends = "\n".join(f"  {fault.mend}" for fault in faults if fault.mend)
        raise CommandError(f"cannot bring a node up: because of the errors above; to mend them:\n{mends}")
    return facts


def _prepare_directories(layout: Layout, static: str) -> None:
    for directory in (layout.run, layout.no_manifests, layout.pod_logs, layout.kubelet):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(static).mkdir(parents=True, exist_ok=True)


def turn_manifests(layout: Layout, directory: Path) -> None:
    """Let the agent read its manifests from `directory`; in one step, so that the link is never missing."""
    link = layout.manifests.with_name("manifests.new")
    link.unlink(missing_ok=True)
    link.symlink_to(directory)
    link.replace(layout.manifests)
