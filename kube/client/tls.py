"""The TLS side of client settings: who is trusted, and what is shown to the server. Needs no HTTP library."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from kube.client.settings import BadSettings, Material, Settings


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """None for plain HTTP. BadSettings when a certificate or key cannot be used."""
    if not settings.server.startswith("https:"):
        return None
    try:
        context = ssl.create_default_context(cadata=_pem_text(settings.ca))
    except (ssl.SSLError, ValueError) as error:
        raise BadSettings(f"cannot use the certificate authority: because {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate:
        _load_identity(context, settings.certificate, settings.key)
    return context


def _pem_text(ca: Material) -> str | None:
    if not ca:
        return None
    text = ca.read().decode("ascii", errors="replace")
    if "BEGIN CERTIFICATE" not in text:
        raise BadSettings(f'cannot use the certificate authority: because "{ca.file}" has no certificate')
    return text


def _load_identity(context: ssl.SSLContext, certificate: Material, key: Material) -> None:
    """OpenSSL reads only from files, so what is in memory goes through one that has no name on any disk."""
    joined = certificate.read() + b"\n" + (key.read() if key else b"")
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, joined)
        context.load_cert_chain(str(Path("/proc/self/fd") / str(descriptor)))
    except ssl.SSLError as error:
        names = " and ".join(part.file for part in (certificate, key) if part.file) or "the given data"
        raise BadSettings(f"cannot use client certificate and key of {names}: because {error}") from error
    finally:
        os.close(descriptor)
