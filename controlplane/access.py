"""Who gets in and what they may do, put together for the API server: authentication, authorization,
admission, service-account tokens, and the addresses of Services.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aio.clock import Clock
from controlplane.admission.order import plugins
from controlplane.allocation.pool import ports
from controlplane.allocation.services import Services
from controlplane.api.handlers import identity
from controlplane.api.handlers.identity import Identity
from controlplane.api.health import Check
from controlplane.api.model import Request, Response
from controlplane.api.pages import Page
from controlplane.api.server import Access
from controlplane.api.streaming import NodeClientSettings, streaming_handlers
from controlplane.api.watchcache import WatchCache
from controlplane.authn.certificates import Certificates
from controlplane.authn.request import RequestAuthenticator, Sources
from controlplane.authn.tokenfile import BadTokenFile, StaticTokens, read_tokens
from controlplane.authn.tokens import Signer, Verifier
from controlplane.authz.follow import Guard
from controlplane.bootstrap.roles import node_rules
from controlplane.credentials import Pki, keep_pki
from controlplane.flags import Flags
from controlplane.place import Place
from kube.client import resources as r

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Of service-account tokens, and the audience of those that are for the API server."""
_BOUND = {
    "serviceaccounts": r.SERVICE_ACCOUNTS, "pods": r.PODS, "secrets": r.SECRETS, "nodes": r.NODES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was read from the disk at the start."""

    pki: Pki
    token_key: bytes
    token_public_key: bytes
    kubelet_ca: bytes
    """PEM; empty takes any certificate of a kubelet."""
    static: StaticTokens | None = None

    @property
    def ca(self) -> bytes:
        return self.pki.ca.certificate


def keep_credentials(flags: Flags, place: Place, now: datetime) -> Credentials:
    """Made where missing. Blocks; BadCertificate, BadTokenFile, OSError."""
    from controlplane.bootstrap.objects import service_address

    service_ip = service_address(flags.service_cluster_ip_range)
    pki = keep_pki(flags.data_dir / "pki", hosts=place.hosts, service_ip=service_ip, now=now)
    static = _static_tokens(flags.token_auth_file) if flags.token_auth_file else None
    kubelet_ca = pki.ca.certificate
    if flags.kubelet_ca_file is not None:
        kubelet_ca = Path(flags.kubelet_ca_file).read_bytes() if flags.kubelet_ca_file else b""
    keys = pki.token_key.read_bytes(), pki.token_public_key.read_bytes()
    return Credentials(pki, *keys, kubelet_ca, static)


def _static_tokens(file: str) -> StaticTokens:
    try:
        return read_tokens(Path(file).read_text(encoding="utf-8"))
    except (BadTokenFile, UnicodeDecodeError) as error:
        raise BadTokenFile(f'cannot use "{file}": because {error}') from error


class Gate:
    """`access` for the server; then `attach` its cache, by which decisions are made from then on. Before that
    only system:masters gets anywhere, and tokens are nobody's."""

    def __init__(self, credentials: Credentials, service_network: str, clock: Clock) -> None:
        self.url = ISSUER
        """By which pods reach the server; set when it is known."""
        self._cache: WatchCache | None = None
        self._guard = Guard(node_rules())
        self._services = Services(service_network, ports(), lambda: secrets.randbelow(1 << 128))
        public = credentials.token_public_key
        sources = Sources(
            certificates=Certificates(credentials.ca),
            static=credentials.static,
            accounts=Verifier([ISSUER], [public], self._object),
            audiences=(ISSUER,),
        )
        self._authenticator = RequestAuthenticator(sources, clock, self._guard)
        to_nodes = credentials.pki.kubelet_client
        self._node_client = NodeClientSettings(to_nodes.certificate, to_nodes.key, credentials.kubelet_ca)
        self._signer = Signer(ISSUER, credentials.token_key)
        self._public_keys = (public,)

    def access(self, checks: Mapping[str, Check]) -> Access:
        guard, authenticator = self._guard, self._authenticator
        policy = guard.policy
        return Access(
            authenticator,
            guard,
            plugins(policy, guard),
            identity=Identity(guard, policy, authenticator.user_of_token, self._signer, (ISSUER,)),
            services=self._services,
            handlers=streaming_handlers(self._objects, guard, self._node_client),
            pages={**self._issuer_pages(), identity.DISCOVERY_PATH: self._configuration},
            checks=checks,
        )

    def attach(self, cache: WatchCache) -> None:
        self._cache = cache
        self._guard.attach(cache)

    def _issuer_pages(self) -> dict[str, Page]:
        return identity.pages(ISSUER, f"{self.url}{identity.KEYS_PATH}", self._public_keys)

    async def _configuration(self, request: Request) -> Response:
        """Says where the keys are, which is known once the server listens."""
        return await self._issuer_pages()[identity.DISCOVERY_PATH](request)

    def _objects(self) -> WatchCache:
        if self._cache is None:
            raise RuntimeError("the server has no cache yet")
        return self._cache

    def _object(self, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return None if self._cache is None else self._cache.get(_BOUND[plural], namespace, name)
