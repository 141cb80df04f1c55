"""Numbers that only one may have at a time: cluster addresses and node ports.

A pool has a lower band, left for those who ask for a number by name, and an upper band, from which numbers
are handed out; when that is full the lower one is used too. Which free number it is comes from `start`, a
random number of the caller's. Holding what one holds already is no error, so a pool can be filled again from
what is stored, as often as one likes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

# pkg/registry/core/service/{ipallocator,portallocator}: calculateRangeOffset
_ADDRESS_BAND = (16, 256, 16)
_PORT_BAND = (16, 128, 32)


class Full(Exception):
    """Every number of the pool is held."""


@dataclass(frozen=True, slots=True)
class Range:
    """`first` to `last`, both included; `dynamic` is where the upper band starts."""

    first: int
    last: int
    dynamic: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last


def addresses(network: str) -> Range:
    """Of a service range: without the network's own address and, in IPv4, the broadcast address."""
    parsed = ipaddress.ip_network(network)
    first, last = int(parsed.network_address) + 1, int(parsed.broadcast_address)
    last -= parsed.version == 4
    return Range(first, last, first + _band(last - first + 1, _ADDRESS_BAND))


def ports(first: int = 30000, last: int = 32767) -> Range:
    return Range(first, last, first + _band(last - first + 1, _PORT_BAND))


def _band(size: int, rule: tuple[int, int, int]) -> int:
    """How many numbers the lower band has; none in a range too small for two bands."""
    least, most, share = rule
    return 0 if size < least else min(max(least, size // share), most)


class Pool:
    """Who holds which number."""

    def __init__(self, range_: Range) -> None:
        self.range = range_
        self._owners: dict[int, str] = {}

    def owner(self, number: int) -> str | None:
        return self._owners.get(number)

    def hold(self, number: int, owner: str) -> bool:
        """False when the number is another's. ValueError when it is not in the range."""
        if number not in self.range:
            raise ValueError(f"{number} is not in the range")
        return self._owners.setdefault(number, owner) == owner

    def take(self, owner: str, start: int) -> int:
        """A free number for `owner`, the first at or after `start` in the band. Full when there is none."""
        for low, high in ((self.range.dynamic, self.range.last), (self.range.first, self.range.dynamic - 1)):
            for number in _round(low, high, start):
                if number not in self._owners:
                    self._owners[number] = owner
                    return number
        raise Full

    def release(self, number: int, owner: str) -> None:
        """Nothing happens when somebody else holds it."""
        if self._owners.get(number) == owner:
            del self._owners[number]

    def __len__(self) -> int:
        return len(self._owners)


def _round(low: int, high: int, start: int) -> Iterator[int]:
    size = high - low + 1
    if size > 0:
        offset = start % size
        yield from range(low + offset, high + 1)
        yield from range(low, low + offset)
