"""The agent of an instance: configured for this host, started in the background, waited for."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from pykubelet.errors import CommandError
from pykubelet.instance.agent import (
    RESOLVED_CONF,
    AgentNeeds,
    choose_resolv_conf,
    kubelet_arguments,
    kubelet_config,
)
from pykubelet.instance.facts import HostFacts, free_port, is_port_taken
from pykubelet.instance.layout import DEFAULT_HEALTHZ_PORT, Layout
from pykubelet.instance.local import is_agent_healthy
from pykubelet.instance.processes import is_running, start_detached
from pykubelet.instance.progress import Progress
from pykubelet.instance.record import Component, Record, write_record
from pykubelet.instance.running import KUBELET
from pykubelet.instance.runtime_start import log_tail

READY_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.02


def bring_up(layout: Layout, record: Record, facts: HostFacts, progress: Progress) -> Record:
    """An agent that answers; started only when none runs."""
    component = record.component(KUBELET)
    if component is not None and is_running(component):
        progress.say(f"          kubelet: runs already (pid {component.pid})")
        return record
    with progress.step("kubelet") as step:
        record = msgspec.structs.replace(record, healthz_port=_choose_port(layout, record))
        needs = AgentNeeds(
            runtime_endpoint=record.runtime_endpoint,
            healthz_port=record.healthz_port,
            is_cgroup2_unified=facts.is_cgroup2_unified,
            has_swap=bool(facts.swap),
            resolv_conf=_resolv_conf(),
        )
        layout.kubelet_config.write_text(kubelet_config(layout, needs))
        argv = [*_program(), *kubelet_arguments(layout)]
        component = start_detached(KUBELET, argv, layout.log_of(KUBELET), os.environ)
        record = record.with_component(component)
        write_record(layout, record)
        layout.pid_file(KUBELET).write_text(f"{component.pid}\n")
        _wait_healthy(layout, record, component)
        step.note(f"kubelet: pid {component.pid}, healthz on 127.0.0.1:{record.healthz_port}")
    return record


def _choose_port(layout: Layout, record: Record) -> int:
    """The one used before, the usual one for the usual instance, else any that is free."""
    wanted = record.healthz_port or (DEFAULT_HEALTHZ_PORT if layout.is_default else 0)
    return wanted if wanted and not is_port_taken(wanted) else free_port()


def _resolv_conf() -> str:
    try:
        text = Path("/etc/resolv.conf").read_text()
    except FileNotFoundError:
        text = ""
    return choose_resolv_conf(text, has_resolved=Path(RESOLVED_CONF).exists())


def _program() -> list[str]:
    """The `kubelet` installed beside this command, by the same interpreter."""
    beside = Path(sys.executable).with_name("kubelet")
    return [sys.executable, str(beside)] if beside.exists() else [sys.executable, "-m", "kubelet"]


def _wait_healthy(layout: Layout, record: Record, component: Component) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not (layout.kubelet_socket.is_socket() and is_agent_healthy(record.healthz_port)):
        is_alive = is_running(component)
        if not is_alive or time.monotonic() > deadline:
            how = f"does not answer in {READY_SECONDS:g} s" if is_alive else "ended"
            raise CommandError(
                f"cannot start the agent: because it {how}; the end of its log:\n"
                + log_tail(layout.log_of(KUBELET))
            )
        time.sleep(LOOK_AGAIN_SECONDS)
