"""`pykubelet up`: from nothing to a node with its pods running, one step after the other.

Every step looks first and does only what is missing, so `up` again mends what has died and otherwise says
that the node is up. The record is written after each step: `down` can end what was half made.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pykubelet.errors import CommandError
from pykubelet.instance import agent_start, cgroupfs, netfilter, runtime_start
from pykubelet.instance.facts import HostFacts, read_facts
from pykubelet.instance.findings import errors, examine, without_own
from pykubelet.instance.layout import Layout
from pykubelet.instance.local import AgentAway, is_agent_healthy
from pykubelet.instance.manifests import Manifests, read_manifests_in
from pykubelet.instance.podrows import PodRow
from pykubelet.instance.processes import boot_id
from pykubelet.instance.progress import Progress, Step
from pykubelet.instance.record import Record, SharedThings, read_record, write_record
from pykubelet.instance.running import (
    CONTAINERD,
    KUBELET,
    is_process_up,
    locked,
    node_name,
    pod_rows,
    pod_table,
)

POD_CHECK_SECONDS = 0.1
# A pod that the agent does not show by then is one that it refused, or two manifests of one name.
APPEAR_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Wait:
    """How the wait for the pods ended."""

    rows: list[PodRow]
    are_settled: bool


def up(args: Namespace) -> int:
    layout = Layout.of(args.root)
    static = str(Path(args.static).resolve()) if args.static else ""
    if static and not Path(static).is_dir():
        raise CommandError(f'cannot run the manifests in "{args.static}": because it is no directory')
    with locked(layout):
        return asyncio.run(_up(layout, static, args.timeout))


async def _up(layout: Layout, static: str, timeout: float) -> int:
    record = _usable_record(layout)
    if record is not None and is_all_up(record) and static in ("", record.static):
        print(f"The node in {layout.root} is up already.\n")
        print(pod_table(pod_rows(layout)), end="")
        return 0
    progress = Progress()
    facts = _check_host(layout, record, progress)
    record = record or _first_record(layout)
    static = static or record.static or str(layout.default_static)
    record = msgspec.structs.replace(record, static=static)
    _prepare_directories(layout, static)
    write_record(layout, record)
    record = await runtime_start.bring_up(layout, record, facts, progress)
    turn_manifests(layout, Path(static))
    record = agent_start.bring_up(layout, record, facts, progress)
    manifests = read_manifests_in(static, node_name())
    with progress.step(f"pods of {static}") as step:
        wait = _wait_for_pods(layout, manifests, timeout, step)
    _report(layout, record, wait, manifests)
    progress.say(f"\nUp in {progress.elapsed:.1f} s.")
    return 0 if wait.are_settled else 1


def is_all_up(record: Record) -> bool:
    """Whether every component that the record tells of runs and the agent answers."""
    runtime = is_process_up(record, CONTAINERD) or not record.is_private_runtime
    return runtime and is_process_up(record, KUBELET) and is_agent_healthy(record.healthz_port)


def _usable_record(layout: Layout) -> Record | None:
    """The record of this boot. After a reboot only the choices are kept: processes and mounts are gone."""
    record = read_record(layout)
    if record is None or record.boot_id == boot_id():
        return record
    runtime_start.forget_last_boot(layout)
    return msgspec.structs.replace(record, boot_id=boot_id(), components=(), before=_shared_things_now())


def _first_record(layout: Layout) -> Record:
    return Record(root=str(layout.root), boot_id=boot_id(), before=_shared_things_now())


def _shared_things_now() -> SharedThings:
    return SharedThings(cgroups=tuple(cgroupfs.parents()), tables=tuple(netfilter.tables()))


def _check_host(layout: Layout, record: Record | None, progress: Progress) -> HostFacts:
    """Say what was found; CommandError when a node cannot run here."""
    with progress.step("host") as step:
        component = record.component(KUBELET) if record is not None else None
        pid = component.pid if component is not None and is_process_up(record, KUBELET) else None
        facts = without_own(read_facts(layout), pid)
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


def _wait_for_pods(layout: Layout, manifests: Manifests, timeout: float, step: Step) -> Wait:
    """Until every pod is ready or fails in a way that lasts, or the time is over."""
    began = time.monotonic()
    while True:
        try:
            rows = pod_rows(layout)
        except AgentAway:
            rows = []
        waited = time.monotonic() - began
        missing = len(manifests.names) - len(rows)
        are_settled = all(row.is_settled for row in rows)
        if (are_settled and (missing <= 0 or waited > APPEAR_SECONDS)) or waited > timeout:
            step.note(summary(rows, manifests.count))
            return Wait(rows, are_settled and missing <= 0)
        waiting = ", ".join(f"{row.name} {row.status}" for row in rows if not row.is_settled)
        step.doing(f"pods: {waiting or 'waiting for manifests'}")
        time.sleep(POD_CHECK_SECONDS)


def summary(rows: list[PodRow], files: int) -> str:
    """ "3 of 4 pods ready (from 4 manifests)" (pure)."""
    ready = sum(row.is_ready for row in rows)
    return f"pods: {ready} of {len(rows)} ready (from {files} manifests)"


def _report(layout: Layout, record: Record, wait: Wait, manifests: Manifests) -> None:
    print("\n" + pod_table(wait.rows), end="")
    if not wait.are_settled:
        print("\nNot every pod is there yet: `pykubelet why POD` tells what each waits for;")
        print(f"the agent's log is {layout.log_of(KUBELET)}.")
    if manifests.problems:
        print(f"\n{len(manifests.problems)} of {manifests.count} manifests cannot be used:")
        for line in (line for lines in manifests.problems.values() for line in lines):
            print(f"  {line}")
    option = "" if layout.is_default else f" --root {layout.root}"
    first = next((row.name for row in wait.rows if row.is_ready), "POD")
    other = next((row.name for row in wait.rows if not row.is_ready), first)
    program = own_name()
    print("\nTry:")
    print(f"  {program} ps{option}")
    print(f"  {program} logs{option} {first} -f")
    print(f"  {program} why{option} {other}")
    print(f"\nManifests: {record.static} (edit, add or remove one and the node follows)")


def own_name() -> str:
    """How the user can call this command: by its name when PATH has it, else by its path."""
    beside = Path(sys.executable).with_name("pykubelet")
    if shutil.which("pykubelet") or not beside.exists():
        return "pykubelet"
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)
