"""Large answers made smaller for those who take gzip, in a thread (responsewriters: level 1 from 128 KiB)."""

from __future__ import annotations

import asyncio
import gzip

from kube.http_server.model import Request, Response

THRESHOLD_BYTES = 128 * 1024
LEVEL = 1


def is_worth_compressing(request: Request, response: Response) -> bool:
    if len(response.body) <= THRESHOLD_BYTES or "Content-Encoding" in response.headers:
        return False
    return takes_gzip(request.headers.get("accept-encoding", ""))


def takes_gzip(accept_encoding: str) -> bool:
    """Whether `gzip` is named, and not with a weight of nought."""
    for clause in accept_encoding.split(","):
        name, _, parameter = clause.partition(";")
        if name.strip().lower() == "gzip":
            weight = parameter.strip().lower().removeprefix("q=")
            return not weight or weight.strip("0.") != ""
    return False


async def compress(body: bytes) -> bytes:
    return await asyncio.to_thread(gzip.compress, body, LEVEL)
