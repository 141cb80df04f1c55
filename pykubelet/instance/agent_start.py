"""The agent of an instance: configured for this host, started in the background, waited for."""

from __future__ import annotations

import os
from pathlib import Path

from pykubelet.instance.agent import (
    RESOLVED_CONF,
    AgentNeeds,
    choose_resolv_conf,
    kubelet_arguments,
    kubelet_config,
)
from pykubelet.instance.facts import ANY_ADDRESS, LOOPBACK, HostFacts
from pykubelet.instance.layout import DEFAULT_HEALTHZ_PORT, DEFAULT_KUBELET_PORT, Layout
from pykubelet.instance.local import is_agent_healthy
from pykubelet.instance.network import CONFLIST_NAME
from pykubelet.instance.processes import is_running, program_beside, start_detached
from pykubelet.instance.progress import Progress
from pykubelet.instance.record import Book, Component, Record
from pykubelet.instance.running import KUBELET
from pykubelet.instance.starting import Start, choose_port

READY_SECONDS = 20.0


async def bring_up(book: Book, facts: HostFacts, progress: Progress) -> None:
    """An agent that answers; started only when none runs."""
    layout, component = book.layout, book.record.component(KUBELET)
    if component is not None and is_running(component):
        progress.say(f"          kubelet: runs already (pid {component.pid})")
        return
    with progress.step("kubelet") as step:
        component = start(book, facts)
        await _wait_healthy(layout, book.record, component)
        step.note(f"kubelet: pid {component.pid}{_ports(book.record)}")


def start(book: Book, facts: HostFacts) -> Component:
    """Write its configuration, and start the process."""
    layout, record = book.layout, book.record
    is_in_cluster = not record.is_standalone
    book.change(
        healthz_port=choose_port(layout, record.healthz_port, DEFAULT_HEALTHZ_PORT, LOOPBACK),
        kubelet_port=choose_port(layout, record.kubelet_port, DEFAULT_KUBELET_PORT, ANY_ADDRESS)
        if is_in_cluster
        else 0,
    )
    needs = AgentNeeds(
        runtime_endpoint=record.runtime_endpoint,
        healthz_port=book.record.healthz_port,
        is_cgroup2_unified=facts.is_cgroup2_unified,
        has_swap=bool(facts.swap),
        resolv_conf=_resolv_conf(),
        port=book.record.kubelet_port,
    )
    layout.kubelet_config.write_text(kubelet_config(layout, needs))
    own_conflist = str(layout.cni_conf / CONFLIST_NAME) if record.is_private_runtime else record.conflist
    arguments = kubelet_arguments(
        layout, is_in_cluster=is_in_cluster, conflist=own_conflist, cni_directory=facts.cni_directory
    )
    argv = [*program_beside("kubelet", "kubelet"), *arguments]
    component = start_detached(KUBELET, argv, layout.log_of(KUBELET), os.environ)
    book.started(component)
    return component


def _ports(record: Record) -> str:
    server = f", serves on port {record.kubelet_port}" if record.kubelet_port else ""
    return f"{server}, healthz on 127.0.0.1:{record.healthz_port}"


def _resolv_conf() -> str:
    try:
        text = Path("/etc/resolv.conf").read_text()
    except FileNotFoundError:
        text = ""
    return choose_resolv_conf(text, has_resolved=Path(RESOLVED_CONF).exists())


async def _wait_healthy(layout: Layout, record: Record, component: Component) -> None:
    coming = Start.now("the agent", component, layout.log_of(KUBELET), READY_SECONDS)
    while not (layout.kubelet_socket.is_socket() and is_agent_healthy(record.healthz_port)):
        await coming.look_again()
