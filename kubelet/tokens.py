"""Service account tokens of pods: asked for once per pod and audience, renewed in time, gone with the pod.

A token is due at 80 % of its life or after 24 h, whichever is first, up to 10 s earlier so that not all come
at once (pkg/kubelet/token/token_manager.go). Then listeners hear of it: whoever shows the token asks again
and gets a new one. While the server is away the old one serves until it expires, and is asked for again with
growing pauses. Equal questions under way share one request; different pods never wait for each other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aio import log as aio_log
from aio.backoff import Backoff
from aio.clock import Clock
from aio.errors import Retry
from kube.client import resources
from kube.client.follow import Failure
from kube.client.model import Client, JsonObject
from kube.objects.core_v1 import Pod

log = aio_log.get(__name__)

DEFAULT_SECONDS = 3600  # v1 defaults: ServiceAccountTokenProjection.expirationSeconds
MAX_USE_SECONDS = 24 * 3600.0
MAX_JITTER_SECONDS = 10.0
USED_PART = 0.8
# A pod that is deleted waits for what is under way, so that must not last: it is tried again soon enough.
ANSWER_SECONDS = 20.0
# A timer does not count while the host sleeps, nor when its calendar is set: looked at this often.
LOOK_SECONDS = 300.0
RENEWAL_BACKOFF = Backoff(initial=2.0, maximum=120.0, reset_after=3600.0)


class TokenError(Retry):
    """There is no token now; the message is what users see."""


@dataclass(frozen=True, slots=True)
class TokenWish:
    """What a projected volume asks for; `audience` "" is the API server's own."""

    audience: str = ""
    seconds: int = DEFAULT_SECONDS


@dataclass(frozen=True, slots=True)
class Token:
    """`due_at` and `expires_at` are wall seconds."""

    text: str
    due_at: float
    expires_at: float


def renewal_time(expires_at: float, life_seconds: float, jitter: float) -> float:
    """When to renew, in wall seconds. `jitter` is in [0, 1)."""
    issued_at = expires_at - life_seconds
    used = min(life_seconds * USED_PART, MAX_USE_SECONDS)
    return issued_at + used - jitter * MAX_JITTER_SECONDS


def token_request(pod: Pod, wish: TokenWish) -> JsonObject:
    """The TokenRequest: bound to the pod, so that the token dies with it."""
    spec: dict[str, Any] = {
        "expirationSeconds": wish.seconds,
        "boundObjectRef": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        },
    }
    if wish.audience:
        spec["audiences"] = [wish.audience]
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def read_answer(body: JsonObject, jitter: float) -> Token:
    """The token of an answer. ValueError or KeyError for one that is none."""
    state = body["status"]
    expires_at = datetime.fromisoformat(state["expirationTimestamp"]).timestamp()
    # The server may have granted another life than was asked for.
    life = float(body.get("spec", {}).get("expirationSeconds") or DEFAULT_SECONDS)
    return Token(state["token"], renewal_time(expires_at, life, jitter), expires_at)


@dataclass(eq=False, slots=True)
class _Entry:
    token: Token | None = None
    backoff: Backoff = RENEWAL_BACKOFF
    timer: asyncio.TimerHandle | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tokens:
    """Belongs to one event loop."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._clock = clock
        self._listeners: list[Callable[[str], None]] = []
        self._jitter = jitter
        self._pods: dict[str, dict[TokenWish, _Entry]] = {}

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Called with the uid of a pod one of whose tokens is due; must not block."""
        self._listeners.append(listener)

    async def get(self, pod: Pod, wish: TokenWish) -> str:
        """A token that is good for now. TokenError when there is none and the server gives none."""
        entry = self._pods.setdefault(pod.metadata.uid, {}).setdefault(wish, _Entry())
        async with entry.lock:
            known = entry.token
            if known is None or self._clock.wall() >= known.due_at:
                await self._renew(pod, wish, entry)
            if entry.token is None:  # forgotten while it was asked for
                raise TokenError(f'pod "{pod.metadata.namespace}/{pod.metadata.name}" is gone')
            return entry.token.text

    def forget(self, uid: str) -> None:
        """The pod is gone, its tokens with it; idempotent."""
        for entry in self._pods.pop(uid, {}).values():
            entry.token = None
            if entry.timer is not None:
                entry.timer.cancel()

    def close(self) -> None:
        for uid in list(self._pods):
            self.forget(uid)

    async def _renew(self, pod: Pod, wish: TokenWish, entry: _Entry) -> None:
        """Ask the server; a token that still holds survives a refusal."""
        meta, account = pod.metadata, pod.spec.service_account_name or "default"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                body = await self._client.create(
                    resources.SERVICE_ACCOUNTS,
                    token_request(pod, wish),
                    namespace=meta.namespace,
                    name=account,
                    subresource="token",
                )
            fresh = read_answer(body, self._jitter())
        except TimeoutError:
            self._keep_old(pod, entry, TimeoutError(f"no answer within {ANSWER_SECONDS:.0f} s"))
            return
        except (*Failure, ValueError, KeyError) as error:
            self._keep_old(pod, entry, error)
            return
        if entry is self._pods.get(meta.uid, {}).get(wish):
            entry.token, entry.backoff = fresh, RENEWAL_BACKOFF
            self._wake_at(meta.uid, entry, fresh.due_at)
            log.v(2).info("Got a token", pod=f"{meta.namespace}/{meta.name}", podUID=meta.uid)

    def _keep_old(self, pod: Pod, entry: _Entry, error: Exception) -> None:
        old, now = entry.token, self._clock.wall()
        if old is None:
            raise TokenError(f"failed to fetch token: {error}") from error
        if now >= old.expires_at:
            raise TokenError(f"token expired and refresh failed: {error}") from error
        log.warning("Cannot renew a token, the old one goes on", podUID=pod.metadata.uid, err=error)
        entry.backoff, pause = entry.backoff.next(self._clock.monotonic())
        self._wake_at(pod.metadata.uid, entry, now + pause)

    def _wake_at(self, uid: str, entry: _Entry, wall: float) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        delay = min(LOOK_SECONDS, max(0.0, wall - self._clock.wall()))
        entry.timer = asyncio.get_running_loop().call_later(delay, self._look, uid, entry, wall)

    def _look(self, uid: str, entry: _Entry, wall: float) -> None:
        if self._clock.wall() >= wall:
            entry.timer = None
            for listener in self._listeners:
                listener(uid)
        else:
            self._wake_at(uid, entry, wall)
