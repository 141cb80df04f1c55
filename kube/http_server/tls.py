"""TLS of a server: its certificate, and client certificates where there is a CA for them."""

from __future__ import annotations

import ssl
from pathlib import Path

CONNECTION_PROTOCOLS = ("http/1.1",)


def server_context(certificate: Path, key: Path, *, client_ca: bytes | None = None) -> ssl.SSLContext:
    """`client_ca` (PEM, one or more) makes clients' certificates welcome, not required. One that it did not
    sign, or that is out of its dates, ends the handshake. TLS 1.2 and up. OSError (ssl.SSLError among them)
    for files that cannot be used; `load_cert_chain` on the context later serves a renewed pair to new
    connections."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(list(CONNECTION_PROTOCOLS))
    if client_ca:
        context.load_verify_locations(cadata=client_ca.decode("ascii"))
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
