"""Metrics in Prometheus' text format: families of samples, counters and histograms that handlers keep (pure).

Our own few lines instead of a library: prometheus_client costs 3 MiB, and rendering is all that is needed.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """`suffix` goes to the family's name ("_bucket"); `at_ms` is the sample's own time, 0 for none."""

    value: float
    labels: Labels = ()
    suffix: str = ""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Family:
    """`kind`: counter, gauge or histogram."""

    name: str
    help: str
    kind: str
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> str:
    """The text of a scrape. Families without samples are left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escape_help(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join([*lines, ""])


def labels(**values: str) -> Labels:
    """In the order given."""
    return tuple(values.items())


def _line(name: str, sample: Sample) -> str:
    inside = ",".join(f'{key}="{_escape(value)}"' for key, value in sample.labels)
    braces = f"{{{inside}}}" if inside else ""
    at = f" {sample.at_ms}" if sample.at_ms else ""
    return f"{name}{sample.suffix}{braces} {_number(sample.value)}{at}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


@dataclass(slots=True)
class Counter:
    """Counts by labels."""

    name: str
    help: str
    _counts: dict[Labels, float] = field(default_factory=dict)

    def add(self, of: Labels = (), amount: float = 1) -> None:
        self._counts[of] = self._counts.get(of, 0) + amount

    def family(self) -> Family:
        return Family(self.name, self.help, "counter", [Sample(n, of) for of, n in self._counts.items()])


@dataclass(slots=True)
class _Buckets:
    counts: list[int]
    total: float = 0.0
    count: int = 0


@dataclass(slots=True)
class Histogram:
    """Counts of values by labels and by upper `bounds`, ascending."""

    name: str
    help: str
    bounds: tuple[float, ...]
    _of: dict[Labels, _Buckets] = field(default_factory=dict)

    def observe(self, value: float, of: Labels = ()) -> None:
        found = self._of.get(of)
        if found is None:
            found = self._of[of] = _Buckets([0] * len(self.bounds))
        at = bisect_left(self.bounds, value)
        if at < len(self.bounds):
            found.counts[at] += 1
        found.total += value
        found.count += 1

    def family(self) -> Family:
        samples: list[Sample] = []
        for of, found in self._of.items():
            below = 0
            for bound, count in zip(self.bounds, found.counts, strict=True):
                below += count
                samples.append(Sample(below, (*of, ("le", _number(bound))), "_bucket"))
            samples.append(Sample(found.count, (*of, ("le", "+Inf")), "_bucket"))
            samples.append(Sample(found.total, of, "_sum"))
            samples.append(Sample(found.count, of, "_count"))
        return Family(self.name, self.help, "histogram", samples)


def gauges(name: str, help_text: str, values: Mapping[Labels, float]) -> Family:
    """One family of gauges."""
    return Family(name, help_text, "gauge", [Sample(value, of) for of, value in values.items()])
