"""Users by client certificate: the common name is the user, the organizations are the groups.

The TLS layer verifies the chain before anybody asks here; that the certificate is the client CA's, for
clients and of this day is checked again, so that a mistake there opens nothing. What a certificate says is
remembered by its bytes, and its dates are checked each time.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap
from dataclasses import dataclass
from datetime import datetime

from controlplane.api.model import UserInfo
from controlplane.authn.identity import CREDENTIAL, authenticated
from controlplane.authn.refusal import unauthorized
from kube import pki

REMEMBERED_MAX = 1024


@dataclass(frozen=True, slots=True)
class _Known:
    user: UserInfo
    authenticated: UserInfo
    not_before: datetime
    not_after: datetime


class Certificates:
    """Reads the certificates that `ca` (PEM) signed."""

    def __init__(self, ca: bytes) -> None:
        self._ca = ca
        self._known: dict[bytes, _Known] = {}

    def user_of(self, der: bytes, now: datetime) -> UserInfo:
        """Unauthorized for one that is not ours, not for clients, out of its dates, or without a name."""
        return self._known_of(der, now).user

    def authenticated_user_of(self, der: bytes, now: datetime) -> UserInfo:
        """The same with the group of everybody who showed credentials; the same object every time."""
        return self._known_of(der, now).authenticated

    def _known_of(self, der: bytes, now: datetime) -> _Known:
        known = self._known.get(der)
        if known is None:
            known = self._read(der)
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[der] = known
        if not known.not_before <= now <= known.not_after:
            raise unauthorized("x509: certificate has expired or is not yet valid")
        return known

    def _read(self, der: bytes) -> _Known:
        pem = _pem(der)
        try:
            facts = pki.read_certificate(pem)
            ours = pki.is_issued_by(pem, self._ca)
        except pki.BadCertificate as error:
            raise unauthorized(str(error)) from error
        if not ours:
            raise unauthorized("x509: certificate signed by unknown authority")
        if "clientAuth" not in facts.usages:
            raise unauthorized("x509: certificate specifies an incompatible key usage")
        if not facts.subject.common_name:
            raise unauthorized("x509: certificate has no common name")
        fingerprint = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
        groups = tuple(facts.subject.organizations)
        user = UserInfo(facts.subject.common_name, groups=groups, extra={CREDENTIAL: (fingerprint,)})
        return _Known(user, authenticated(user), facts.not_before, facts.not_after)


def _pem(der: bytes) -> bytes:
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode()
