"""What the parts of the API server agree on: requests, users, decisions, and the protocols between them.

Authentication, authorization and admission are given to the pipeline by the wire-up; each is a protocol here,
with the answers that let a test or a bare server go without (`AllowAll`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.http_server.limits import MAX_BODY_BYTES as MAX_BODY_BYTES
from kube.http_server.model import JSON as JSON
from kube.http_server.model import Request as Request
from kube.http_server.model import Response as Response


@dataclass(frozen=True, slots=True)
class UserInfo:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What a request is about, as authorization sees it. `verb` is Kubernetes' for resources, else HTTP's in
    lower case. `remainder` is what follows the subresource (a proxy's path)."""

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    remainder: str = ""
    field_selector: str = ""
    """As the query has it: a node may list the pods that are bound to it."""


class Decision(Enum):
    ALLOWED = "allowed"
    DENIED = "denied"
    NO_OPINION = "no opinion"


@dataclass(frozen=True, slots=True)
class Verdict:
    decision: Decision
    reason: str = ""


class Authenticator(Protocol):
    async def authenticate(self, request: Request) -> UserInfo | None:
        """None for a request without credentials. `kube.status.Unauthorized` for bad ones."""
        ...


class Authorizer(Protocol):
    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Attributes:
    """A write as admission sees it. `old` is None for a create, `value` None for a delete."""

    user: UserInfo
    info: RequestInfo
    resource: Resource
    value: JsonObject | None
    old: JsonObject | None
    dry_run: bool = False


class View(Protocol):
    """The objects as they are in memory, for admission. Values must not be changed."""

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject | None: ...

    def list(self, resource: Resource, namespace: str = "") -> Sequence[JsonObject]: ...


class AdmissionPlugin(Protocol):
    """Both may raise StatusError (Forbidden, Invalid), which refuses the write."""

    name: str

    def handles(self, attributes: Attributes) -> bool: ...

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        """The object, changed in place or another. Not asked about deletions."""
        ...

    async def validate(self, attributes: Attributes, view: View) -> None: ...


class Handler(Protocol):
    """Answers a subresource that is no storage: log, exec, token, proxy."""

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response: ...


class AllowAll:
    """Authenticator and authorizer of a server that asks nobody: for tests and loopback alone."""

    def __init__(self, user: UserInfo | None = None) -> None:
        self._user = user or UserInfo("system:admin", groups=("system:masters", "system:authenticated"))

    async def authenticate(self, request: Request) -> UserInfo | None:
        return self._user

    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict:
        return Verdict(Decision.ALLOWED)


def bare(value: Any) -> JsonObject:
    """An object that may be missing, or of another type in an unchecked body, as a map."""
    return value if isinstance(value, dict) else {}
