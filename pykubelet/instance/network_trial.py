"""A pod network tried before a pod needs it: a scratch bridge and namespace, ADD, CHECK, DEL, all removed.

What the real plugins say of this host (a kernel without bridges, a plugin that is broken, addresses that
cannot be given) shows here, where it has a name, instead of in pods that wait.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from pathlib import Path

from cni.conflist import parse
from cni.invocation import PluginError
from cni.network import Network
from cni.node_network import NodeNetwork, render
from cni.plugins import Programs
from cni.results import Results
from cni.trial import Trial, try_network
from pykubelet.instance.facts import search_path
from pykubelet.instance.layout import Layout
from pykubelet.instance.network import choose_subnet, read_routes, routed_networks

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


async def try_host(directory: str) -> Trial:
    """With the plugins in `directory`; as root. Takes a fraction of a second."""
    name = f"pkd-{secrets.token_hex(3)}"
    subnet = choose_subnet(Layout.of(f"/{name}"), routed_networks(read_routes()))
    # The bridge plugin switches it on; whether it stays on is not a trial's to decide.
    forwarding = FORWARDING.read_text()
    with tempfile.TemporaryDirectory(prefix="pykubelet-") as scratch:
        network = NodeNetwork(name, name, (subnet,), str(Path(scratch, "leases")), has_portmap=False)
        try:
            opened = await Network.open(
                parse(render(network)), Programs((directory,)), Results(Path(scratch, "results"))
            )
            return await try_network(opened, name)
        except (PluginError, OSError) as error:
            return Trial(failed="VERSION", because=str(error))
        finally:
            _remove_bridge(name)
            if forwarding != FORWARDING.read_text():
                FORWARDING.write_text(forwarding)


def _remove_bridge(name: str) -> None:
    if Path("/sys/class/net", name).exists():
        subprocess.run(
            ["ip", "link", "delete", name], check=False, capture_output=True, env={"PATH": search_path()}
        )
