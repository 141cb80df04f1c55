"""Sets of logical CPUs or NUMA nodes as the kernel and Kubernetes spell them: "0-3,8" (pure)."""

from __future__ import annotations

from collections.abc import Iterable

# A machine has at most this many logical CPUs (CONFIG_NR_CPUS of any distribution's kernel).
MOST_IDS = 8192

Ids = frozenset[int]
NONE: Ids = frozenset()


class BadCpuSet(ValueError):
    """Not a list of numbers and ranges."""


def parse(text: str) -> Ids:
    """ "0-3,8" -> {0, 1, 2, 3, 8}; "" is empty. BadCpuSet."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        low, dash, high = part.partition("-")
        ends = (low, high if dash else low)
        if not all(end.isascii() and end.isdigit() for end in ends):
            raise BadCpuSet(
                f'cannot read "{text}" as a list of CPUs: "{part}" is neither a number nor a range'
            )
        first, last = int(ends[0]), int(ends[1])
        if not first <= last < MOST_IDS:
            raise BadCpuSet(f'cannot read "{text}" as a list of CPUs: "{part}" runs backwards or too far')
        found.update(range(first, last + 1))
    return frozenset(found)


def text_of(ids: Iterable[int]) -> str:
    """{0, 1, 2, 8} -> "0-2,8"."""
    ranges: list[list[int]] = []
    for number in sorted(set(ids)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in ranges)
