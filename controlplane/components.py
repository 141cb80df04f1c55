"""Scheduler and controllers, ready to run against an API server that they know only as a `Client`.

In the API server's process they use its direct clients, each controller as its own service account; apart
they share one client over HTTPS, and of several processes only the one with the lease works.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from aio.clock import Clock
from controlplane.api.model import UserInfo
from controlplane.authn import identity
from controlplane.credentials import CONTROLLER_MANAGER
from kube.client import Client
from kube.client import resources as r

if TYPE_CHECKING:
    from controlplane.controllers.base import Controller

SCHEDULER_LEASE = "kube-scheduler"
CONTROLLERS_LEASE = "kube-controller-manager"
# Controllers whose service account upstream has named otherwise (NewControllerInitializers).
_ACCOUNTS = {
    "garbage-collector-controller": "generic-garbage-collector",
    "node-ipam-controller": "node-controller",
    "node-lifecycle-controller": "node-controller",
    "pod-garbage-collector-controller": "pod-garbage-collector",
    "root-ca-certificate-publisher-controller": "root-ca-cert-publisher",
    "serviceaccount-controller": "service-account-controller",
}

# Upstream's acts as the controller manager itself.
_TOKENS = "legacy-service-account-token-controller"

Loop = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Controlled:
    """What controllers are told of the cluster; `ca` is PEM."""

    ca: str
    cluster_cidr: str
    client_as: Callable[[UserInfo], Client] | None = None
    """Gives each controller a client of its own; without it all use the common one."""


def scheduler(client: Client, clock: Clock) -> Loop:
    """The scheduler's loop."""
    from controlplane.scheduler.loop import Scheduler

    return Scheduler(client, clock=clock).run


def controllers(client: Client, clock: Clock, controlled: Controlled) -> Loop:
    """All controllers as one loop: they share their local copies of the cluster."""
    from controlplane.controllers.runner import Runner

    made = make_controllers(clock, controlled)
    client_as = controlled.client_as
    clients = {item.name: client_as(account_of(item.name)) for item in made} if client_as else {}
    return Runner(client, made, clock=clock, clients=clients).run


def make_controllers(clock: Clock, controlled: Controlled) -> list[Controller]:
    """One of each. Kinds that the server does not have are left out of those that look after all kinds."""
    from controlplane.api.registry import standard
    from controlplane.controllers.account_tokens import AccountTokens
    from controlplane.controllers.clusterrole_aggregation import ClusterRoleAggregation
    from controlplane.controllers.deployment import DeploymentController
    from controlplane.controllers.endpoints import EndpointsController
    from controlplane.controllers.endpointslice import EndpointSliceController
    from controlplane.controllers.garbage import KINDS, GarbageCollector
    from controlplane.controllers.namespace import NAMESPACED, NamespaceController
    from controlplane.controllers.namespace_content import RootCaPublisher, ServiceAccountController
    from controlplane.controllers.node_ipam import NodeIpamController
    from controlplane.controllers.node_lifecycle import NodeLifecycleController
    from controlplane.controllers.pod_collector import PodCollector
    from controlplane.controllers.replicaset import ReplicaSetController

    served = {kind.resource for kind in standard() if "watch" in kind.verbs}
    return [
        DeploymentController(clock),
        ReplicaSetController(clock),
        ReplicaSetController(clock, r.REPLICATION_CONTROLLERS),
        EndpointSliceController(),
        EndpointsController(),
        NamespaceController(clock, [kind for kind in NAMESPACED if kind in served]),
        ServiceAccountController(),
        RootCaPublisher(controlled.ca),
        AccountTokens(controlled.ca),
        GarbageCollector([kind for kind in KINDS if kind in served]),
        NodeIpamController(controlled.cluster_cidr),
        NodeLifecycleController(clock),
        PodCollector(clock),
        ClusterRoleAggregation(),
    ]


def accounts(clock: Clock) -> list[UserInfo]:
    """The users as which the controllers write."""
    return [account_of(item.name) for item in make_controllers(clock, Controlled("", "10.244.0.0/16"))]


def account_of(controller: str) -> UserInfo:
    """The user as which a controller writes: a service account of kube-system, but for one."""
    if controller == _TOKENS:
        return system_user(CONTROLLER_MANAGER)
    return service_account(_ACCOUNTS.get(controller, controller))


def service_account(name: str) -> UserInfo:
    namespace = "kube-system"
    groups = identity.service_account_groups(namespace)
    user = UserInfo(identity.service_account_name(namespace, name), groups=groups)
    return identity.authenticated(user)


def system_user(name: str) -> UserInfo:
    """`system:kube-scheduler` or `system:kube-controller-manager`."""
    return identity.authenticated(UserInfo(name))


def elected(loop: Loop, client: Client, clock: Clock, lease: str) -> Loop:
    """The loop of the one process that holds `lease`; ends (LeadershipLost) when it is lost."""
    from kube.leader import Elector

    identity_ = f"{socket.gethostname()}_{uuid.uuid4()}"
    elector = Elector(client, identity_, clock=clock, name=lease)

    async def run() -> NoReturn:
        await elector.run(loop)
        raise AssertionError("a loop for ever has ended")

    return run
