"""Text as people read it in a terminal: aligned tables, ages, sizes (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence

GAP = "   "  # between columns, as kubectl's
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SHORT_ID_CHARS = 13


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the last not padded; ends with a newline."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    out = []
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        out.append(GAP.join([*cells, line[-1]]).rstrip())
    return "\n".join(out) + "\n"


def age(seconds: float) -> str:
    """As kubectl writes it (k8s.io/apimachinery duration.HumanDuration): 5s, 3m12s, 45m, 3h2m, 2d."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY
    if minutes < 10:
        return _two(minutes, "m", whole % _MINUTE, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if days < 2:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    years = whole // _YEAR
    if years < 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def parse_age(text: str) -> float:
    """Seconds in "30s", "5m", "1h30m", "2d"; ValueError says what is wrong."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'"{text}" is not a duration such as 30s, 5m or 2h')
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def size(count: int) -> str:
    """Bytes in decimal units, as registries and `docker images` show them: 1.05MB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g}{unit}"


def short_id(full: str) -> str:
    """Enough of an id to type; the algorithm of an image's digest is left out."""
    return full.removeprefix("sha256:")[:SHORT_ID_CHARS]
