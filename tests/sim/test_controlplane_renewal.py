"""The server's certificates in time: looked at every day, renewed when due, shown to new connections."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from controlplane.access import Credentials
from controlplane.credentials import keep_pki
from controlplane.renewal import LOOK_SECONDS, keep_renewed
from kube import pki

pytestmark = pytest.mark.sim


class Showing(ssl.SSLContext):
    """Remembers which certificates it was given."""

    shown: list[bytes]

    def load_cert_chain(self, certfile: object, keyfile: object = None, password: object = None) -> None:
        self.shown.append(Path(str(certfile)).read_bytes())


def test_a_certificate_is_renewed_in_time_and_a_failure_is_tried_again(tmp_path: Path) -> None:
    async def scenario(clock: VirtualClock) -> None:
        context = Showing(ssl.PROTOCOL_TLS_SERVER)
        context.shown = []
        asked: list[datetime] = []

        async def keep(now: datetime) -> Credentials:
            asked.append(now)
            if len(asked) == 2:
                raise OSError("the disk is gone for a day")
            made = keep_pki(tmp_path, hosts=(), service_ip="10.96.0.1", now=now)
            return Credentials(made, b"", b"", b"")

        await keep(clock.now() - timedelta(days=245))
        loop = asyncio.create_task(keep_renewed(keep, context, clock))
        for _ in range(20):
            await clock.sleep(LOOK_SECONDS)
            if context.shown:
                facts = pki.read_certificate(context.shown[-1])
                assert clock.now() < facts.not_before + timedelta(days=365), "never one that has ended"
        loop.cancel()
        await asyncio.wait((loop,))
        assert len(asked) >= 20
        assert len(set(context.shown)) == 2, "renewed once, at 70 % of the year"

    virtual.run(scenario)
