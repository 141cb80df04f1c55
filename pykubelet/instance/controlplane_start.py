"""The control plane of an instance: its credentials, its process in the background, the wait until it serves.

While the process starts, certificates and kubeconfigs are made beside it; the agent need wait only for those.
"""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aio.errors import Rejected
from kube import kubeconfig, pki
from kube.client.settings import BadSettings
from pykubelet.errors import CommandError
from pykubelet.instance.api import Api
from pykubelet.instance.controlplane import (
    LOOPBACK,
    ServerNeeds,
    controlplane_arguments,
    first_service_address,
    gateway_of,
    server_url,
)
from pykubelet.instance.facts import ANY_ADDRESS
from pykubelet.instance.layout import DEFAULT_API_PORT
from pykubelet.instance.processes import is_running, program_beside, start_detached
from pykubelet.instance.progress import Progress
from pykubelet.instance.record import Book, Component
from pykubelet.instance.running import CONTROLPLANE, node_name
from pykubelet.instance.starting import Start, choose_port

READY_SECONDS = 30.0
RENEW_BEFORE = timedelta(days=60)
_NOWHERE = ("192.0.2.1", 9)  # RFC 5737: nobody has it; connecting a datagram socket sends nothing


async def bring_up(book: Book, progress: Progress, are_credentials_there: asyncio.Event) -> None:
    """A control plane that is ready; `are_credentials_there` is set as soon as kubeconfigs are written."""
    component = book.record.component(CONTROLPLANE)
    if component is not None and is_running(component):
        progress.say(f"          kube-controlplane: runs already (pid {component.pid})")
        are_credentials_there.set()
        return
    with progress.step("kube-controlplane") as step:
        component = start(book)
        with progress.step("credentials"):
            await asyncio.to_thread(write_credentials, book, datetime.now(UTC))
        are_credentials_there.set()
        await _wait_ready(book, component)
        step.note(f"kube-controlplane: pid {component.pid}, port {book.record.api_port}")


def start(book: Book) -> Component:
    """Start the process. The pod range must be chosen."""
    layout, record = book.layout, book.record
    port = choose_port(layout, record.api_port, DEFAULT_API_PORT, ANY_ADDRESS)
    address = host_address() or gateway_of(record.subnet)
    book.change(api_port=port, advertise_address=address)
    layout.controlplane.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.api_address.unlink(missing_ok=True)
    needs = ServerNeeds(port, address, record.subnet)
    argv = [*program_beside("kube-controlplane", "controlplane"), *controlplane_arguments(layout, needs)]
    component = start_detached(CONTROLPLANE, argv, layout.log_of(CONTROLPLANE), os.environ)
    book.started(component)
    return component


def write_credentials(book: Book, now: datetime) -> None:
    """Certificates and kubeconfigs that are missing or no longer fit. Blocks for some 0.1 s at the first
    time. CommandError for an authority that cannot be used."""
    # Imported here: `down` and `status` need nothing of it.
    from controlplane import credentials

    layout, record = book.layout, book.record
    # As the process itself names them: else one would make anew what the other made.
    hosts = [record.advertise_address, socket.gethostname()]
    try:
        made = credentials.keep_pki(layout.pki, hosts=hosts, service_ip=first_service_address(), now=now)
        url = server_url(record.api_port)
        if not _is_current(layout.admin_kubeconfig, url, made.ca.certificate, now):
            credentials.write_admin_kubeconfig(made, layout.admin_kubeconfig, url, now)
        if not _is_current(layout.kubelet_kubeconfig, url, made.ca.certificate, now):
            credentials.write_node_kubeconfig(made, layout.kubelet_kubeconfig, node_name(), url, now)
        layout.kubelet_pki.mkdir(mode=0o700, parents=True, exist_ok=True)
        credentials.keep_node_serving(
            made, layout.kubelet_pki, node_name(), [LOOPBACK, "localhost", record.advertise_address], now
        )
    except (Rejected, OSError) as error:
        raise CommandError(f"cannot make the cluster's credentials: because {error}") from error


def _is_current(file: Path, url: str, ca: bytes, now: datetime) -> bool:
    """Whether a kubeconfig can stay as it is, with what its owner may have changed in it."""
    if not file.exists():
        return False
    try:
        found = kubeconfig.load(file)
        facts = pki.read_certificate(found.certificate.read())
        return found.server == url and found.ca.read() == ca and facts.not_after - RENEW_BEFORE > now
    except (BadSettings, pki.BadCertificate):
        return False


async def _wait_ready(book: Book, component: Component) -> None:
    """Until /readyz says ok. CommandError with the end of the log when it ended or takes too long."""
    layout = book.layout
    coming = Start.now("the control plane", component, layout.log_of(CONTROLPLANE), READY_SECONDS)
    while not layout.api_address.exists():
        await coming.look_again()
    with Api(layout.admin_kubeconfig) as api:
        while not await asyncio.to_thread(api.is_ready):
            await coming.look_again()


def host_address() -> str:
    """This host's address on the way to everywhere; "" for a host with no such way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
