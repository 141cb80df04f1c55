"""Validate what every object carries: names, namespace, labels, annotations, owners, finalizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kube import errors
from kube.errors import FieldError
from kube.objects.meta_v1 import ObjectMeta
from kube.validation import names

# Sum of keys and values (apimachinery ValidateAnnotationsSize).
ANNOTATIONS_MAX_BYTES = 256 * 1024


def validate_metadata(
    meta: ObjectMeta, *, namespaced: bool, name: names.Check, path: str = "metadata"
) -> Iterator[FieldError]:
    """`name` says what this kind's names look like."""
    if meta.generate_name:
        # The generated part follows, so a dash may end the prefix.
        prefix = meta.generate_name.removesuffix("-") + "x" * meta.generate_name.endswith("-")
        for message in name(prefix):
            yield errors.invalid(f"{path}.generateName", meta.generate_name, message)
    if meta.name:
        yield from names.each(f"{path}.name", meta.name, name)
    elif not meta.generate_name:
        yield errors.required(f"{path}.name", "name or generateName is required")
    if namespaced:
        yield from names.required_name(f"{path}.namespace", meta.namespace, names.dns_label)
    elif meta.namespace:
        yield errors.forbidden(f"{path}.namespace", "not allowed on this type")
    if (meta.generation or 0) < 0:
        yield errors.invalid(f"{path}.generation", meta.generation, "must be greater than or equal to 0")
    yield from names.labels(f"{path}.labels", meta.labels)
    yield from validate_annotations(meta.annotations, f"{path}.annotations")
    yield from _owners(meta, f"{path}.ownerReferences")
    for index, finalizer in enumerate(meta.finalizers):
        yield from names.each(f"{path}.finalizers[{index}]", finalizer, names.qualified_name)


def validate_annotations(annotations: Mapping[str, str], path: str) -> Iterator[FieldError]:
    for key in annotations:
        # Keys may have upper case in their prefix, which labels may not.
        for message in names.qualified_name(key.lower()):
            yield errors.invalid(path, key, message)
    if (
        sum(len(key.encode()) + len(text.encode()) for key, text in annotations.items())
        > ANNOTATIONS_MAX_BYTES
    ):
        yield errors.too_long(path, ANNOTATIONS_MAX_BYTES)


def _owners(meta: ObjectMeta, path: str) -> Iterator[FieldError]:
    controller = ""
    for index, owner in enumerate(meta.owner_references):
        at = f"{path}[{index}]"
        if not owner.api_version:
            yield errors.invalid(f"{at}.apiVersion", owner.api_version, "version must not be empty")
        for field, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
            if not value:
                yield errors.invalid(f"{at}.{field}", value, "must not be empty")
        if owner.controller and controller:
            message = (
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {owner.name}"
            )
            yield errors.invalid(path, owner.name, message)
        if owner.controller:
            controller = owner.name
