"""The sources that a configuration asks for, each as a named loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aio.executors import Executors
from kubelet.configuration import KubeletConfiguration
from kubelet.sources.file import FileSource
from kubelet.sources.http import HttpSource, fetcher
from kubelet.sources.manifest import decoder
from kubelet.sources.model import API, FILE, HTTP, Deliver, Report

Loop = Callable[[], Awaitable[None]]


def source_names(config: KubeletConfiguration, *, with_api: bool = False) -> tuple[str, ...]:
    """The sources that must each have delivered once before anything counts as unwanted.

    `with_api`: the agent has a cluster (see `kubelet.api_pods`).
    """
    wanted = ((FILE, config.static_pod_path), (HTTP, config.static_pod_url), (API, with_api))
    return tuple(name for name, place in wanted if place)


def make_sources(
    config: KubeletConfiguration,
    node_name: str,
    executors: Executors,
    deliver: Deliver,
    report: Report,
) -> dict[str, Loop]:
    """Loop by name."""
    loops: dict[str, Loop] = {}
    if config.static_pod_path:
        loops[FILE] = FileSource(
            config.static_pod_path,
            decoder(FILE, node_name),
            deliver=deliver,
            report=report,
            relist_seconds=config.file_check_frequency,
            run_in_thread=partial(executors.run, "walk", key=config.static_pod_path),
        ).run
    if config.static_pod_url:
        url = config.static_pod_url
        loops[HTTP] = HttpSource(
            url,
            decoder(HTTP, node_name),
            fetcher(url, config.static_pod_url_header),
            deliver=deliver,
            report=report,
            poll_seconds=config.http_check_frequency,
        ).run
    return loops
