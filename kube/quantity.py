"""Kubernetes quantities: "250m", "1Gi", "1e3" to exact numbers and back to the canonical spelling.

A quantity is a whole number of billionths, so sums and comparisons are exact; what is finer than that is
rounded away from zero when parsed, and magnitudes stop at 2**63 - 1, both as in
k8s.io/apimachinery/pkg/api/resource. The canonical form has no fraction and the largest suffix that allows
that, in the family of suffixes (`Format`) it was written with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, total_ordering

NANOS_PER_UNIT = 10**9
MAX_UNITS = 2**63 - 1

# The text users see for a malformed quantity (resource.ErrFormatWrong).
FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_ERROR = "unable to parse quantity's suffix"
NUMBER_ERROR = "unable to parse numeric part of quantity"

_SHAPE = re.compile(r"([+-]?)([0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_NUMBER = re.compile(r"([0-9]*)\.?([0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_MOST_DIGITS = 4000  # keeps int() of a hostile string cheap, and under Python's own limit
_MOST_EXPONENT = 100  # beyond this every number is 0, the smallest or the largest quantity

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}


class Format(Enum):
    """The family of suffixes a quantity is written with."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


class QuantityError(ValueError):
    """Not a quantity; the message is upstream's."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount in billionths; equality and order look at the amount only."""

    nanos: int
    format: Format = Format.DECIMAL_SI

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __add__(self, other: Quantity) -> Quantity:
        # As upstream: the sum of nothing and something is written like the something.
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __str__(self) -> str:
        return canonical(self)

    def to_int(self) -> int:
        """Whole units, rounded up (away from zero): bytes of memory, whole CPUs."""
        return _divide_away(self.nanos, NANOS_PER_UNIT)

    def to_milli(self) -> int:
        """Thousandths, rounded up (away from zero): millicores."""
        return _divide_away(self.nanos, NANOS_PER_UNIT // 1000)


ZERO = Quantity(0)


def from_int(units: int, format: Format = Format.DECIMAL_SI) -> Quantity:
    return Quantity(units * NANOS_PER_UNIT, format)


def from_milli(thousandths: int, format: Format = Format.DECIMAL_SI) -> Quantity:
    return Quantity(thousandths * (NANOS_PER_UNIT // 1000), format)


@lru_cache(maxsize=4096)
def parse(text: str) -> Quantity:
    """ "250m" -> 0.25. QuantityError with upstream's words when it is not a quantity."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise QuantityError(FORMAT_ERROR)
    sign, number, suffix = shape.groups()
    ten, two, family = _scale(suffix)
    digits = _NUMBER.fullmatch(number)
    if digits is None or number == "." or len(number) > _MOST_DIGITS:
        raise QuantityError(NUMBER_ERROR)
    whole, fraction = digits.groups()
    mantissa = int(whole + fraction) << (10 * two)
    nanos = _scaled(mantissa, ten - len(fraction) + 9)
    nanos = min(nanos, MAX_UNITS * NANOS_PER_UNIT)
    return Quantity(-nanos if sign == "-" else nanos, family)


def is_valid(text: str) -> bool:
    try:
        parse(text)
    except QuantityError:
        return False
    return True


def canonical(quantity: Quantity) -> str:
    """The one spelling Kubernetes stores: no fraction, largest suffix, family kept where it can be."""
    nanos, family = quantity.nanos, quantity.format
    if nanos == 0:
        return "0"
    units, rest = divmod(abs(nanos), NANOS_PER_UNIT)
    sign = "-" if nanos < 0 else ""
    # Binary suffixes only make sense for whole numbers of 1024 and more.
    if family is Format.BINARY_SI and not rest and units >= 1024:
        power = 0
        while power < 6 and units % 1024 == 0:
            units //= 1024
            power += 1
        return f"{sign}{units}{_BINARY_SUFFIX.get(power, '')}"
    mantissa, exponent = abs(nanos), -9
    largest = 18 if family is not Format.DECIMAL_EXPONENT else 10**6
    while mantissa % 1000 == 0 and exponent < largest:
        mantissa //= 1000
        exponent += 3
    if family is Format.DECIMAL_EXPONENT:
        return f"{sign}{mantissa}e{exponent}" if exponent else f"{sign}{mantissa}"
    return f"{sign}{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def _scale(suffix: str) -> tuple[int, int, Format]:
    """A suffix as (power of 10, power of 1024, family)."""
    if suffix in _DECIMAL:
        return _DECIMAL[suffix], 0, Format.DECIMAL_SI
    if suffix in _BINARY:
        return 0, _BINARY[suffix], Format.BINARY_SI
    exponent = _EXPONENT.fullmatch(suffix)
    if exponent is None or len(suffix) > 20:
        raise QuantityError(SUFFIX_ERROR)
    return int(exponent[1]), 0, Format.DECIMAL_EXPONENT


def _scaled(mantissa: int, exponent: int) -> int:
    """mantissa * 10**exponent, rounded up, without building numbers nobody can hold."""
    if mantissa == 0:
        return 0
    if exponent >= 0:
        largest: int = 10 ** min(exponent, _MOST_EXPONENT)
        return mantissa * largest
    if -exponent > _MOST_DIGITS + _MOST_EXPONENT:
        return 1
    return _divide_away(mantissa, 10**-exponent)


def _divide_away(number: int, by: int) -> int:
    return -(-number // by) if number >= 0 else number // by
