"""Who may do what on the agent's server: authentication, then authorisation.

Mechanism: a verified client certificate says who it is by itself; a bearer token is shown to the API server
(TokenReview), and so is every wish (SubjectAccessReview). Answers are remembered: tokens for two minutes,
allowed wishes for five, refused ones for thirty seconds, unless the configuration says otherwise. When the
API server cannot be asked, nobody is let in by a token, and a wish that is not remembered fails.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aio import log as aio_log
from aio.clock import Clock
from aio.errors import Retry
from kube.certificate_subject import subject_of
from kube.client import resources
from kube.client.model import Client
from kube.errors import StatusError
from kube.http_server.model import Request
from kube.pki import BadCertificate
from kubelet.configuration.types import Authentication, Authorization
from kubelet.server.access import User, Wish, access_review, reviewed_user, token_review
from kubelet.server.remembered import Remembered

log = aio_log.get(__name__)

AUTHENTICATED = "system:authenticated"
ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))
ALWAYS_ALLOW = "AlwaysAllow"
BEARER = "bearer "


class CannotDecide(Exception):
    """The API server could not be asked whether a wish is allowed."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A user, or that there is none: both are remembered."""

    user: User | None


class Authenticator:
    """`authenticate` tells who a request is from; None: from nobody it knows."""

    def __init__(self, settings: Authentication, client: Client | None, clock: Clock) -> None:
        if settings.webhook.enabled and client is None:
            raise ValueError("no client provided, cannot use webhook authentication")
        self._settings = settings
        self._client = client
        self._clock = clock
        self._tokens: Remembered[_Answer] = Remembered()
        self._certificates: Remembered[_Answer] = Remembered(most=64)

    async def authenticate(self, request: Request) -> User | None:
        if request.peer_certificate:
            user = self._of_certificate(request.peer_certificate)
            if user is not None:
                return user
        given = request.headers.get("authorization", "")
        if given.lower().startswith(BEARER):
            # A token that is wrong makes nobody of its bearer, not somebody anonymous.
            return await self._of_token(given[len(BEARER) :].strip())
        return ANONYMOUS if self._settings.anonymous.enabled else None

    def _of_certificate(self, der: bytes) -> User | None:
        """The server has verified it: only its subject is read here, once per certificate."""
        now = self._clock.monotonic()
        known = self._certificates.get(der, now)
        if known is not None:
            return known.user
        user = None
        try:
            subject = subject_of(der)
            if subject.common_name:
                user = User(subject.common_name, groups=(*subject.organizations, AUTHENTICATED))
        except BadCertificate as error:
            log.warning("Cannot read a client's certificate", err=error)
        self._certificates.put(der, _Answer(user), now, self._settings.webhook.cache_ttl)
        return user

    async def _of_token(self, token: str) -> User | None:
        if not token or not self._settings.webhook.enabled or self._client is None:
            return None
        # Whoever reads this process's memory should not find tokens in it.
        key = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        known = self._tokens.get(key, self._clock.monotonic())
        if known is not None:
            return known.user
        try:
            review = await self._client.create(resources.TOKEN_REVIEWS, token_review(token))
        except (StatusError, Retry) as error:
            log.warning("Unable to authenticate the request due to an error", err=error)
            return None
        user = reviewed_user(review)
        if user is not None and AUTHENTICATED not in user.groups:
            user = User(user.name, user.uid, (*user.groups, AUTHENTICATED), user.extra)
        self._tokens.put(key, _Answer(user), self._clock.monotonic(), self._settings.webhook.cache_ttl)
        return user


class Authorizer:
    """`allows` asks the API server, or says yes to everything in mode AlwaysAllow."""

    def __init__(self, settings: Authorization, client: Client | None, clock: Clock, node: str) -> None:
        if settings.mode != ALWAYS_ALLOW and client is None:
            raise ValueError("no client provided, cannot use webhook authorization")
        self._settings = settings
        self._client = client if settings.mode != ALWAYS_ALLOW else None
        self._clock = clock
        self._node = node
        self._decisions: Remembered[bool] = Remembered()

    async def allows(self, user: User, wish: Wish) -> bool:
        """Whether any of the wish's subresources is allowed. `CannotDecide` when nobody could be asked."""
        if self._client is None:
            return True
        for subresource in wish.subresources:
            if await self._may(self._client, user, wish.verb, subresource):
                return True
        return False

    async def _may(self, client: Client, user: User, verb: str, subresource: str) -> bool:
        extra = tuple(sorted((key, *values) for key, values in user.extra.items()))
        key = (user, extra, verb, subresource)
        known = self._decisions.get(key, self._clock.monotonic())
        if known is not None:
            return known
        body = access_review(user, verb, subresource, self._node)
        try:
            review = await client.create(resources.SUBJECT_ACCESS_REVIEWS, body)
        except (StatusError, Retry) as error:
            raise CannotDecide(str(error)) from error
        allowed = bool((review.get("status") or {}).get("allowed"))
        webhook = self._settings.webhook
        seconds = webhook.cache_authorized_ttl if allowed else webhook.cache_unauthorized_ttl
        self._decisions.put(key, allowed, self._clock.monotonic(), seconds)
        return allowed
