"""One call of one plugin: what goes in, what comes out (pure).

CNI specification 1.1, sections 2 (protocol), 3 (execution), 5 (results and errors).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aio.errors import Retry
from cni.conflist import CHECK_SINCE, GC_SINCE, NetworkList, Plugin, is_at_least
from kube.errors import FieldError, InvalidObject, invalid

Json = dict[str, Any]

_CONTAINER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*\Z")
_LONGEST_INTERFACE = 15  # IFNAMSIZ less the closing zero

TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
"""STATUS: the plugin cannot serve ADD now."""


class Command(Enum):
    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    VERSION = "VERSION"
    STATUS = "STATUS"
    GC = "GC"


class PluginError(Retry):
    """A plugin that refused or failed. `code` is the specification's (section 5), 999 without an answer."""

    def __init__(self, plugin: str, command: str, code: int, text: str) -> None:
        super().__init__(f"cannot {command} with the network plugin {plugin!r}: because {text} (code {code})")
        self.plugin = plugin
        self.command = command
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's interface in a network. `netns` is a path, "" when the namespace is gone."""

    container_id: str
    interface: str = "eth0"
    netns: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)  # CNI_ARGS, as K8S_POD_NAME
    capabilities: Mapping[str, Any] = field(default_factory=dict)  # as portMappings

    def check(self) -> None:
        """InvalidObject for names that the specification forbids."""
        errors: list[FieldError] = []
        if not _CONTAINER_ID.match(self.container_id):
            errors.append(invalid("containerID", self.container_id, "is no container id"))
        if not is_interface_name(self.interface):
            errors.append(invalid("ifname", self.interface, "is no interface name"))
        errors += [
            invalid(f"args.{key}", value, "must not hold ';' or '='")
            for key, value in self.arguments.items()
            if ";" in f"{key}{value}" or "=" in key
        ]
        if errors:
            raise InvalidObject(errors, "attachment", self.container_id)


def is_interface_name(name: str) -> bool:
    is_special = name in ("", ".", "..") or any(char in "/:" or char.isspace() for char in name)
    return not is_special and len(name.encode()) <= _LONGEST_INTERFACE


def environment(command: Command, attachment: Attachment | None, path: Sequence[str]) -> dict[str, str]:
    """The CNI_* variables of a call."""
    found = {"CNI_COMMAND": command.value, "CNI_PATH": ":".join(path)}
    if attachment is not None:
        found["CNI_CONTAINERID"] = attachment.container_id
        found["CNI_IFNAME"] = attachment.interface
        if attachment.netns:
            found["CNI_NETNS"] = attachment.netns
        if attachment.arguments:
            found["CNI_ARGS"] = ";".join(f"{key}={value}" for key, value in attachment.arguments.items())
    return found


def execution_config(
    network: NetworkList,
    version: str,
    plugin: Plugin,
    attachment: Attachment | None = None,
    previous: Json | None = None,
) -> Json:
    """The configuration that one plugin reads: its own, less `capabilities`, with what the runtime adds."""
    config = {key: value for key, value in plugin.config.items() if key != "capabilities"}
    config["name"] = network.name
    config["cniVersion"] = version
    given = attachment.capabilities if attachment is not None else {}
    asked = {name: value for name, value in given.items() if name in plugin.capabilities}
    if asked:
        config["runtimeConfig"] = asked
    if previous is not None:
        config["prevResult"] = previous
    return config


def collection_config(
    network: NetworkList, version: str, plugin: Plugin, valid: Sequence[Attachment]
) -> Json:
    """What a plugin reads for GC: attachments that still are."""
    config = execution_config(network, version, plugin)
    config["cni.dev/valid-attachments"] = [
        {"containerID": one.container_id, "ifname": one.interface} for one in valid
    ]
    return config


def encode(config: Json) -> bytes:
    return json.dumps(config, separators=(",", ":")).encode()


def read_answer(plugin: str, command: Command, code: int, output: bytes) -> Json:
    """The result of a call, {} where the specification asks for none. PluginError when it failed."""
    try:
        answer = json.loads(output) if output.strip() else {}
    except ValueError as error:
        shown = output[:200].decode("utf-8", "replace")
        raise PluginError(plugin, command.value, 999, f"it wrote no JSON: {shown!r}") from error
    if not isinstance(answer, dict):
        raise PluginError(plugin, command.value, 999, "it wrote no JSON object")
    if code == 0 and "code" not in answer:
        return answer
    message = str(answer.get("msg") or f"it ended with status {code}")
    details = str(answer.get("details") or "")
    number = answer.get("code")
    text = f"{message}; {details}" if details else message
    raise PluginError(plugin, command.value, number if isinstance(number, int) else 999, text)


def addresses(result: Json) -> tuple[str, ...]:
    """The addresses with prefix lengths in a result of any version from 0.3.1 on."""
    listed = result.get("ips") or []
    return tuple(str(one["address"]) for one in listed if isinstance(one, dict) and "address" in one)


def choose_version(network: NetworkList, supported: Sequence[Sequence[str]]) -> str:
    """The newest of the list's versions that each of its plugins supports. PluginError when there is none."""
    for version in network.versions:
        if all(version in versions for versions in supported):
            return version
    newest = network.versions[0]
    raise PluginError(
        network.name, Command.VERSION.value, 1, f"its plugins do not all support version {newest}"
    )


def may_check(network: NetworkList, version: str) -> bool:
    return not network.disable_check and is_at_least(version, CHECK_SINCE)


def may_collect(network: NetworkList, version: str) -> bool:
    return not network.disable_gc and is_at_least(version, GC_SINCE)
