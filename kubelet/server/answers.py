"""Answers of the agent's server in the form of Go's http.Error and of its JSON encoder (pure)."""

from __future__ import annotations

from typing import Any

import msgspec

from cri.errors import CriError, NotFound
from kube.http_server.model import JSON, Response

TEXT = "text/plain; charset=utf-8"
# What a streaming request answers when the runtime refuses (kubelet/pkg/cri/streaming/errors.go).
_CODES = {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429}


def error_text(code: int, message: str) -> Response:
    """A refusal in words."""
    return Response(code, message.encode(), TEXT, {"X-Content-Type-Options": "nosniff"})


def plain(text: str, content_type: str = TEXT) -> Response:
    return Response(200, text.encode(), content_type)


def json(value: Any, code: int = 200) -> Response:
    """Structs are encoded by their JSON names."""
    return Response(code, msgspec.json.encode(value), JSON)


def refused_by_runtime(error: CriError) -> Response:
    """The runtime does not open a session."""
    code = 404 if isinstance(error, NotFound) else _CODES.get(error.code, 500)
    return error_text(code, error.message)
