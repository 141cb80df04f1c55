"""Go's duration text ("1m30s") to seconds and back.

Pure. Configurations and flags write every duration the way Go's `time.ParseDuration` reads it, messages show
it the way `Duration.String` writes it; we keep seconds as a float. Promise:
`parse_duration(format_duration(x)) == x` for every whole number of microseconds.
"""

from __future__ import annotations

import re
from decimal import Decimal

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_NANOSECONDS = 2**63 - 1  # Go keeps a duration in an int64


def parse_duration(text: str) -> float:
    """Seconds in a Go duration such as "1h15m30.5s", "-2s" or "0".

    Raises ValueError with a sentence that quotes the text.
    """
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if body == "0":
        return 0.0
    total, position = Decimal(0), 0
    while position < len(body):
        term = _TERM.match(body, position)
        if term is None:
            raise ValueError(f'invalid duration "{text}": write it like "300ms", "10s" or "1h30m"')
        total += Decimal(term[1]) * _NANOSECONDS[term[2]]
        position = term.end()
    if not body:
        raise ValueError(f'invalid duration "{text}": write it like "300ms", "10s" or "1h30m"')
    if total > _MAX_NANOSECONDS:
        raise ValueError(f'invalid duration "{text}": longer than about 292 years')
    seconds = float(total / 1_000_000_000)
    return -seconds if text.startswith("-") else seconds


def format_duration(seconds: float) -> str:
    """The text Go's `Duration.String` gives: "0s", "1.5ms", "2m0s", "1h0m0s"."""
    nanoseconds = round(abs(seconds) * 1_000_000_000)
    if nanoseconds == 0:
        return "0s"
    sign = "-" if seconds < 0 else ""
    for unit in ("ns", "µs", "ms"):
        if nanoseconds < _NANOSECONDS[unit] * 1_000:
            return f"{sign}{_decimal(nanoseconds, _NANOSECONDS[unit])}{unit}"
    minutes, rest = divmod(nanoseconds, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, _NANOSECONDS['s'])}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)
