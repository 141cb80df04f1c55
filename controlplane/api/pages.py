"""A page: what answers a path that is no resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controlplane.api.model import Request, Response

Page = Callable[[Request], Awaitable[Response]]
"""Answers its path, and all below it when the path ends in a slash."""
