"""Between a configuration document (plain JSON values) and `KubeletConfiguration`.

Pure. `decode` is strict: it walks the document along the types and reports every unknown field and every
wrong type by its full name, not only the first. `encode` gives the JSON form that /configz shows. Defaults
follow upstream: a field that is absent or null gets its default, and so does a zero where
`ZERO_MEANS_DEFAULT` says so.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from kube.go_duration import format_duration, parse_duration
from kubelet.configuration.errors import InvalidConfiguration
from kubelet.configuration.types import (
    API_VERSION,
    DEFAULT_EVICTION_HARD,
    KIND,
    ZERO_MEANS_DEFAULT,
    KubeletConfiguration,
)

Json = Any  # what a JSON document holds: dict, list, str, int, float, bool, None

_KIND_WORDS = {
    dict: "a map",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document: the full name of the field, and the sentence."""

    path: str
    text: str


def faults(document: Mapping[str, Json]) -> list[Fault]:
    """Every unknown field and wrong type of one document, header included."""
    found: list[Fault] = []
    _check_header(document, found)
    _decode_struct(KubeletConfiguration, _body(document), "", found)
    return found


def decode(document: Mapping[str, Json]) -> KubeletConfiguration:
    """The effective configuration of a merged document, defaults applied, not yet validated.

    Raises InvalidConfiguration naming every unknown field and wrong type.
    """
    problems: list[Fault] = []
    _check_header(document, problems)
    body = _body(document)
    config = _decode_struct(KubeletConfiguration, body, "", problems)
    if problems:
        raise InvalidConfiguration([fault.text for fault in problems])
    return apply_dependent_defaults(config, frozenset(k for k, v in body.items() if v is not None))


def _body(document: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}


def _check_header(document: Mapping[str, Json], problems: list[Fault]) -> None:
    """Both apiVersion and kind must be there and be ours."""
    for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        found = document.get(key)
        if found is None:
            problems.append(Fault(key, f'{key}: must be "{wanted}", and is missing'))
        elif found != wanted:
            problems.append(Fault(key, f'{key}: must be "{wanted}", not {_quoted(found)}'))


def apply_dependent_defaults(config: KubeletConfiguration, given: frozenset[str]) -> KubeletConfiguration:
    """Defaults that look at other fields. `given` holds the JSON names that the document sets."""
    changes: dict[str, Json] = {}
    if "nodeStatusUpdateFrequency" in given and "nodeStatusReportFrequency" not in given:
        changes["node_status_report_frequency"] = config.node_status_update_frequency
    if "serializeImagePulls" not in given:
        changes["serialize_image_pulls"] = (config.max_parallel_image_pulls or 0) < 2
    if config.merge_default_eviction_settings:
        changes["eviction_hard"] = DEFAULT_EVICTION_HARD | config.eviction_hard
    if config.pod_pids_limit < 0:
        changes["pod_pids_limit"] = -1
    return msgspec.structs.replace(config, **changes) if changes else config


def decode_value(kind: Any, value: Json, path: str, problems: list[Fault]) -> Json:
    """`value` as the annotated type `kind`; a fault is added to `problems` and None returned."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, meta = get_args(kind)
        return _decode_scalar(base, meta, value, path, problems)
    if origin in (Union, types.UnionType):
        inner = next(arg for arg in get_args(kind) if arg is not type(None))
        return None if value is None else decode_value(inner, value, path, problems)
    if origin is tuple:
        return _decode_list(get_args(kind)[0], value, path, problems)
    if origin is dict:
        return _decode_map(get_args(kind)[1], value, path, problems)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not isinstance(value, dict):
            return _wrong(path, "a map", value, problems)
        return _decode_struct(kind, value, path, problems)
    return _decode_scalar(kind, None, value, path, problems)


def _decode_struct(kind: type[Any], value: Mapping[str, Json], path: str, problems: list[Fault]) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    fields = {item.encode_name: item for item in msgspec.structs.fields(kind)}
    unknown = [_join(path, name) for name in value if name not in fields]
    problems.extend(Fault(name, f'unknown field "{name}"') for name in unknown)
    found: dict[str, Json] = {}
    for name, item in fields.items():
        at = _join(path, name)
        given = value.get(name)
        if given is None:
            if item.required:
                problems.append(Fault(at, f"{at}: is required"))
            continue
        result = decode_value(hints[item.name], given, at, problems)
        if result or at not in ZERO_MEANS_DEFAULT:
            found[item.name] = result
    try:
        return kind(**found)
    except TypeError:
        return None  # a required field is missing: already among the problems


def _decode_list(kind: Any, value: Json, path: str, problems: list[Fault]) -> Json:
    if not isinstance(value, list):
        return _wrong(path, "a list", value, problems)
    return tuple(decode_value(kind, item, f"{path}[{i}]", problems) for i, item in enumerate(value))


def _decode_map(kind: Any, value: Json, path: str, problems: list[Fault]) -> Json:
    if not isinstance(value, dict):
        return _wrong(path, "a map", value, problems)
    return {key: decode_value(kind, item, f"{path}[{key}]", problems) for key, item in value.items()}


def _decode_scalar(kind: type, meta: Any, value: Json, path: str, problems: list[Fault]) -> Json:
    if meta is not None and (meta.extra or {}).get("text") == "duration":
        return _decode_duration(value, path, problems)
    if kind is bool:
        return (
            value if isinstance(value, bool) else _wrong(path, "a boolean (true or false)", value, problems)
        )
    if kind is str:
        return value if isinstance(value, str) else _wrong(path, "a string", value, problems)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _wrong(path, "an integer" if kind is int else "a number", value, problems)
    if kind is float:
        return float(value)
    if value != int(value):
        return _wrong(path, "an integer", value, problems)
    if meta is not None and not meta.ge <= value <= meta.le:
        return _wrong(path, f"an integer of {meta.ge} to {meta.le}", value, problems)
    return int(value)


def _decode_duration(value: Json, path: str, problems: list[Fault]) -> Json:
    if not isinstance(value, str):
        return _wrong(path, 'a duration such as "10s" or "1m30s"', value, problems)
    try:
        return parse_duration(value)
    except ValueError as err:
        problems.append(Fault(path, f"{path}: {err}"))
        return None


def _wrong(path: str, wanted: str, value: Json, problems: list[Fault]) -> None:
    problems.append(Fault(path, f"{path}: must be {wanted}, not {_quoted(value)}"))


def _quoted(value: Json) -> str:
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return _KIND_WORDS.get(type(value), type(value).__name__)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def encode(config: KubeletConfiguration) -> dict[str, Json]:
    """The JSON form of the effective configuration, with apiVersion and kind, as /configz shows it.

    Empty texts, lists, maps and unset values are left out as upstream's omitempty does; booleans, numbers and
    durations are always there.
    """
    return {"apiVersion": API_VERSION, "kind": KIND} | _encode_struct(config)


def _encode_struct(value: Any) -> dict[str, Json]:
    hints = get_type_hints(type(value), include_extras=True)
    result: dict[str, Json] = {}
    for item in msgspec.structs.fields(value):
        part = encode_value(hints[item.name], getattr(value, item.name))
        # enforceNodeAllocatable: [] is a choice of its own and must stay visible
        if part not in (None, "", [], {}) or item.encode_name == "enforceNodeAllocatable":
            result[item.encode_name] = part
    return result


def encode_value(kind: Any, value: Any) -> Json:
    """One value in its JSON form: durations as Go text, structs as maps."""
    if get_origin(kind) is Annotated and (get_args(kind)[1].extra or {}).get("text") == "duration":
        return format_duration(value)
    if isinstance(value, msgspec.Struct):
        return _encode_struct(value)
    if isinstance(value, tuple):
        return [encode_value(None, item) for item in value]
    if isinstance(value, dict):
        return {key: encode_value(None, item) for key, item in value.items()}
    return value
