"""Rules handed to the kernel: one run of `nft -f -`, one transaction."""

from __future__ import annotations

import asyncio

from aio.errors import Retry, cannot
from cni.plugins import search_path

SECONDS = 10.0


class RulesError(Retry):
    """nft is not installed, did not end, or refused; nothing was changed."""


async def apply(text: str) -> None:
    """Take `text` (of cni.filter_table) as a whole or not at all. RulesError."""
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": search_path()},
        )
    except OSError as error:
        raise RulesError(cannot("write packet rules", f"nft cannot be run: {error.strerror}")) from error
    try:
        async with asyncio.timeout(SECONDS):
            _, errors = await process.communicate(text.encode())
    except TimeoutError as error:
        raise RulesError(cannot("write packet rules", f"nft did not end in {SECONDS:g} s")) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RulesError(cannot("write packet rules", errors.decode("utf-8", "replace").strip()))
