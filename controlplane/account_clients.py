"""Clients for controllers that run apart, each as its own service account.

The controller manager's own user may make the accounts and ask for their tokens, and little else. Tokens are
kept in files that only this process reads, and asked for anew long before they end.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from aio import log
from aio.clock import Clock
from controlplane.api.model import UserInfo
from controlplane.authn.identity import split_service_account
from kube import status
from kube.client import Client, Unreachable
from kube.client import resources as r
from kube.client.settings import NOTHING, Settings
from kube.errors import StatusError
from kube.files import write_atomically

_log = log.get(__name__)

TOKEN_SECONDS = 3600
RENEW_SECONDS = 0.8 * TOKEN_SECONDS
RETRY_SECONDS = 1.0

Make = Callable[[Settings], Client]


class AccountClients:
    """Made by `account_clients`; `keep` is a loop that somebody must run."""

    def __init__(self, own: Client, settings: Settings, make: Make, clock: Clock, directory: Path) -> None:
        """`settings` are those of `own`, the client that asks for tokens; `make` makes the others."""
        self._own = own
        self._settings = replace(settings, certificate=NOTHING, key=NOTHING, token="", basic=("", ""))
        self._make = make
        self._clock = clock
        self._directory = directory
        self._clients: dict[str, Client] = {}

    async def begin(self, users: Sequence[UserInfo]) -> None:
        """Tokens for all `users` that are service accounts; tried until the server gives them."""
        for name in dict.fromkeys(user.name for user in users):
            if split_service_account(name) is None:
                continue
            while not await self._renew(name):
                await self._clock.sleep(RETRY_SECONDS)
            settings = replace(self._settings, token_file=str(self._file(name)))
            self._clients[name] = self._make(settings)

    def client_as(self, user: UserInfo) -> Client:
        """After `begin`; for a user that is no service account the one that asked for the tokens."""
        return self._clients.get(user.name, self._own)

    async def keep(self) -> NoReturn:
        """Renew all tokens, for ever."""
        after = RENEW_SECONDS
        while True:
            await self._clock.sleep(after)
            renewed = [await self._renew(name) for name in self._clients]
            after = RENEW_SECONDS if all(renewed) else RETRY_SECONDS

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _renew(self, user: str) -> bool:
        """False when the server did not give one now."""
        found = split_service_account(user)
        if found is None:
            raise ValueError(f'"{user}" is no service account')
        try:
            token = await self._ask(*found)
        except (StatusError, Unreachable) as error:
            _log.warning("Cannot get a token", account=user, err=error)
            return False
        write_atomically(self._file(user), token.encode())
        return True

    async def _ask(self, namespace: str, name: str) -> str:
        try:
            await self._own.get(r.SERVICE_ACCOUNTS, name, namespace=namespace)
        except status.NotFound:
            metadata = {"name": name, "namespace": namespace}
            body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
            await self._own.create(r.SERVICE_ACCOUNTS, body)
        request = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }  # fmt: skip
        answer = await self._own.create(
            r.SERVICE_ACCOUNTS, request, namespace=namespace, name=name, subresource="token"
        )
        return str(answer["status"]["token"])

    def _file(self, user: str) -> Path:
        return self._directory / user.replace(":", "_")


@asynccontextmanager
async def account_clients(
    own: Client, settings: Settings, make: Make, clock: Clock
) -> AsyncIterator[AccountClients]:
    """With a directory for the tokens that goes with it."""
    with tempfile.TemporaryDirectory(prefix="kube-controlplane-") as directory:
        made = AccountClients(own, settings, make, clock, Path(directory))
        try:
            yield made
        finally:
            await made.close()
