"""The base of all typed read views: frozen, keyword-only, JSON names in camel case."""

from __future__ import annotations

import msgspec


class Object(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A value of the API. Optional fields at their default are left out when encoded."""
