"""The agent, wired up: adapters, then what decides, then a list of named loops.

This is the one file that knows everybody. What is stopped first is listed first in STAGES:
sources and servers, then the workers, then what writes down what they did, then the runtime.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from aio.clock import SystemClock
from aio.executors import Executors
from aio.supervise import Ending, Stage, Supervisor
from cri.event_sources import make_event_source
from cri.events import ENDINGS
from cri.wire import Runtime
from kubelet import events, marks
from kubelet.admission import Room
from kubelet.checkpoint import DIRECTORY, CheckpointFiles
from kubelet.cluster import AgentParts, Host, Member, connect
from kubelet.configuration import KubeletConfiguration
from kubelet.configuration.codec import encode
from kubelet.desired import DesiredPods
from kubelet.draft import Policy
from kubelet.events_api.writer import EventWriter, TeeEvents
from kubelet.execute import ActionExecutor
from kubelet.files import LogFiles
from kubelet.flags import Flags
from kubelet.hook_http import http_get
from kubelet.hooks import HookRunner
from kubelet.housekeeping import Housekeeping
from kubelet.images.model import PullLimits
from kubelet.images.puller import ImagePuller
from kubelet.messages import TerminationMessages
from kubelet.node.facts import CGROUP_V1_MESSAGE, read_node
from kubelet.node.pod_range import PodRange
from kubelet.node.process import freeze_garbage_collector
from kubelet.objects.joining import make_inputs
from kubelet.objects.pod_inputs import NoPodInputs
from kubelet.observe import Observer
from kubelet.record import PodRecord
from kubelet.runtime_loops import RuntimeLoops
from kubelet.server.healthz import healthz_routes
from kubelet.server.http import Router
from kubelet.server.metrics import NodeMetrics, count_calls
from kubelet.server.plain import PlainServer, serve_tcp, serve_unix
from kubelet.server.served_pods import WorkersPods
from kubelet.server.view import drain_action, view_routes
from kubelet.source_set import make_sources, source_names
from kubelet.sources.merge import expecting
from kubelet.status.inputs import NodeFacts as StatusNode
from kubelet.view import PodView
from kubelet.volumes.mounting import LinuxMounter, make_shared
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import PodVolumes
from kubelet.worker import WorkerParts
from kubelet.workers import Workers
from probes.worker import Prober

ALWAYS_ALLOW = "AlwaysAllow"

STAGES = (Stage("sources", 2.0), Stage("workers", 5.0), Stage("records", 3.0), Stage("runtime", 2.0))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the agent was asked to be."""

    flags: Flags
    config: KubeletConfiguration


async def run_agent(settings: Settings, runtime: Runtime, stop: asyncio.Event) -> Ending:
    """Run until `stop` is set or a loop ends. Raises OSError when a socket cannot be had."""
    flags, config = settings.flags, settings.config
    clock, executors = SystemClock(), Executors()
    facts = replace(read_node(flags, config), recursive_read_only=await _mounts_read_only_below(runtime))
    clients = connect(flags, config, clock)
    ring = events.RingEvents(clock)
    writer = EventWriter(clients.events, clock, facts.node_name) if clients is not None else None
    sink = TeeEvents(ring, writer) if writer is not None else ring
    metrics = NodeMetrics(facts.node_name, clock.wall())
    runtime = replace(runtime, runtime=count_calls(runtime.runtime, metrics))
    mounter = LinuxMounter()

    # Adapters.
    inputs = make_inputs(clients.api, clock, sink) if clients is not None else None
    volumes = PodVolumes(
        builtin_plugins(mounter, lambda: facts), mounter, executors, lambda: facts, inputs=inputs
    )
    observer = Observer(runtime.runtime, clock, TerminationMessages(executors).read)
    limits = PullLimits(
        parallel=1 if config.serialize_image_pulls else config.max_parallel_image_pulls,
        per_second=config.registry_pull_qps,
        burst=config.registry_burst,
    )
    images = ImagePuller(runtime.images, clock, sink, limits)
    checkpoints = CheckpointFiles(Path(facts.root_dir) / DIRECTORY)

    # What is written down, and what decides. The prober tells the workers through the record.
    status_node = StatusNode(facts.node_ips, runtime.version.runtime_name)
    record = PodRecord(clock, executors, checkpoints, sink, lambda: status_node)
    executor = ActionExecutor(
        runtime.runtime, observer, images, volumes, LogFiles(lambda: facts),
        HookRunner(runtime.runtime.exec_sync, http_get, clock, record.hook_fell_back),
        inputs or NoPodInputs(), lambda: facts, clock, executors, record.forget, sink,
        partial(make_shared, mounter, facts.root_dir),
    )  # fmt: skip
    if writer is not None:
        writer.is_crowded = executor.is_crowded
    policy = Policy(config.crash_loop_back_off.max_container_restart_period)
    parts = WorkerParts(clock, executor, record, policy, marks.from_environment(os.environ))
    room = Room(facts.allocatable, tuple(config.allowed_unsafe_sysctls))
    workers = Workers(parts, observer, record, room)
    record.bind(workers.get, Prober(clock, runtime.runtime.exec_sync, record.take_probe))
    source = make_event_source(runtime, clock, ENDINGS)
    loops = RuntimeLoops(runtime.runtime, source, workers, clock, flags.relist_period)
    names = source_names(config, with_api=clients is not None)
    desired = DesiredPods(workers, sink, clock, expecting(names))
    view = PodView(workers, record, ring, record.prober)

    # Take stock before anything is heard of: events and sources then build on it.
    await workers.find(await executors.run("fsync", checkpoints.read_all), await volumes.on_disk())
    servers = await _serve(settings, view, loops, desired.drain)

    supervisor = Supervisor(STAGES)
    host = Host(flags, config, facts, runtime, clock, executors)
    if clients is not None and inputs is not None and writer is not None:
        agent = AgentParts(workers, record, volumes, desired, loops, inputs, sink)
        member = Member(clients, host, agent, writer)
        member.add_to(supervisor)
        images.changed = member.node.images_changed
    elif config.pod_cidr:
        ranges = PodRange(runtime.runtime, clock)
        ranges.set((config.pod_cidr,))
        supervisor.add("pod range", ranges.run, stage="records")
    if wants_node_server(config, is_alone=clients is None):
        # Imported here: TLS and certificates cost an agent without a cluster 9 MiB for nothing.
        from kubelet.server.making import make_node_server

        pods = WorkersPods(workers, record, view)
        node_server = make_node_server(host, clients.api if clients else None, pods, metrics, loops.health)
        await node_server.start()
        record.shown = node_server.pod_changed
        supervisor.add_stop("close the node's server", node_server.stop, stage="runtime")
    sources = make_sources(config, facts.node_name, executors, desired.deliver, desired.report)
    for name, loop in sources.items():
        supervisor.add(f"source {name}", loop, stage="sources")
    if not names:
        desired.settle()  # nothing will ever be delivered
    keeping = Housekeeping(
        runtime.runtime, runtime.images, clock, executors, sink, view, images.changed
    )  # fmt: skip
    for name, loop in (await keeping.loops(config, facts)).items():
        supervisor.add(name, loop, stage="sources")
    supervisor.add("workers", workers.run, stage="workers")
    supervisor.add_stop("stop workers", workers.close, stage="workers")
    supervisor.add("probes", record.prober.run, stage="workers")
    supervisor.add("statuses", record.run_statuses, stage="records")
    supervisor.add("checkpoints", record.run_checkpoints, stage="records")
    supervisor.add_stop("last checkpoints", record.close, stage="records")
    supervisor.add("runtime events", loops.run_events, stage="runtime")
    supervisor.add("relist", loops.run_relist, stage="runtime")
    supervisor.add("runtime status", loops.run_status, stage="runtime")
    for server in servers:
        supervisor.add_stop(f"close {server.name}", server.close, stage="runtime")
    supervisor.add_stop("close images", images.close, stage="runtime")
    supervisor.add_stop("close runtime", runtime.close, stage="runtime")
    if not facts.cgroup_v2:
        sink.record(events.cgroup_v1(events.node_ref(facts.node_name), CGROUP_V1_MESSAGE))
    freeze_garbage_collector()
    return await supervisor.run(stop)


async def _mounts_read_only_below(runtime: Runtime) -> bool:
    """Whether the default handler can make a read-only mount read-only all the way down (KEP-3857)."""
    handlers = (await runtime.runtime.status()).runtime_handlers
    features = next((one.features for one in handlers if not one.name), None)
    return features is not None and features.recursive_read_only_mounts


def wants_node_server(config: KubeletConfiguration, *, is_alone: bool) -> bool:
    """Without a cluster only where the configuration lets the server decide by itself: there is nobody to ask
    who a token is, or who may do what."""
    asks = config.authentication.webhook.enabled or config.authorization.mode != ALWAYS_ALLOW
    return config.enable_server and not (is_alone and asks)


async def _serve(
    settings: Settings, view: PodView, loops: RuntimeLoops, drain: Callable[[], None]
) -> list[PlainServer]:
    """healthz on loopback, and the view on a socket of root's own."""
    flags, config = settings.flags, settings.config
    servers = []
    if config.healthz_port:
        checks = {"ping": lambda: None, "log": lambda: None, "syncloop": loops.health}
        router = Router(healthz_routes(checks))
        servers.append(await serve_tcp("healthz", config.healthz_bind_address, config.healthz_port, router))
    local = Router(view_routes(view, lambda: encode(config)), drain_action(drain))
    servers.append(await serve_unix("local", flags.socket_path(), local))
    return servers
