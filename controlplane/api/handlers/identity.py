"""Who is who and who may what, asked of the server: review kinds, tokens of service accounts, and the two
documents by which others verify those tokens.

Reviews are answered in the object that comes back and stored nowhere. Admission sees all of it: a node gets a
token only for a pod of its own (NodeRestriction).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aio.clock import Clock
from controlplane.api import codec
from controlplane.api.handlers.verbs import answer, read_checked, writer_of
from controlplane.api.model import Attributes, Handler, Request, RequestInfo, Response, UserInfo, bare
from controlplane.api.pages import Page
from controlplane.api.storage import Storage
from controlplane.authn import tokenrequest, tokens
from controlplane.authn.tokens import Signer
from controlplane.authz import reviews
from controlplane.authz.model import Judge
from controlplane.authz.rbac import Policy
from kube import status
from kube.client import resources as r
from kube.client.model import JsonObject
from kube.client.resources import Resource

TOKEN_REQUESTS = Resource("authentication.k8s.io", "v1", "tokenrequests", "TokenRequest")
DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
_KEY_SET = "application/jwk-set+json"

UserOfToken = Callable[[str, Sequence[str]], tuple[UserInfo, list[str]]]
"""As `RequestAuthenticator.user_of_token`; Unauthorized for a token of nobody."""
Answer = Callable[[JsonObject, RequestInfo, UserInfo], JsonObject]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the answers come from. `judge` is the whole authorizer, `policy` its RBAC part; without a `signer`
    no tokens are made; `audiences` are the API server's own."""

    judge: Judge
    policy: Policy
    user_of_token: UserOfToken
    signer: Signer | None = None
    audiences: Sequence[str] = ()


def handlers(identity: Identity, storage: Storage, clock: Clock) -> dict[tuple[str, str], Handler]:
    """By plural and subresource."""
    judge = identity.judge
    answers: dict[Resource, Answer] = {
        r.TOKEN_REVIEWS: lambda review, info, user: reviews.token(review, identity.user_of_token),
        r.SUBJECT_ACCESS_REVIEWS: lambda review, info, user: reviews.subject_access(review, judge),
        r.LOCAL_SUBJECT_ACCESS_REVIEWS: lambda review, info, user: reviews.local_subject_access(
            review, judge, info.namespace
        ),
        r.SELF_SUBJECT_ACCESS_REVIEWS: lambda review, info, user: reviews.self_subject_access(
            review, judge, user
        ),
        r.SELF_SUBJECT_RULES_REVIEWS: lambda review, info, user: reviews.self_subject_rules(
            review, identity.policy, user
        ),
        r.SELF_SUBJECT_REVIEWS: lambda review, info, user: reviews.self_subject(review, user),
    }
    made: dict[tuple[str, str], Handler] = {
        (resource.plural, ""): _Review(resource, one, storage) for resource, one in answers.items()
    }
    if identity.signer is not None:
        made["serviceaccounts", "token"] = _Token(identity.signer, identity.audiences, storage, clock)
    return made


class _Review:
    def __init__(self, resource: Resource, answer_of: Answer, storage: Storage) -> None:
        self._resource = resource
        self._answer_of = answer_of
        self._storage = storage

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        writer = writer_of(request, info, user)
        review = await read_checked(self._resource, request, writer)
        await self._storage.admit(Attributes(user, info, self._resource, review, None, writer.dry_run))
        answered = self._answer_of(review, info, user)
        head = {"kind": self._resource.kind, "apiVersion": self._resource.api_version}
        return answer(writer, codec.encode({**head, "metadata": {}, **answered}), code=201)


class _Token:
    """serviceaccounts/NAME/token."""

    def __init__(self, signer: Signer, audiences: Sequence[str], storage: Storage, clock: Clock) -> None:
        self._signer = signer
        self._audiences = audiences
        self._storage = storage
        self._clock = clock

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        if info.verb != "create":
            raise status.method_not_allowed()
        writer = writer_of(request, info, user)
        body = await read_checked(TOKEN_REQUESTS, request, writer)
        _check_account(info, body)
        await self._storage.cache.reach_latest()
        await self._storage.admit(Attributes(user, info, TOKEN_REQUESTS, body, None, writer.dry_run))
        wanted = tokenrequest.checked(body, (info.namespace, info.name), self._audiences, self._object)
        now = self._clock.now()
        made = tokenrequest.answer(body, wanted, self._signer, now, str(uuid.uuid4()))
        return answer(writer, codec.encode(made), code=201)

    def _object(self, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self._storage.cache.get(_BOUND[plural], namespace, name)


_BOUND = {
    "serviceaccounts": r.SERVICE_ACCOUNTS, "pods": r.PODS, "secrets": r.SECRETS, "nodes": r.NODES,
}  # fmt: skip


def _check_account(info: RequestInfo, body: JsonObject) -> None:
    meta = bare(body.get("metadata"))
    for field, label in (("name", "name"), ("namespace", "namespace")):
        if (found := meta.get(field)) and found != getattr(info, field):
            message = f"the {label} of the provided object does not match the {label} sent on the request"
            raise status.bad_request(message)


def pages(issuer: str, keys_url: str, public_keys: Sequence[bytes]) -> dict[str, Page]:
    """The documents of the issuer; `keys_url` is where clients find the second one (KEYS_PATH)."""
    made: dict[str, bytes] = {}

    def key_set() -> bytes:
        # The keys are parsed when somebody asks, so that the start need not.
        if KEYS_PATH not in made:
            made[KEYS_PATH] = codec.encode(tokens.key_set(public_keys))
        return made[KEYS_PATH]

    async def configuration(request: Request) -> Response:
        return Response(body=codec.encode(tokens.discovery(issuer, keys_url)))

    async def keys(request: Request) -> Response:
        return Response(body=key_set(), content_type=_KEY_SET)

    return {DISCOVERY_PATH: configuration, KEYS_PATH: keys}
