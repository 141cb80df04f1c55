"""Scheduler and controllers in a process of their own, against any API server that the kubeconfig names.

Each waits for its lease; a part that loses it ends the process, which whoever started it starts again. The
controllers write as their own service accounts, whose tokens the kubeconfig's user asks for.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import NoReturn

from aio import log
from aio.clock import Clock, SystemClock
from aio.supervise import Ending, Stage, Supervisor
from controlplane import components
from controlplane.account_clients import account_clients
from controlplane.components import Controlled
from controlplane.flags import CONTROLLERS, SCHEDULER, Flags
from kube import kubeconfig
from kube.client.http import HttpClient
from kube.client.settings import Limits, Settings

_log = log.get(__name__)

STAGES = (Stage("clients", 1.5),)
# kube-controller-manager's and the scheduler's: 20 to 50 a second; these here share one.
LIMITS = Limits(qps=200.0, burst=400)


async def serve_apart(flags: Flags, stop: asyncio.Event) -> Ending:
    """Run the components of `flags` until `stop`. BadSettings for a kubeconfig that cannot be used."""
    clock = SystemClock()
    settings = kubeconfig.load(Path(flags.kubeconfig), user_agent="kube-controlplane")
    supervisor = Supervisor(STAGES)
    clients: list[HttpClient] = []

    def client() -> HttpClient:
        clients.append(HttpClient(settings, limits=LIMITS, clock=clock))
        return clients[-1]

    try:
        if SCHEDULER in flags.components:
            loop = components.scheduler(client(), clock)
            # Who renews a lease must not wait behind others.
            held = components.elected(loop, client(), clock, components.SCHEDULER_LEASE)
            supervisor.add("scheduler", held, stage="clients")
        if CONTROLLERS in flags.components:
            loop = partial(_control, client(), settings, clock, flags)
            held = components.elected(loop, client(), clock, components.CONTROLLERS_LEASE)
            supervisor.add("controllers", held, stage="clients")
        _log.info("Running apart", components=",".join(flags.components), server=settings.server)
        return await supervisor.run(stop)
    finally:
        for each in clients:
            await each.close()


async def _control(client: HttpClient, settings: Settings, clock: Clock, flags: Flags) -> NoReturn:
    """All controllers, for ever, from when there are tokens for them."""
    make = partial(HttpClient, limits=LIMITS, clock=clock)
    async with account_clients(client, settings, make, clock) as accounts, asyncio.TaskGroup() as group:
        await accounts.begin(components.accounts(clock))
        group.create_task(accounts.keep())
        controlled = Controlled(settings.ca.read().decode(), flags.cluster_cidr, accounts.client_as)
        await components.controllers(client, clock, controlled)()
    raise AssertionError("a loop for ever has ended")
