"""The kinds that the server keeps: one declaration each (`kinds`), and how to find them."""

from __future__ import annotations

from controlplane.api.registry.kinds import KINDS
from controlplane.api.registry.model import Kind, Registry

__all__ = ["KINDS", "Kind", "Registry", "standard"]


def standard() -> Registry:
    """Every kind of this server."""
    return Registry(KINDS)
