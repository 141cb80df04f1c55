"""One attachment tried out in a scratch network namespace: ADD, CHECK, DEL, and nothing left of it.

What `pykubelet doctor` runs, so that a host's network fault shows before a pod needs it. The namespace is
made by a child that only this module waits for; its name bears the process that tries.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cni import invocation
from cni.invocation import Attachment, PluginError
from cni.network import Network
from cni.plugins import Answer, search_path

NETNS_DIRECTORY = "/run/netns"
_IP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went. `failed` is the step that did, "" for none."""

    addresses: tuple[str, ...] = ()
    failed: str = ""
    because: str = ""

    @property
    def is_fine(self) -> bool:
        return not self.failed


async def try_network(network: Network, name: str) -> Trial:
    """`name` (of the namespace, and of the container towards the plugins) must be nobody else's."""
    made = await _ip("netns", "add", name)
    if made.code:
        return Trial(failed="namespace", because=made.errors)
    attachment = Attachment(name, netns=f"{NETNS_DIRECTORY}/{name}")
    step = "ADD"
    given: tuple[str, ...] = ()
    try:
        given = invocation.addresses(await network.add(attachment))
        step = "CHECK"
        await network.check(attachment)
        step = "DEL"
        await network.delete(attachment)
        return Trial(given)
    except (PluginError, OSError) as error:
        also = await _given_back(network, attachment) if step == "CHECK" else ""
        return Trial(given, step, "; ".join(filter(None, (str(error), also))))
    finally:
        await _ip("netns", "delete", name)


async def _given_back(network: Network, attachment: Attachment) -> str:
    """What keeps an attachment that is no good from being given back, "" for nothing."""
    try:
        await network.delete(attachment)
    except (PluginError, OSError) as error:
        return str(error)
    return ""


async def _ip(*words: str) -> Answer:
    try:
        process = await asyncio.create_subprocess_exec(
            "ip",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": search_path()},
        )
    except FileNotFoundError:
        return Answer(127, b"", 'the program "ip" is not installed')
    try:
        async with asyncio.timeout(_IP_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        return Answer(124, b"", f"ip did not end in {_IP_SECONDS:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Answer(process.returncode or 0, output, errors.decode("utf-8", "replace").strip())
