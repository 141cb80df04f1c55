"""Clients of controllers that run apart: accounts made, tokens kept, renewed long before they end."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import NoReturn

import pytest

from aio import virtual
from aio.clock import VirtualClock
from controlplane.account_clients import RENEW_SECONDS, TOKEN_SECONDS, account_clients
from controlplane.components import account_of, system_user
from kube.client import Client, Unreachable
from kube.client import resources as r
from kube.client.settings import Material, Settings
from kube.fake import FakeApi, Pattern
from kube.fake.faults import SERVER

pytestmark = pytest.mark.sim

OWN = Settings("https://10.0.0.5:6443", ca=Material(data=b"CA"), certificate=Material(data=b"mine"))
USERS = [account_of(name) for name in ("replicaset-controller", "node-ipam-controller")]


def test_each_account_has_a_client_whose_token_never_ends() -> None:
    async def scenario(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        made: list[Settings] = []

        def make(settings: Settings) -> Client:
            made.append(settings)
            return api.client("account")

        own = api.client("manager")
        api.fail(Unreachable(SERVER, "it is not there yet"), Pattern("get"))
        async with account_clients(own, OWN, make, clock) as accounts:
            manager = system_user("system:kube-controller-manager")
            await accounts.begin([*USERS, USERS[0], manager])
            assert len(made) == 2, "one each"
            assert accounts.client_as(manager) is own
            assert accounts.client_as(USERS[0]) is not own
            names = [item["metadata"]["name"] for item in api.objects(r.SERVICE_ACCOUNTS, "kube-system")]
            assert sorted(names) == ["node-controller", "replicaset-controller"]
            for settings in made:
                assert (settings.server, settings.ca) == (OWN.server, OWN.ca)
                assert not settings.certificate, "not the manager's credentials"
                assert stat.S_IMODE(Path(settings.token_file).stat().st_mode) == 0o600
            await tokens_are_renewed(api, clock, [Path(one.token_file) for one in made], accounts.keep())
            directory = Path(made[0].token_file).parent
        assert not directory.exists()

    virtual.run(scenario)


async def tokens_are_renewed(
    api: FakeApi, clock: VirtualClock, files: list[Path], keeping: Coroutine[None, None, NoReturn]
) -> None:
    loop = asyncio.create_task(keeping)
    for file in files:
        file.write_text("old")
    api.fail(Unreachable(SERVER, "it is gone for a moment"), Pattern("create"))
    await clock.sleep(RENEW_SECONDS - 1)
    assert {file.read_text() for file in files} == {"old"}
    await clock.sleep(10)
    assert all(file.read_text() not in ("", "old") for file in files), "also after a failure"
    assert RENEW_SECONDS + 10 < TOKEN_SECONDS
    loop.cancel()
    await asyncio.wait((loop,))
