"""The API server's socket: the HTTP server around the pipeline, its own refusals said as a Status."""

from __future__ import annotations

import ssl

from controlplane.api.model import Response
from controlplane.api.pipeline import Pipeline, failure
from kube import http_server
from kube.errors import Status
from kube.http_server import Limits

_ALWAYS = {"Cache-Control": "no-cache, private"}
_REASONS = {
    400: "BadRequest", 408: "Timeout", 413: "RequestEntityTooLarge", 500: "InternalError",
    503: "ServiceUnavailable",
}  # fmt: skip


class HttpServer(http_server.HttpServer):
    """One listening socket. `port` 0 takes a free one; `address` tells it after `start`."""

    def __init__(
        self, pipeline: Pipeline, host: str, port: int, *, tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        super().__init__(pipeline.handle, host, port, tls=tls, limits=limits, headers=_ALWAYS, refuse=refusal)


def refusal(code: int, message: str) -> Response:
    """What the server answers by itself, before or beside the pipeline."""
    details = {"retryAfterSeconds": 1} if code == 503 else None
    return failure(Status(code, _REASONS.get(code, "BadRequest"), message, details))
