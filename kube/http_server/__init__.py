"""An HTTP/1.1 server that API server and agent share: keep-alive, streams, upgrades, client certificates.

server = HttpServer(handle, "127.0.0.1", 0, tls=server_context(certificate, key, client_ca=ca))
await server.start(); server.address; await server.stop()
"""

from __future__ import annotations

from kube.http_server.limits import Limits
from kube.http_server.model import Handle, Request, Response, Tunnel
from kube.http_server.server import HttpServer
from kube.http_server.tls import server_context

__all__ = ["Handle", "HttpServer", "Limits", "Request", "Response", "Tunnel", "server_context"]
