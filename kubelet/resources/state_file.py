"""cpu_manager_state and memory_manager_state in the agent's directory, with upstream's names, keys and sums.

A file that cannot be read, whose sum is wrong or that another policy wrote is put aside under a new name and
said; the caller starts afresh and takes back from the pods what they hold. Every function blocks on the disk
and belongs in the "fsync" executor; OSError (a full disk) reaches the caller, with the old file untouched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubelet.resources import checksum
from kubelet.resources.cpu_static import CpuState
from kubelet.resources.cpuset import BadCpuSet, parse, text_of
from kubelet.resources.memory_static import Block, MemoryState, NodeState, Table

CPU_FILE = "cpu_manager_state"
MEMORY_FILE = "memory_manager_state"
ASIDE = ".aside"
_MODE = 0o600


class ForeignState(ValueError):
    """The file is not one to go on from; the message says why."""


def write_cpus(directory: Path, policy: str, state: CpuState) -> None:
    """Replace the file; it survives a power cut once this returns."""
    entries = {
        uid: {name: text_of(cpus) for name, cpus in sorted(boxes.items())}
        for uid, boxes in sorted(state.assignments.items())
    }
    default = text_of(state.default)
    content: dict[str, Any] = {"policyName": policy, "defaultCpuSet": default}
    if entries:
        content["entries"] = entries
    content["checksum"] = checksum.of_cpus(policy, default, entries)
    _replace(directory / CPU_FILE, content)


def read_cpus(directory: Path, policy: str) -> CpuState | None:
    """The state, None when there is no file. ForeignState."""
    content = _load(directory / CPU_FILE)
    return None if content is None else decode_cpus(content, policy)


def decode_cpus(content: Mapping[str, Any], policy: str) -> CpuState:
    """The members of a file, of versions 2 to 4. ForeignState."""
    inner = _payload(content)
    try:
        name = inner["policyName"]
        default = next(inner[key] for key in inner if key.lower() == "defaultcpuset")
        entries = inner.get("entries") or {}
        if inner is content and "podEntries" not in content:
            _check(content, checksum.of_cpus(name, default, entries))
        state = CpuState(
            parse(default),
            {uid: {box: parse(text) for box, text in boxes.items()} for uid, boxes in entries.items()},
        )
    except ForeignState:
        raise
    except BadCpuSet as error:
        raise ForeignState(f"could not parse CPU set: {error}") from error
    except (KeyError, StopIteration, TypeError, ValueError, AttributeError) as error:
        raise ForeignState(f"checkpoint is corrupted: {error!r}") from error
    if name != policy:
        raise ForeignState(f'configured policy "{policy}" differs from state checkpoint policy "{name}"')
    return state


def write_memory(directory: Path, policy: str, state: MemoryState) -> None:
    """Replace the file; it survives a power cut once this returns."""
    content: dict[str, Any] = {"policyName": policy, "machineState": _machine(state.nodes)}
    if state.blocks:
        content["entries"] = {
            uid: {
                name: [
                    {"numaAffinity": list(one.nodes), "type": one.resource, "size": one.size}
                    for one in blocks
                ]
                for name, blocks in boxes.items()
            }
            for uid, boxes in state.blocks.items()
        }
    content["checksum"] = checksum.of_memory(policy, state.nodes, state.blocks)
    _replace(directory / MEMORY_FILE, content)


def read_memory(directory: Path, policy: str) -> MemoryState | None:
    """The state, None when there is no file. ForeignState."""
    content = _load(directory / MEMORY_FILE)
    return None if content is None else decode_memory(content, policy)


def decode_memory(content: Mapping[str, Any], policy: str) -> MemoryState:
    """The members of a file, of versions 1 to 3. ForeignState."""
    inner = _payload(content)
    try:
        name = inner["policyName"]
        nodes = {int(number): _node(node) for number, node in inner["machineState"].items()}
        blocks = {
            uid: {
                box: tuple(Block(tuple(one["numaAffinity"]), one["type"], one["size"]) for one in of)
                for box, of in boxes.items()
            }
            for uid, boxes in (inner.get("entries") or {}).items()
        }
        if inner is content and "podEntries" not in content:
            _check(content, checksum.of_memory(name, nodes, blocks))
    except ForeignState:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForeignState(f"checkpoint is corrupted: {error!r}") from error
    if name != policy:
        raise ForeignState(
            f'[memorymanager] configured policy "{policy}" differs from state checkpoint policy "{name}"'
        )
    return MemoryState(nodes, blocks)


def set_aside(directory: Path, name: str) -> Path:
    """Rename a file that cannot be used to the first free NAME.aside, NAME.aside.1 ... Its new path."""
    source, target, number = directory / name, directory / f"{name}{ASIDE}", 0
    while target.exists():
        number += 1
        target = directory / f"{name}{ASIDE}.{number}"
    source.replace(target)
    return target


def _load(path: Path) -> dict[str, Any] | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ForeignState(f"checkpoint is corrupted: {error}") from error
    if not isinstance(content, dict):
        raise ForeignState("checkpoint is corrupted: not a JSON object")
    return content


def _payload(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The members to trust: those in "data" when there is one, with its own sum; else the file's."""
    data = content.get("data")
    if not data:
        return content
    if not isinstance(data, str) or checksum.of_text(data) != content.get("dataChecksum"):
        raise ForeignState("checkpoint is corrupted: dataChecksum does not match")
    try:
        inner = json.loads(data)
    except ValueError as error:
        raise ForeignState(f"checkpoint is corrupted: {error}") from error
    if not isinstance(inner, dict):
        raise ForeignState("checkpoint is corrupted: data is not a JSON object")
    return inner


def _check(content: Mapping[str, Any], expected: int) -> None:
    """A sum of 0, or none, is accepted as upstream does: writers that do not know it leave it so."""
    if content.get("checksum", 0) not in (0, expected):
        raise ForeignState("checkpoint is corrupted: checksum does not match")


def _node(node: Mapping[str, Any]) -> NodeState:
    tables = {
        name: Table(
            table["total"], table["systemReserved"], table["allocatable"], table["reserved"], table["free"]
        )
        for name, table in node["memoryMap"].items()
    }
    return NodeState(node["numberOfAssignments"], tables, tuple(node["cells"] or ()))


def _machine(nodes: Mapping[int, NodeState]) -> dict[str, Any]:
    return {
        str(number): {
            "numberOfAssignments": node.assignments,
            "memoryMap": {
                name: {
                    "total": table.total,
                    "systemReserved": table.system_reserved,
                    "allocatable": table.allocatable,
                    "reserved": table.reserved,
                    "free": table.free,
                }
                for name, table in node.tables.items()
            },
            "cells": list(node.cells),
        }
        for number, node in nodes.items()
    }


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        with open(handle, "wb") as file:
            file.write(json.dumps(content, separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
