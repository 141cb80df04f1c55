"""Writing: a body becomes an object by the rules of its kind, and goes into the store exactly once.

    structure -> registry's rules -> defaults -> admission changes -> validation -> admission agrees -> store

A change of an existing object is a function of what is stored, and is made again when somebody writes in
between, unless the writer named the version it had seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace

from aio.clock import Clock
from controlplane.allocation.follow import Addresses
from controlplane.api import codec, managed
from controlplane.api.model import AdmissionPlugin, Attributes, RequestInfo, UserInfo, bare
from controlplane.api.registry import validation
from controlplane.api.registry.model import Kind, ValidateUpdate
from controlplane.api.turns import Turns
from controlplane.api.uids import Uids
from controlplane.api.watchcache import Cached, WatchCache
from controlplane.store.errors import Conflict, Exists, NotFound, TooLarge
from controlplane.store.model import Store
from kube import errors, rules, status, structure
from kube.client.model import DeleteOptions, JsonObject, copy
from kube.client.resources import SERVICES, Resource
from kube.errors import ErrorKind, InvalidObject, Status, join_errors

ATTEMPTS = 8
"""At a change that others disturb, and at a name that is taken."""
# names.SimpleNameGenerator
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_BASE_LENGTH = 58

Make = Callable[[JsonObject], JsonObject]
Owners = Callable[[], Sequence[JsonObject]]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and how: what a request adds to its body. `warnings` collects what is not refused."""

    user: UserInfo
    info: RequestInfo
    warnings: list[str]
    dry_run: bool = False
    field_validation: str = "Ignore"
    manager: str = ""
    """As managedFields name the writer."""
    noted: list[str] = field(default_factory=list)
    """What is wrong with the body as a text; it is told together with what is wrong with its fields."""


@dataclass(frozen=True, slots=True)
class Part:
    """What an update is of: the object but for its status, or a subresource with rules of its own.
    `owners` of an apply are the managedFields that belong to its last change."""

    subresource: str = ""
    validate: ValidateUpdate | None = None
    owners: Owners | None = None


WHOLE = Part()


class Storage:
    def __init__(
        self, store: Store, cache: WatchCache, clock: Clock, admission: Sequence[AdmissionPlugin] = (),
        addresses: Addresses | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._addresses = addresses
        self.cache = cache
        self._clock = clock
        self._admission = tuple(admission)
        self._random = random.Random()
        self._new_uid = Uids()
        self._turns = Turns()

    async def read(self, kind: Kind, namespace: str, name: str, *, latest: bool = True) -> Cached:
        """NotFound when there is none. `latest` waits for every write that has returned."""
        if latest:
            await self.cache.reach_latest()
        found = self.cache.of(kind.resource).get(namespace, name)
        if found is None:
            raise status.not_found(kind.resource, name)
        return found

    async def create(
        self, kind: Kind, namespace: str, body: JsonObject, writer: Writer, owners: Owners | None = None
    ) -> bytes:
        """The stored object as it is sent. It has `owners` where it is created by an apply."""
        checked = self._check(kind, body, writer)
        base = bare(checked.get("metadata")).get("generateName", "")
        is_generated = bool(base) and not bare(checked.get("metadata")).get("name")
        for _ in range(ATTEMPTS):
            value = self._named(checked, base) if is_generated else checked
            value = rules.created(kind.resource, value, namespace, self._moment())
            kind.default(value)
            value = await self._admit(kind, value, None, writer)
            if owners or managed.FIELD in value["metadata"]:
                value = managed.with_owners(value, owners() if owners else ())
            try:
                async with self._given(kind, value, None, writer):
                    _validate(kind, value, None, WHOLE)
                    kind.complete(value)
                    await self._agree(kind, value, None, writer)
                    return await self._create(kind, value, writer)
            except Exists:
                if not is_generated:
                    raise status.already_exists(kind.resource, value["metadata"]["name"]) from None
        raise _no_free_name(kind.resource, base)

    async def update(
        self, kind: Kind, namespace: str, name: str, change: Make, writer: Writer, part: Part = WHOLE
    ) -> bytes:  # fmt: skip
        """`change` makes the new object of the stored one, which it must leave alone. It is the caller's
        work to check the body's type. Returns the object as it is sent."""
        async with self._turns.of(kind.key(namespace, name)):
            return await self._update(kind, namespace, name, change, writer, part)

    async def _update(
        self, kind: Kind, namespace: str, name: str, change: Make, writer: Writer, part: Part
    ) -> bytes:  # fmt: skip
        for _ in range(ATTEMPTS):
            old = await self.read(kind, namespace, name)
            stored = copy(old.value)
            wanted = self._check(kind, change(copy(stored)), writer)
            if not part.subresource:
                kind.default(wanted)
            value = rules.updated(kind.resource, stored, wanted, part.subresource)
            value = await self._admit(kind, value, stored, writer)
            if part.owners:
                value = managed.settled(managed.with_owners(value, part.owners()), stored)
            elif managed.is_tracked(value, stored):
                origin = managed.Origin(writer.manager, writer.info.subresource)
                value = managed.tracked(kind, value, stored, origin, self._clock.now())
            try:
                async with self._given(kind, value, stored, writer):
                    _validate(kind, value, stored, part)
                    await self._agree(kind, value, stored, writer)
                    return old.raw if value == stored else await self._replace(kind, old, value, writer)
            except Conflict:
                continue
            except NotFound:
                raise status.not_found(kind.resource, name) from None
        raise status.modified(kind.resource, name)

    async def delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions, writer: Writer
    ) -> tuple[bytes, bool]:
        """What is left, or the last state, as it is sent; and whether it is gone."""
        async with self._turns.of(kind.key(namespace, name)):
            return await self._delete(kind, namespace, name, options, writer)

    async def _delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions, writer: Writer
    ) -> tuple[bytes, bool]:
        for _ in range(ATTEMPTS):
            old = await self.read(kind, namespace, name)
            rules.check_preconditions(kind.resource, old.value, options)
            await self._agree(kind, None, old.value, writer)
            left = rules.deleted(kind.resource, old.value, options, self._clock.now())
            is_dry = options.dry_run or writer.dry_run
            if is_dry or left == old.value:
                return (codec.encode(left) if left else old.raw), left is None
            marked = rules.marked_by_force(kind.resource, old.value, options, self._clock.now())
            try:
                if marked is not None:
                    await self._put(kind, old, marked)
                    options = replace(options, resource_version="")  # held, and is another one now
                    continue
                if left is None:
                    return await self._remove(kind, old), True
                return await self._put(kind, old, left), False
            except Conflict:
                continue
            except NotFound:
                raise status.not_found(kind.resource, name) from None
        raise status.modified(kind.resource, name)

    async def admit(self, attributes: Attributes) -> None:
        """Ask admission about a create that is stored nowhere: a review, a token."""
        for plugin in self._admission:
            if plugin.handles(attributes):
                await plugin.validate(attributes, self.cache)

    # --- parts ---

    def _check(self, kind: Kind, body: JsonObject, writer: Writer) -> JsonObject:
        """The body without what no field is for; BadRequest for what does not fit."""
        checked = structure.check(body, kind.type_name)
        unknown = [str(e) for e in checked.errors if e.kind is ErrorKind.UNKNOWN_FIELD]
        wrong = [e for e in checked.errors if e.kind is not ErrorKind.UNKNOWN_FIELD]
        if wrong:
            name = f'{kind.resource.kind} in version "{kind.resource.version}"'
            message = f"{name} cannot be handled as a {kind.resource.kind}: {join_errors(wrong)}"
            raise status.bad_request(message)
        note_strict(unknown, writer)
        value: JsonObject = checked.value
        return value

    def _given(
        self, kind: Kind, value: JsonObject, old: JsonObject | None, writer: Writer
    ) -> AbstractAsyncContextManager[None]:
        """While it is written: what the server gives to objects of this kind."""
        if self._addresses is None or kind.resource != SERVICES:
            return nullcontext()
        return self._addresses.given(value, old, dry_run=writer.dry_run)

    async def _admit(
        self, kind: Kind, value: JsonObject, old: JsonObject | None, writer: Writer
    ) -> JsonObject:
        attributes = Attributes(writer.user, writer.info, kind.resource, value, old, writer.dry_run)
        for plugin in self._admission:
            if plugin.handles(attributes):
                changed = await plugin.mutate(attributes, self.cache)
                if changed is not value:
                    value = changed
                    attributes = replace(attributes, value=value)
        return value

    async def _agree(
        self, kind: Kind, value: JsonObject | None, old: JsonObject | None, writer: Writer
    ) -> None:
        await self.admit(Attributes(writer.user, writer.info, kind.resource, value, old, writer.dry_run))

    async def _create(self, kind: Kind, value: JsonObject, writer: Writer) -> bytes:
        meta = value["metadata"]
        key = kind.key(meta.get("namespace", ""), meta["name"])
        if writer.dry_run:
            await self.cache.reach_latest()
            if self.cache.of(kind.resource).get(meta.get("namespace", ""), meta["name"]):
                raise status.already_exists(kind.resource, meta["name"])
            return codec.encode(value)
        stored = codec.to_stored(kind, value)
        try:
            revision = await self._store.create(key, stored, ttl=kind.ttl_seconds or None)
        except TooLarge as error:
            raise _too_large(error) from error
        return codec.with_version(codec.head(kind.resource), stored, revision)

    async def _replace(self, kind: Kind, old: Cached, value: JsonObject, writer: Writer) -> bytes:
        """The update, or the removal that a deletion was waiting for."""
        if writer.dry_run:
            return codec.encode(value)
        if rules.is_finished(value):
            return await self._remove(kind, old)
        return await self._put(kind, old, value)

    async def _put(self, kind: Kind, old: Cached, value: JsonObject) -> bytes:
        stored = codec.to_stored(kind, value)
        try:
            revision = await self._store.update(
                kind.prefix + old.place, stored, old.revision, ttl=kind.ttl_seconds or None
            )
        except TooLarge as error:
            raise _too_large(error) from error
        return codec.with_version(codec.head(kind.resource), stored, revision)

    async def _remove(self, kind: Kind, old: Cached) -> bytes:
        gone = await self._store.delete(kind.prefix + old.place, old.revision)
        return codec.with_version(codec.head(kind.resource), gone.record.value, gone.revision)

    def _named(self, body: JsonObject, base: str) -> JsonObject:
        suffix = "".join(self._random.choices(_LETTERS, k=_SUFFIX_LENGTH))
        return {**body, "metadata": {**body["metadata"], "name": base[:_BASE_LENGTH] + suffix}}

    def _moment(self) -> rules.Moment:
        return rules.Moment(self._clock.now(), self._new_uid())


def note_strict(found: Sequence[str], writer: Writer) -> None:
    """Unknown and duplicate fields, as the writer's `fieldValidation` has it."""
    found = [*writer.noted, *found]
    if not found or writer.field_validation == "Ignore":
        return
    if writer.field_validation == "Strict":
        raise status.bad_request(f"strict decoding error: {', '.join(found)}")
    writer.warnings.extend(text for text in found if text not in writer.warnings)


def _validate(kind: Kind, value: JsonObject, old: JsonObject | None, part: Part) -> None:
    """What a subresource does not touch is not looked at again."""
    found = list(validation.metadata(kind.resource, value))
    is_whole = not part.subresource
    if is_whole and (old is None or kind.resource.plural != "pods"):
        found += kind.validate(value)
    validate = kind.validate_update if is_whole else part.validate
    if old is not None and validate is not None:
        found += validate(value, old)
    if found:
        refused = InvalidObject(found, kind.resource.kind, value["metadata"].get("name", ""))
        raise status.error_of(errors.invalid_status(refused, kind.resource.group))


def _no_free_name(resource: Resource, base: str) -> Exception:
    message = (
        f'{resource.qualified} "{base}" already exists, the server was not able to generate a unique name'
    )
    return status.error_of(Status(409, "AlreadyExists", message, {"retryAfterSeconds": 1}))


def _too_large(error: TooLarge) -> Exception:
    return status.error_of(Status(413, "RequestEntityTooLarge", f"Request entity too large: {error}"))
