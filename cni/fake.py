"""Plugins in memory: a small true implementation of bridge, host-local and portmap together.

Any plugin name but those in `missing` can be called. The first plugin of a list hands out addresses from its
`ipam` range; the others pass the result on. Failures are asked for by (plugin, command).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cni.conflist import VERSIONS
from cni.invocation import PluginError
from cni.plugins import Answer


@dataclass(slots=True)
class FakePlugins:
    """`held` is address by (network, container, interface); `calls` are (plugin, command) in order."""

    supported: tuple[str, ...] = VERSIONS
    missing: frozenset[str] = frozenset()
    held: dict[tuple[str, str, str], str] = field(default_factory=dict)
    failing: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    configs: list[dict[str, Any]] = field(default_factory=list)
    hanging: tuple[str, str] | None = None  # (plugin, command) that never answers

    @property
    def path(self) -> Sequence[str]:
        return ("/fake",)

    async def call(self, plugin: str, variables: Mapping[str, str], config: bytes) -> Answer:
        command = variables["CNI_COMMAND"]
        if plugin in self.missing:
            raise PluginError(plugin, command, 999, "there is no such program in /fake")
        value = json.loads(config)
        self.calls.append((plugin, command))
        self.configs.append(value)
        if self.hanging == (plugin, command):
            await asyncio.get_running_loop().create_future()
        failure = self.failing.get((plugin, command))
        if failure is not None:
            return Answer(1, json.dumps({"cniVersion": value["cniVersion"], **failure}).encode())
        if value["cniVersion"] not in self.supported and command != "VERSION":
            return _refused(1, "incompatible CNI versions")
        return self._answer(command, variables, value)

    def _answer(self, command: str, variables: Mapping[str, str], value: dict[str, Any]) -> Answer:
        version = value["cniVersion"]
        if command == "VERSION":
            return _said({"cniVersion": version, "supportedVersions": list(self.supported)})
        key = (value["name"], variables.get("CNI_CONTAINERID", ""), variables.get("CNI_IFNAME", ""))
        match command:
            case "ADD":
                return self._add(key, variables, value)
            case "DEL":
                self.held.pop(key, None)
                return Answer(0, b"")
            case "CHECK":
                is_there = key in self.held or "ipam" not in value
                return Answer(0, b"") if is_there else _refused(3, "the container is not known")
            case "STATUS":
                return Answer(0, b"")
            case "GC":
                valid = value["cni.dev/valid-attachments"]
                kept = {(value["name"], one["containerID"], one["ifname"]) for one in valid}
                for gone in [one for one in self.held if one[0] == value["name"] and one not in kept]:
                    del self.held[gone]
                return Answer(0, b"")
        return _refused(4, f"unknown CNI_COMMAND: {command}")

    def _add(self, key: tuple[str, str, str], variables: Mapping[str, str], value: dict[str, Any]) -> Answer:
        if "prevResult" in value:
            return _said(value["prevResult"])
        if "CNI_NETNS" not in variables:
            return _refused(4, "required env variables [CNI_NETNS] missing")
        if key in self.held:
            return _refused(4, f"{key[1]} has an address already")
        subnet = ipaddress.ip_network(value["ipam"]["ranges"][0][0]["subnet"])
        taken = set(self.held.values())
        # The first host address is the gateway's.
        free = (host for index, host in enumerate(subnet.hosts()) if index and str(host) not in taken)
        address = next(free, None)
        if address is None:
            return _refused(11, "no IP addresses available in range set")
        self.held[key] = str(address)
        ip = {"address": f"{address}/{subnet.prefixlen}", "gateway": str(subnet[1]), "interface": 0}
        interface = {"name": key[2], "sandbox": variables["CNI_NETNS"]}
        return _said({"cniVersion": value["cniVersion"], "interfaces": [interface], "ips": [ip], "dns": {}})


def _said(value: dict[str, Any]) -> Answer:
    return Answer(0, json.dumps(value).encode())


def _refused(code: int, message: str) -> Answer:
    return Answer(1, json.dumps({"cniVersion": VERSIONS[-1], "code": code, "msg": message}).encode())
