"""Requests, responses and routes without a web framework (pure).

A handler is `Request -> Response`. `Router.answer` finds it, answers 404, 405 and HEAD, and turns nothing
else into a response: a handler that raises is the adapter's business (500, logged).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `query` keeps the last value of a repeated key; a bare key has the value ""."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    captures: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def parse(method: str, target: str) -> Request:
        """From the request line's method and target ("/healthz?verbose")."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(method, unquote(parts.path) or "/", query)


@dataclass(frozen=True, slots=True)
class Response:
    """One response, whole in memory."""

    status: int = 200
    body: bytes = b""
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response]


def text(body: str, status: int = 200) -> Response:
    """Plain text, as Go's http.Error and the healthz handlers write it."""
    return Response(status, body.encode(), PLAIN, (("X-Content-Type-Options", "nosniff"),))


def json(value: Any, status: int = 200) -> Response:
    """A JSON body; structs are encoded by their JSON names."""
    return Response(status, msgspec.json.encode(value), JSON)


@dataclass(frozen=True, slots=True)
class Router:
    """Routes by path. A segment in braces ("/debug/pods/{uid}") captures one non-empty segment.

    `routes` are asked by GET and HEAD; `actions` change something, and are asked by POST without a body.
    """

    routes: Mapping[str, Handler]
    actions: Mapping[str, Handler] = field(default_factory=dict)

    def answer(self, request: Request) -> Response:
        """The response to `request`; 404 and 405 for what is not there."""
        action = self.actions.get(request.path)
        if action is not None:
            if request.method == "POST":
                return action(request)
            response = text("405 method not allowed: this endpoint takes POST\n", 405)
            return Response(405, response.body, response.content_type, (("Allow", "POST"),))
        found = self._find(request.path)
        if found is None:
            return text("404 page not found\n", 404)
        if request.method not in ("GET", "HEAD"):
            response = text("405 method not allowed: this endpoint is read-only\n", 405)
            return Response(405, response.body, response.content_type, (("Allow", "GET, HEAD"),))
        handler, captures = found
        return handler(Request(request.method, request.path, request.query, captures))

    def _find(self, path: str) -> tuple[Handler, Mapping[str, str]] | None:
        exact = self.routes.get(path) or (self.routes.get(path.rstrip("/")) if path != "/" else None)
        if exact is not None:
            return exact, {}
        segments = path.strip("/").split("/")
        for pattern, handler in self.routes.items():
            captures = _match(pattern.strip("/").split("/"), segments)
            if captures:
                return handler, captures
        return None


def _match(pattern: list[str], segments: list[str]) -> dict[str, str]:
    captures: dict[str, str] = {}
    if len(pattern) != len(segments):
        return {}
    for wanted, found in zip(pattern, segments, strict=True):
        if wanted.startswith("{") and found:
            captures[wanted[1:-1]] = found
        elif wanted != found:
            return {}
    return captures
