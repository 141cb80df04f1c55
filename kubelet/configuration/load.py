"""Files and flags to one effective configuration.

Order, as upstream: the file of --config, over it the drop-ins of --config-dir (`*.conf`, by name), then
defaults for what nobody set, then flags, then validation. `read_documents` is the only part that touches
the disk; `combine` is pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from kube import yaml
from kube.errors import InvalidObject, nearest_line
from kubelet.configuration import codec, effect, node_flags
from kubelet.configuration.errors import InvalidConfiguration
from kubelet.configuration.merge import merge_patch, resolve_paths
from kubelet.configuration.types import (
    API_VERSION,
    DEFAULT_EVICTION_HARD,
    KIND,
    KubeletConfiguration,
)
from kubelet.configuration.validation import PREFIX, validate
from kubelet.flags import Flags

DROP_IN_SUFFIX = ".conf"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The effective configuration, and what the user should be told about it."""

    config: KubeletConfiguration
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One configuration file as read."""

    path: str
    data: bytes


def load(flags: Flags) -> Loaded:
    """Read, merge, default and validate. Raises InvalidConfiguration with every fault found."""
    return combine(read_documents(flags.config, flags.config_dir), flags)


def read_documents(config: str, config_dir: str) -> list[SourceFile]:
    """The main file, then the drop-ins in the order they apply."""
    paths = [Path(config)] if config else []
    try:
        if config_dir:
            found = [path for path in Path(config_dir).iterdir() if path.suffix == DROP_IN_SUFFIX]
            paths += sorted((path for path in found if path.is_file()), key=lambda path: path.name)
        return [SourceFile(str(path.absolute()), path.read_bytes()) for path in paths]
    except OSError as err:
        name = err.filename or config_dir
        raise InvalidConfiguration([f'cannot read "{name}": {err.strerror}'], origin=str(name)) from err


def combine(files: Sequence[SourceFile], flags: Flags) -> Loaded:
    """The effective configuration of files (later ones win) and flags (they win over all)."""
    merged: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND}
    for file in files:
        document = parse_document(file)
        merged = merge_patch(merged, resolve_paths(document, posixpath.dirname(file.path)))
    config = codec.decode(merged)
    config = apply_overrides(config, flags.overrides)
    problems = [*node_flags.faults(flags), *validate(config)]
    if problems:
        raise InvalidConfiguration(problems)
    return Loaded(config, (*flags.warnings, *effect.warnings(config)))


def parse_document(file: SourceFile) -> dict[str, Any]:
    """One file's document, its own header and fields checked so that faults name the file and the line."""
    try:
        documents = yaml.load_all(file.data)
    except InvalidObject as err:
        raise InvalidConfiguration(err.located(file.path), origin=file.path) from err
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise InvalidConfiguration(["the file must hold one document, a map of fields"], origin=file.path)
    document = documents[0]
    problems = [error.located(file.path) for error in document.errors]
    for fault in codec.faults(document.value):
        line = nearest_line(fault.path, document.lines)
        problems.append(f"{file.path}:{line}: {fault.text}" if line else f"{file.path}: {fault.text}")
    if problems:
        raise InvalidConfiguration(problems, origin=file.path)
    return dict(document.value)


def apply_overrides(config: KubeletConfiguration, overrides: Mapping[str, Any]) -> KubeletConfiguration:
    """The configuration with the values of flags, by dotted JSON path.

    Feature gates of flags are laid over those of the file; everything else is replaced.
    """
    for path, value in overrides.items():
        if path == "featureGates":
            value = {**config.feature_gates, **value}
        config = _replace(config, path.split("."), value, path)
    if "evictionHard" in overrides and config.merge_default_eviction_settings:
        merged = DEFAULT_EVICTION_HARD | config.eviction_hard
        config = msgspec.structs.replace(config, eviction_hard=merged)
    return config


def _replace(node: Any, names: Sequence[str], value: Any, path: str) -> Any:
    for item in msgspec.structs.fields(node):
        if item.encode_name != names[0]:
            continue
        if len(names) > 1:
            value = _replace(getattr(node, item.name), names[1:], value, path)
        else:
            _check_range(get_type_hints(type(node), include_extras=True)[item.name], value, path)
        return msgspec.structs.replace(node, **{item.name: value})
    raise KeyError(path)


def _check_range(kind: Any, value: Any, path: str) -> None:
    """Flags carry Python integers: hold them to the field's width."""
    if isinstance(value, int) and get_origin(kind) is not None:
        meta = next((arg for arg in get_args(kind) if isinstance(arg, msgspec.Meta)), None)
        low, high = getattr(meta, "ge", None), getattr(meta, "le", None)
        if low is not None and high is not None and not low <= value <= high:
            raise InvalidConfiguration([f"{PREFIX}{path} {value} must be an integer of {low} to {high}"])
