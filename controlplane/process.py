"""The wire-up of kube-controlplane: the only file here that knows everyone.

Order matters: certificates and store, then the API server over them, then its socket, then what a cluster
starts with, then the parts that are its clients. Stopping goes the other way: clients, socket, server, store.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

from aio import log
from aio.clock import Clock, SystemClock
from aio.errors import cannot
from aio.supervise import Ending, Stage, Supervisor
from controlplane import collection, components
from controlplane.access import Credentials, Gate, keep_credentials
from controlplane.api.http import HttpServer
from controlplane.api.model import UserInfo
from controlplane.api.server import ApiServer
from controlplane.bootstrap.plan import Cluster
from controlplane.bootstrap.write import keep_reachable, write_bootstrap
from controlplane.components import Controlled
from controlplane.credentials import CONTROLLER_MANAGER
from controlplane.credentials import SCHEDULER as SCHEDULER_USER
from controlplane.direct import DirectClient
from controlplane.flags import CONTROLLERS, SCHEDULER, Flags
from controlplane.place import Place, joined, place_of
from controlplane.renewal import keep_renewed
from controlplane.store.sqlite import open_store
from kube.files import write_atomically
from kube.http_server.tls import server_context

_log = log.get(__name__)

STORE_NAME = "state.db"
STAGES = (Stage("clients", 0.8), Stage("server", 0.2))


async def serve(flags: Flags, stop: asyncio.Event) -> Ending:
    """Run the API server, and with it the components that are asked for, until `stop`. Raises what it cannot
    start with: OSError, StoreError, BadCertificate, BadTokenFile."""
    collection.tune()
    clock, place = SystemClock(), place_of(flags)
    bootstrapped = asyncio.Event()
    async with AsyncExitStack() as stack:
        flags.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

        async def keep(now: datetime) -> Credentials:
            return await asyncio.to_thread(keep_credentials, flags, place, now)

        making = asyncio.create_task(keep(clock.now()))

        async def made() -> None:
            # Of two failures the store's is told, and this one is not left for nobody.
            await asyncio.gather(making, return_exceptions=True)

        stack.push_async_callback(made)
        store = await open_store(flags.data_dir / STORE_NAME, clock=clock)
        stack.push_async_callback(store.close)
        credentials = await making
        gate = Gate(credentials, flags.service_cluster_ip_range, clock)
        checks = {
            "store": store.trouble,
            "poststarthook/bootstrap": lambda: "" if bootstrapped.is_set() else "not finished",
        }
        server = ApiServer(store, clock, gate.access(checks))
        await server.start()
        stack.push_async_callback(server.stop)
        gate.attach(server.cache)
        pair = credentials.pki.serving
        tls = server_context(pair.certificate, pair.key, client_ca=credentials.ca)
        http = await _listen(server, flags, tls)
        stack.push_async_callback(http.stop)
        port = http.address[1]
        gate.url = f"https://{joined(place.advertised, port)}"
        ca = credentials.ca.decode()
        cluster = Cluster(flags.service_cluster_ip_range, (place.advertised,), port, ca)
        written = (store, server.cache, server.registry, cluster, clock)
        await write_bootstrap(*written)
        bootstrapped.set()
        # Who waits for the server goes on while the parts are loaded.
        _announce(flags, place, port)
        supervisor = Supervisor(STAGES)
        supervisor.add("watch cache", server.ended, stage="server")
        supervisor.add("kubernetes service", lambda: keep_reachable(*written), stage="server")
        supervisor.add("certificates", lambda: keep_renewed(keep, tls, clock), stage="server")
        _add_clients(supervisor, server, flags, ca, clock)
        collection.settle()
        return await supervisor.run(stop)


async def _listen(server: ApiServer, flags: Flags, tls: ssl.SSLContext) -> HttpServer:
    http = HttpServer(server.pipeline, flags.bind_address, flags.secure_port, tls=tls)
    try:
        await http.start()
    except OSError as error:
        where = f"listen on {joined(flags.bind_address, flags.secure_port)}"
        raise OSError(error.errno, cannot(where, f"because {error.strerror or error}")) from error
    return http


def _add_clients(supervisor: Supervisor, server: ApiServer, flags: Flags, ca: str, clock: Clock) -> None:
    """Each part asks the server as the user that it is on any cluster."""

    def client_as(user: UserInfo) -> DirectClient:
        return DirectClient(server.pipeline_as(user).handle)

    if SCHEDULER in flags.components:
        client = client_as(components.system_user(SCHEDULER_USER))
        supervisor.add("scheduler", components.scheduler(client, clock), stage="clients")
    if CONTROLLERS in flags.components:
        client = client_as(components.system_user(CONTROLLER_MANAGER))
        controlled = Controlled(ca, flags.cluster_cidr, client_as)
        supervisor.add("controllers", components.controllers(client, clock, controlled), stage="clients")


def _announce(flags: Flags, place: Place, port: int) -> None:
    if flags.address_file:
        told = f"{joined(place.advertised, port)}\n".encode()
        write_atomically(Path(flags.address_file), told, mode=0o644)
    _log.info("Serving", address=f"{flags.bind_address}:{port}", advertised=place.advertised)
