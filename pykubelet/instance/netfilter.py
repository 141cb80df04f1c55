"""The packet filter rules that CNI plugins made for one network, found and removed.

The bridge and portmap plugins go through iptables and put `name: "NETWORK"` into a comment of each rule. They
remove their rules with the pod; what is here is for pods that ended without that. An nftables table is
removed only when it came after `up` and holds nothing but the plugins' own empty frame; the table that bears
an instance's own name is removed with all it holds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from pykubelet.errors import CommandError
from pykubelet.instance.facts import search_path

# Chains that belong to one pod: CNI-<hash> (masquerade), CNI-DN-<hash> and CNI-SN-<hash> (hostPorts).
_POD_CHAIN = re.compile(r"^CNI-(?:DN-|SN-)?[0-9a-f]{5,}$")
_FRAME = ("CNI-HOSTPORT-",)
"""Chains that portmap makes once and never removes."""

SECONDS = 10.0
"""For one run of a program that does its work in milliseconds; a lock it waits for may be somebody else's."""

_FAMILIES = ("ip", "ip6")
_IPTABLES_TABLES = ("nat", "filter", "mangle", "raw")


def removal(saved: str, network: str) -> list[str]:
    """The lines for `iptables-restore --noflush` that remove a network's rules from `saved` (pure).

    `saved` is the output of `iptables-save -t nat`; the result is empty when there are none.
    """
    mark = f'name: \\"{network}\\"'
    deletions: list[str] = []
    chains: dict[str, None] = {}
    for line in saved.splitlines():
        words = line.split(" ")
        if not line.startswith("-A ") or mark not in line:
            continue
        target = words[words.index("-j") + 1] if "-j" in words else ""
        if _POD_CHAIN.match(target):
            chains[target] = None
        if _POD_CHAIN.match(words[1]):
            chains[words[1]] = None
        else:
            deletions.append("-D " + line.removeprefix("-A "))
    if not deletions and not chains:
        return []
    flushes, drops = [f"-F {chain}" for chain in chains], [f"-X {chain}" for chain in chains]
    return ["*nat", *deletions, *flushes, *drops, "COMMIT"]


def network_rules(network: str) -> list[str]:
    """What `removal` would do now."""
    program = shutil.which("iptables-save", path=search_path())
    if program is None:
        return []
    done = subprocess.run(
        [program, "-t", "nat"], check=False, capture_output=True, text=True, timeout=SECONDS
    )
    return removal(done.stdout, network)


def remove_network_rules(network: str) -> None:
    lines = network_rules(network)
    if lines:
        program = shutil.which("iptables-restore", path=search_path()) or "iptables-restore"
        text = "\n".join(lines) + "\n"
        subprocess.run(
            [program, "--noflush"], input=text, check=True, capture_output=True, text=True, timeout=SECONDS
        )


def tables() -> list[str]:
    """nftables tables as "FAMILY NAME", none without nft."""
    listing = _nft("list", "tables")
    return [line.removeprefix("table ").strip() for line in listing.splitlines() if line.strip()]


def put(ruleset: str) -> None:
    """Let nft carry out a text in one transaction. CommandError with what it says."""
    program = shutil.which("nft", path=search_path())
    if program is None:
        raise CommandError('cannot make the packet filter rules: because "nft" is not installed')
    done = subprocess.run(
        [program, "-f", "-"], input=ruleset, check=False, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise CommandError(f"cannot make the packet filter rules: because {done.stderr.strip()}")


def remove_table(name: str) -> None:
    """An instance's own table of the family ip, with all its rules."""
    if f"ip {name}" in tables():
        _nft("delete", "table", "ip", name)


def is_empty_frame(listing: str) -> bool:
    """Whether the listing of a table holds no rule but jumps into the plugins' frame (pure)."""
    chain = ""
    for line in listing.splitlines():
        words = line.split()
        if not words or words[0] in ("table", "type", "}", "#") or words == ["policy", "accept;"]:
            continue
        if words[0] == "chain":
            chain = words[1]
        elif not chain.startswith(_FRAME) and not any(name in line for name in _FRAME):
            return False
    return True


def remove_new_tables(before: Iterable[str]) -> None:
    """Remove tables that iptables made since `before` and that hold nothing of anybody."""
    for table in new_tables(before, tables()):
        if is_empty_frame(_nft("list", "table", *table.split())):
            _nft("delete", "table", *table.split())


def new_tables(before: Iterable[str], now: Sequence[str]) -> list[str]:
    """Those of iptables' own names that were not there before (pure)."""
    ours = {f"{family} {name}" for family in _FAMILIES for name in _IPTABLES_TABLES}
    return [table for table in now if table in ours and table not in set(before)]


def _nft(*words: str) -> str:
    program = shutil.which("nft", path=search_path())
    if program is None:
        return ""
    return subprocess.run(
        [program, *words], check=False, capture_output=True, text=True, timeout=SECONDS
    ).stdout
