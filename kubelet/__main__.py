"""`kubelet`: flags and files to a configuration, the host checked, the runtime found, the agent run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kubelet.flags import Flags, main_flags

if TYPE_CHECKING:
    from cri.wire import Runtime
    from kubelet.configuration import KubeletConfiguration

RUNTIME_RETRY_SECONDS = 1.0


def main() -> None:
    """The console script. Exits 0 after an orderly stop, 1 with one clear last line otherwise."""
    flags = main_flags(sys.argv[1:])
    sys.exit(flags if isinstance(flags, int) else run(flags))


def run(flags: Flags) -> int:
    """Load, check, and run until told to stop; the exit code."""
    from kubelet.configuration.errors import InvalidConfiguration
    from kubelet.configuration.host import read_host
    from kubelet.configuration.load import load
    from kubelet.configuration.logs import configure_logging
    from kubelet.configuration.validation import check_host

    try:
        loaded = load(flags)
        problems = check_host(loaded.config, read_host())
        if problems:
            raise InvalidConfiguration(problems)
    except InvalidConfiguration as error:
        print(f"kubelet: {error}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
        return 1
    configure_logging(loaded.config.logging)
    return _run_on_loop(flags, loaded.config, loaded.warnings)


def _run_on_loop(flags: Flags, config: KubeletConfiguration, warnings: tuple[str, ...]) -> int:
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    import uvloop

    from aio import log as aio_log
    from kubelet.node.process import adjust_own_oom_score

    log = aio_log.get(__name__)
    for warning in warnings:
        log.warning("Configuration", warning=warning)
    Path(flags.root_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    adjust_own_oom_score(config.oom_score_adj)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_stopped(flags, config))


async def _serve_until_stopped(flags: Flags, config: KubeletConfiguration) -> int:
    from aio import log as aio_log
    from aio.errors import Rejected
    from kubelet.agent import Settings, run_agent

    log = aio_log.get(__name__)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runtime = await _find_runtime(config.container_runtime_endpoint, config, stop)
    if runtime is None:
        return 0
    if config.image_service_endpoint not in ("", config.container_runtime_endpoint):
        other = await _find_runtime(config.image_service_endpoint, config, stop)
        if other is None:
            return 0
        runtime = replace(runtime, images=other.images)
    try:
        ending = await run_agent(Settings(flags, config), runtime, stop)
    except (OSError, Rejected, ValueError) as error:
        # A port or a file that cannot be had, a kubeconfig or a certificate that cannot be used.
        log.error("Cannot start", err=error)
        return 1
    for problem in ending.stop_problems:
        log.warning("Stop was not clean", problem=problem)
    if ending.loop is not None:
        log.error("Agent ended", loop=ending.loop, reason=ending.reason, err=ending.error)
        return 1
    log.info("Agent stopped", reason=ending.reason)
    return 0


async def _find_runtime(endpoint: str, config: KubeletConfiguration, stop: asyncio.Event) -> Runtime | None:
    """Wait for the runtime: it may start after the agent. None when told to stop first."""
    from aio import log as aio_log
    from cri.errors import CriError
    from cri.wire import connect

    log = aio_log.get(__name__)
    said = ""
    while not stop.is_set():
        try:
            return await connect(endpoint, config.runtime_request_timeout)
        except CriError as error:
            if said != error.message:
                log.warning("Waiting for the container runtime", endpoint=endpoint, err=error)
                said = error.message
        try:
            await asyncio.wait_for(stop.wait(), RUNTIME_RETRY_SECONDS)
        except TimeoutError:
            continue
    return None


if __name__ == "__main__":
    main()
