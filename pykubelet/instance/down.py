"""`pykubelet down`: the pods end in order, then the agent, the runtime, and everything they held.

Order: the control plane first, so that nobody makes other pods in place of these, or notes their end: to the
cluster it is as if the machine had been switched off, and after the next `up` the same pods run again. Then
the agent ends every pod in its own way, with hooks and grace periods; what it did not get done, or all of it
when it does not run, is removed straight over CRI; then the processes; then, by force, whatever is left. At
the end the host is looked at again, and anything still there is named.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from cri.enums import ContainerState
from cri.errors import CriError, NotFound
from cri.types import Container, PodSandbox
from cri.wire import Runtime, connect
from pykubelet.errors import CommandError
from pykubelet.instance import footprint, local
from pykubelet.instance.footprint import Bundles
from pykubelet.instance.layout import Layout
from pykubelet.instance.processes import is_running, stop_process
from pykubelet.instance.progress import Progress, Step
from pykubelet.instance.record import Record, SharedThings, read_record, remove_record
from pykubelet.instance.running import CONTAINERD, CONTROLPLANE, KUBELET, is_answering, is_process_up, locked
from pykubelet.instance.up import turn_manifests

POD_CHECK_SECONDS = 0.1
AGENT_PATIENCE_SECONDS = 15.0
RUNTIME_PATIENCE_SECONDS = 10.0
CONTROLPLANE_PATIENCE_SECONDS = 10.0
DEFAULT_GRACE_SECONDS = 30  # PodSpec terminationGracePeriodSeconds
GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"


def down(args: Namespace) -> int:
    layout = Layout.of(args.root)
    if not layout.root.exists() and not footprint.leftovers(layout, ()):
        print(f"The node in {layout.root} is down already.")
        return 0
    with locked(layout):
        record = read_record(layout)
        progress = Progress()
        if record is None and not footprint.leftovers(layout, ()):
            if args.purge:
                footprint.remove_path(layout.root)
            removed = "; its data is removed" if args.purge else ""
            progress.say(f"The node in {layout.root} is down already{removed}.")
            return 0
        return _down(layout, record, args, progress)


def _down(layout: Layout, record: Record | None, args: Namespace, progress: Progress) -> int:
    bundles = Bundles()
    bundles.note(layout)
    if record is not None:
        _stop(record, CONTROLPLANE, CONTROLPLANE_PATIENCE_SECONDS, progress)
    if record is not None and is_process_up(record, KUBELET) and is_answering(record.runtime_endpoint):
        with progress.step("pods") as step:
            _drain(layout, args.timeout, step)
        bundles.note(layout)
    if record is not None:
        _stop(record, KUBELET, AGENT_PATIENCE_SECONDS, progress)
        with progress.step("containers") as step:
            step.note(asyncio.run(_remove_pods(layout, record, args.timeout)))
        _stop(record, CONTAINERD, RUNTIME_PATIENCE_SECONDS, progress)
        if record.conflist:
            Path(record.conflist).unlink(missing_ok=True)
    with progress.step("processes, mounts, links, rules, cgroups and sockets: removed"):
        footprint.sweep(layout, bundles)
        footprint.return_shared(record.before if record is not None else SharedThings())
        left = footprint.leftovers(layout, bundles.ids)
    if left:
        raise CommandError(
            "cannot leave the host as it was: because these are still there:\n  " + "\n  ".join(left)
        )
    remove_record(layout)
    _finish(layout, progress, purge=args.purge)
    return 0


def _finish(layout: Layout, progress: Progress, *, purge: bool) -> None:
    if purge:
        footprint.remove_path(layout.root)
        progress.say(f"\nDown in {progress.elapsed:.1f} s; nothing is left, {layout.root} is removed.")
    else:
        progress.say(
            f"\nDown in {progress.elapsed:.1f} s; nothing runs. The cluster's objects, images and logs stay "
            f"in {layout.root} (--purge removes them)."
        )


def _drain(layout: Layout, timeout: float, step: Step) -> None:
    """Let the agent stop every pod in its own way, whatever its sources say."""
    turn_manifests(layout, layout.no_manifests)
    deadline = time.monotonic() + timeout
    try:
        local.get_json(layout.kubelet_socket, "/drain", method="POST")
    except CommandError as error:
        step.note(f"pods: left to the runtime ({error})")
        return
    while True:
        try:
            pods = local.get_json(layout.kubelet_socket, "/debug/pods")["pods"]
        except local.AgentAway as error:
            step.note(f"pods: left to the runtime ({error})")
            return
        if not pods:
            step.note("pods: stopped")
            return
        if time.monotonic() > deadline:
            names = ", ".join(pod["name"] or pod["uid"] for pod in pods)
            step.note(f"pods: {names} did not stop in {timeout:g} s, and are now removed")
            return
        step.doing("pods: waiting for " + ", ".join(pod["name"] or pod["uid"] for pod in pods))
        time.sleep(POD_CHECK_SECONDS)


def _stop(record: Record, name: str, patience: float, progress: Progress) -> None:
    component = record.component(name)
    if component is None or not is_running(component):
        return
    with progress.step(name) as step:
        step.note(f"{name}: {stop_process(component, patience)}")


async def _remove_pods(layout: Layout, record: Record, timeout: float) -> str:
    """Stop and remove what the runtime still has of this instance; says what it did.

    A private runtime's pods are all ours. In the host's own only those whose directory is ours are.
    """
    try:
        runtime = await connect(record.runtime_endpoint)
    except (CriError, ValueError):
        return "containers: the runtime does not answer"
    try:
        boxes = await runtime.runtime.list_pod_sandboxes()
        if not record.is_private_runtime:
            ours = _pod_uids(layout)
            boxes = [box for box in boxes if box.metadata.uid in ours]
        containers = await runtime.runtime.list_containers()
        results = await asyncio.gather(
            *(_remove_pod(runtime, box, containers, timeout) for box in boxes), return_exceptions=True
        )
    except CriError as error:
        if not record.is_private_runtime:
            raise CommandError(f"cannot remove the pods: {error}") from error
        return f"containers: removed by force ({error})"
    finally:
        await runtime.close()
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures:
        if not isinstance(failure, CriError):
            raise failure
    if failures and not record.is_private_runtime:
        # Nothing of the host's runtime is taken by force.
        raise CommandError(f"cannot remove every pod: {failures[0]}")
    if failures:
        return f"containers: {len(failures)} of {len(boxes)} pods are removed by force ({failures[0]})"
    return f"containers: {len(boxes)} pods removed from the runtime" if boxes else "containers: none left"


def _pod_uids(layout: Layout) -> set[str]:
    pods = layout.kubelet / "pods"
    return {path.name for path in pods.iterdir()} if pods.is_dir() else set()


async def _remove_pod(
    runtime: Runtime, box: PodSandbox, containers: Sequence[Container], timeout: float
) -> None:
    running = [
        one
        for one in containers
        if one.pod_sandbox_id == box.id and one.state == ContainerState.CONTAINER_RUNNING
    ]
    await asyncio.gather(
        *(_stop_container(runtime, one, min(grace_of(one), int(timeout))) for one in running)
    )
    try:
        await runtime.runtime.stop_pod_sandbox(box.id)
        await runtime.runtime.remove_pod_sandbox(box.id)
    except NotFound:
        return


async def _stop_container(runtime: Runtime, container: Container, grace_seconds: int) -> None:
    try:
        await runtime.runtime.stop_container(container.id, grace_seconds)
    except NotFound:
        return


def grace_of(container: Container) -> int:
    """Seconds between SIGTERM and SIGKILL, as the agent wrote them on the container (pure)."""
    text = container.annotations.get(GRACE_ANNOTATION, "")
    return int(text) if text.isdigit() else DEFAULT_GRACE_SECONDS
