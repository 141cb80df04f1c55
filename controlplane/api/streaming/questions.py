"""What a client asks of a pod, as what the pod's kubelet is asked: container, options, path (pure;
registry/core/pod/strategy.go LogLocation, ExecLocation, PortForwardLocation; ValidatePodLogOptions).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode

from controlplane.api.model import Request
from kube import errors, meta, status
from kube.client.model import JsonObject
from kube.errors import FieldError, InvalidObject
from kube.streams.protocols import Wanted

_STREAMS = ("All", "Stdout", "Stderr")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_POSITIVE = "must be greater than 0"


def flag(request: Request, name: str) -> bool:
    """As the API reads a boolean of a query: `name` alone is true (runtime.Convert_Slice_string_To_bool)."""
    values = request.query.get(name)
    return values is not None and values[0].lower() not in ("false", "0")


def choose_container(pod: JsonObject, name: str) -> str:
    """The one asked for, or the only one there is. BadRequest in words that list the choice."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    names = [one["name"] for one in spec.get("containers") or []]
    first = [one["name"] for one in spec.get("initContainers") or []]
    extra = [one["name"] for one in spec.get("ephemeralContainers") or []]
    if name:
        if name not in (*names, *first, *extra):
            raise status.bad_request(f"container {name} is not valid for pod {pod_name}")
        return name
    if len(names) == 1:
        return str(names[0])
    text = f"a container name must be specified for pod {pod_name}"
    if names:
        text += f", choose one of: [{' '.join(names)}]"
    if first:
        text += f" or one of the init containers: [{' '.join(first)}]"
    raise status.bad_request(text)


def log_query(request: Request, pod_name: str) -> list[tuple[str, str]]:
    """The options of a log, checked; as the kubelet takes them. BadRequest for what cannot be read, Invalid
    for what makes no sense."""
    query = [(name, "true") for name in ("follow", "previous", "timestamps") if flag(request, name)]
    numbers = {name: _number(request, name) for name in ("sinceSeconds", "tailLines", "limitBytes")}
    since = request.one("sinceTime")
    if since:
        try:
            meta.parse_time(since)
        except ValueError as error:
            raise status.bad_request(f'sinceTime: Invalid value: "{since}": {error}') from error
    stream = request.one("stream")
    wrong = _wrong_log_options(numbers, stream, has_since_time=bool(since))
    if wrong:
        found = errors.invalid_status(InvalidObject(tuple(wrong), "PodLogOptions", pod_name))
        raise status.error_of(found)
    if stream:
        query.append(("stream", stream))
    if since:
        query.append(("sinceTime", since))
    return query + [(name, str(number)) for name, number in numbers.items() if number is not None]


def _wrong_log_options(
    numbers: dict[str, int | None], stream: str, *, has_since_time: bool
) -> Iterable[FieldError]:
    tail, limit, seconds = numbers["tailLines"], numbers["limitBytes"], numbers["sinceSeconds"]
    found = []
    if tail is not None and tail < 0:
        found.append(errors.invalid("tailLines", tail, _NOT_NEGATIVE))
    if limit is not None and limit < 1:
        found.append(errors.invalid("limitBytes", limit, _POSITIVE))
    if seconds is not None and has_since_time:
        found.append(errors.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif seconds is not None and seconds < 1:
        found.append(errors.invalid("sinceSeconds", seconds, _POSITIVE))
    if stream and stream not in _STREAMS:
        found.append(errors.not_supported("stream", stream, _STREAMS))
    elif stream not in ("", "All") and tail is not None:
        detail = "`tailLines` and specific `stream` are mutually exclusive for now"
        found.append(errors.forbidden("", detail))
    return found


def _number(request: Request, name: str) -> int | None:
    text = request.one(name)
    if not text:
        return None
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 19):
        raise status.bad_request(f'{name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def log_path(pod: JsonObject, container: str, query: list[tuple[str, str]]) -> str:
    return _path("containerLogs", _names(pod, container), query)


def wanted_streams(request: Request) -> Wanted:
    tty = flag(request, "tty")
    return Wanted(
        stdin=flag(request, "stdin"),
        stdout=flag(request, "stdout"),
        stderr=flag(request, "stderr"),
        tty=tty,
    )


def command_path(kind: str, pod: JsonObject, container: str, request: Request) -> str:
    """`kind` is exec or attach."""
    names = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
    query = [(short, "1") for name, short in names.items() if flag(request, name)]
    if kind == "exec":
        query += [("command", word) for word in request.query.get("command", ())]
    return _path(kind, _names(pod, container), query)


def port_forward_path(pod: JsonObject, request: Request) -> str:
    """`ports` are for clients that do not name them per stream."""
    ports = [part for text in request.query.get("ports", ()) for part in text.split(",")]
    return _path("portForward", _names(pod), [("port", port) for port in ports])


def _names(pod: JsonObject, *more: str) -> tuple[str, ...]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"], *more


def _path(kind: str, names: Iterable[str], query: list[tuple[str, str]]) -> str:
    path = "/".join(("", kind, *(quote(name, safe="") for name in names)))
    return f"{path}?{urlencode(query)}" if query else path
