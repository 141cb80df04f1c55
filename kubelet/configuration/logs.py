"""Puts the logging part of the configuration into effect."""

from __future__ import annotations

from aio import log
from kubelet.configuration.types import Logging


def configure_logging(logging: Logging) -> None:
    """Verbosity, patterns and format for every logger of the process, from now on."""
    vmodule = {item.file_pattern: item.verbosity for item in logging.vmodule}
    log.configure(logging.verbosity, vmodule, "json" if logging.format == "json" else "text")
