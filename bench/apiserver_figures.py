"""What `bench.apiserver` measures, as figures of the results."""

from __future__ import annotations

from pathlib import Path

from bench import apiserver
from bench.figures import Figure

KIND = "apiserver"
NAMES = ("api",)
FLOOR = "floor/s"


def measure(seconds: float, directory: Path) -> list[Figure]:
    """`seconds` for each; the store is in `directory`. OSError, RuntimeError when it cannot be measured."""
    return figures(apiserver.run(seconds=seconds, directory=directory))


def figures(found: dict[str, float]) -> list[Figure]:
    """One per rate and latency that has a target (pure)."""
    rates = [_rate(name, found, least) for name, least in apiserver.TARGETS.items()]
    delays = [
        Figure(f"API server: {name.removesuffix(' ms')}", found[name], "ms", most)
        for name, most in apiserver.LATENCY.items()
    ]
    memory = Figure(
        "API server: RSS after all this", found["RSS at the end: MiB"], "MiB",
        detail=f"{found['RSS at the start: MiB']:.1f} MiB at the start",
    )  # fmt: skip
    return [*rates, *delays, memory]


def _rate(name: str, found: dict[str, float], least: float) -> Figure:
    cpu = found[f"{name}: server CPU us"]
    detail = f"{cpu:.0f} us of the server's CPU each; the HTTP server alone: {found[FLOOR]:.0f}/s"
    label = f"API server: {name.replace('/s', '')}"
    return Figure(label, found[name], "/s", least, at_least=True, detail=detail)
