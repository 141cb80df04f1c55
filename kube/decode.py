"""From the text of a manifest to Pods: read, check every field, fill in defaults, validate, and say all that
is wrong at once, each with its line and field path.

    for manifest in read_manifests(data):
        pod = manifest.accept(adapt)        # InvalidObject says everything that is wrong with this one

`adapt` is for what a source must put in before validation makes sense (a static pod's namespace and name).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kube import defaults, errors, objects, structure, yaml
from kube.errors import ErrorKind, FieldError, InvalidObject
from kube.json_text import Document
from kube.objects.core_v1 import Pod
from kube.validation import validate_pod

LIST_KINDS = ("PodList", "List")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One Pod of a manifest. `pod` is what could be read of it, with defaults (an empty Pod when it is not a
    pod at all); `value` is the same as JSON; `errors` is what is wrong with its structure; `path` is
    "items[1]" for the second pod of a list; `is_pod` is False for what is not even meant to be one."""

    pod: Pod
    value: dict[str, Any]
    errors: tuple[FieldError, ...] = ()
    path: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    is_pod: bool = True

    def accept(self, adapt: Callable[[Pod], Pod] = lambda pod: pod) -> Pod:
        """The adapted pod, when nothing is wrong with it; else InvalidObject, with lines."""
        pod = adapt(self.pod)
        broken = tuple(error.path for error in self.errors)
        found = list(self.errors)
        if self.is_pod:
            found += [
                replace(error, path=_below(self.path, error.path))
                for error in validate_pod(pod)
                if not _is_under(_below(self.path, error.path), broken)
            ]
        if found:
            raise InvalidObject(errors.at_lines(found, self.lines), "Pod", pod.metadata.name)
        return pod


def read_manifests(data: bytes | str) -> tuple[Manifest, ...]:
    """Every Pod in a YAML or JSON text: of each document, and of each PodList or List in it.
    InvalidObject when the text is neither, or has no document at all."""
    documents = yaml.load_all(data)
    if not documents:
        raise InvalidObject([FieldError("", "there is no object in it", ErrorKind.DECODE)])
    return tuple(manifest for document in documents for manifest in _pods_of(document))


def decode_pod(data: bytes | str, adapt: Callable[[Pod], Pod] = lambda pod: pod) -> Pod:
    """The one Pod of a text. InvalidObject with all that is wrong, also when there is not exactly one."""
    manifests = read_manifests(data)
    if len(manifests) != 1:
        message = f"there are {len(manifests)} pods in it, and one is expected"
        raise InvalidObject([FieldError("", message, ErrorKind.DECODE)])
    return manifests[0].accept(adapt)


def _pods_of(document: Document) -> Iterator[Manifest]:
    value = document.value
    if not isinstance(value, dict):
        yield _refused(document, FieldError("", "must be an object", ErrorKind.DECODE))
    elif value.get("kind") in LIST_KINDS and value.get("apiVersion") == "v1":
        yield from _items_of(document, value)
    else:
        yield _pod_of(document, value, "", "Pod")


def _items_of(document: Document, value: dict[str, Any]) -> Iterator[Manifest]:
    items = value.get("items")
    extra = [
        FieldError(key, f'unknown field "{key}"', ErrorKind.UNKNOWN_FIELD)
        for key in value
        if key not in ("apiVersion", "kind", "metadata", "items")
    ]
    if extra or not isinstance(items, list | None):
        wrong = extra or [FieldError("items", "must be a list", ErrorKind.TYPE_INVALID)]
        yield _refused(document, *wrong)
        return
    # Items of a PodList carry no kind of their own.
    implied = "Pod" if value["kind"] == "PodList" else ""
    for index, item in enumerate(items or ()):
        path = f"items[{index}]"
        if isinstance(item, dict):
            yield _pod_of(
                document, {"kind": implied, "apiVersion": "v1"} | item if implied else item, path, "Pod"
            )
        else:
            yield _refused(document, FieldError(path, "must be an object", ErrorKind.TYPE_INVALID), path=path)


def _pod_of(document: Document, value: dict[str, Any], path: str, kind: str) -> Manifest:
    known = [error for error in document.errors if not path or _is_under(error.path, (path,))]
    stranger = _check_kind(value, path, kind)
    if stranger is not None:
        return _refused(document, *known, stranger, path=path)
    checked = structure.check(value, "core_v1.Pod", path)
    filled = defaults.default_pod(checked.value)
    pod = objects.convert(filled, Pod)
    return Manifest(pod, filled, (*known, *checked.errors), path, document.lines)


def _check_kind(value: dict[str, Any], path: str, kind: str) -> FieldError | None:
    for name, expected, others in (("kind", kind, LIST_KINDS), ("apiVersion", "v1", ())):
        found = value.get(name)
        where = _below(path, name)
        if not found:
            return errors.required(where, f'must be "{expected}"')
        if found != expected:
            return errors.not_supported(where, found, (expected, *(() if path else others)))
    return None


def _refused(document: Document, *wrong: FieldError, path: str = "") -> Manifest:
    return Manifest(Pod(), {}, tuple(wrong), path, document.lines, is_pod=False)


def _below(path: str, field_path: str) -> str:
    return f"{path}.{field_path}" if path and field_path else path or field_path


def _is_under(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith((f"{root}.", f"{root}[")) for root in roots if root)
