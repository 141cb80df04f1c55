"""The API server's own certificates are made anew in time, and shown without a restart."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NoReturn

from aio import log
from aio.clock import Clock
from controlplane.access import Credentials
from kube.pki import BadCertificate

_log = log.get(__name__)

LOOK_SECONDS = 24 * 3600.0
"""Certificates last a year and are due at 70 % of it, so a day more or less is nothing."""

Keep = Callable[[datetime], Awaitable[Credentials]]


async def keep_renewed(keep: Keep, context: ssl.SSLContext, clock: Clock) -> NoReturn:
    """For ever: `keep` looks at the files and renews what is due; new connections get what is there then."""
    while True:
        await clock.sleep(LOOK_SECONDS)
        try:
            pair = (await keep(clock.now())).pki.serving
            context.load_cert_chain(pair.certificate, pair.key)
        except (BadCertificate, OSError) as error:
            _log.error("Cannot renew certificates, trying again tomorrow", err=error)
