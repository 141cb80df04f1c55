"""From a request to its user: certificate, then bearer token, then nobody (system:anonymous).

Credentials that are shown must hold: a bad token is refused even where anonymous requests are let through.
What nobody may do is the authorizer's to say (by the bootstrap roles: read health and version).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from aio.clock import Clock
from controlplane.api.model import Request, UserInfo
from controlplane.authn import impersonation
from controlplane.authn.certificates import Certificates
from controlplane.authn.identity import anonymous, authenticated
from controlplane.authn.refusal import unauthorized
from controlplane.authn.tokenfile import StaticTokens
from controlplane.authn.tokens import Verifier
from controlplane.authz.model import Judge

_SUBPROTOCOL = "base64url.bearer.authorization.k8s.io."


@dataclass(frozen=True, slots=True)
class Sources:
    """What is accepted; None for what is not. `audiences` are the API server's own."""

    certificates: Certificates | None = None
    static: StaticTokens | None = None
    accounts: Verifier | None = None
    audiences: Sequence[str] = ()


class RequestAuthenticator:
    """The pipeline's Authenticator."""

    def __init__(self, sources: Sources, clock: Clock, judge: Judge | None = None) -> None:
        """`judge` decides who may act as somebody else; without one nobody may."""
        self._sources = sources
        self._clock = clock
        self._judge = judge

    async def authenticate(self, request: Request) -> UserInfo:
        """Who asks, or whom he may act as. Unauthorized for credentials that do not hold, Forbidden for
        acting as somebody without the permission."""
        user = self._identify(request)
        asked = impersonation.wanted(request.headers)
        if asked is None:
            return user
        if self._judge is None:
            raise unauthorized("nobody may act as somebody else here")
        return impersonation.become(user, asked, self._judge)

    def _identify(self, request: Request) -> UserInfo:
        sources = self._sources
        if request.peer_certificate and sources.certificates:
            now = self._clock.now()
            return sources.certificates.authenticated_user_of(request.peer_certificate, now)
        token = bearer(request)
        if token is not None:
            return authenticated(self.user_of_token(token, sources.audiences)[0])
        return anonymous()

    def user_of_token(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, list[str]]:
        """Also for TokenReview: the user, and the audiences shared. Unauthorized for a bad token. Static
        tokens are for the API server's own audiences."""
        sources = self._sources
        user = sources.static.user_of(token) if sources.static else None
        if user is not None:
            shared = [audience for audience in audiences if audience in sources.audiences]
            if audiences and not shared:
                raise unauthorized("invalid bearer token: not for these audiences")
            return user, shared
        if sources.accounts is None:
            raise unauthorized("invalid bearer token")
        return sources.accounts.user_of(token, audiences or sources.audiences, self._clock.now())


def bearer(request: Request) -> str | None:
    """The token of the Authorization header, or of a WebSocket subprotocol; None when there is neither.
    Unauthorized for a subprotocol that is no token."""
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for offered in request.headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(_SUBPROTOCOL):
            return _decode(offered.strip().removeprefix(_SUBPROTOCOL))
    return None


def _decode(encoded: str) -> str:
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise unauthorized("invalid bearer token: the subprotocol is not base64url") from error
