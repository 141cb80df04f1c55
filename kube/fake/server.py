"""The state of the fake API server and its verbs, without waiting and without faults.

Clients (`client()`) go through the faults and are recorded in `requests`; a test itself may act directly, as
if it were somebody else: `put`, `remove`, `object`, `objects`.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aio.clock import Clock
from kube import meta, rules, scale, selection, status
from kube.client import resources as r
from kube.client.model import (
    DeleteOptions,
    JsonObject,
    ListOptions,
    ObjectList,
    PatchKind,
    WriteOptions,
    copy,
)
from kube.client.resources import Resource
from kube.errors import Status
from kube.fake import paging, patching, subresources
from kube.fake.faults import EVERY_CALL, Fault, Faults, Pattern, Request
from kube.fake.history import History, Place
from kube.fake.watching import Watches

if TYPE_CHECKING:
    from kube.fake.client import FakeClient

DEFAULT_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
# names.SimpleNameGenerator
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_MOST_BASE_LENGTH = 58
_MOST_REQUESTS_KEPT = 100_000

Answer = Callable[[JsonObject, Place], JsonObject]


class FakeApi:
    """`check_namespaces` refuses objects in namespaces that do not exist, or that are going away."""

    def __init__(
        self, clock: Clock, *, check_namespaces: bool = False, extra: Iterable[Resource] = (), seed: int = 0
    ) -> None:
        self.clock = clock
        self.history = History()
        self.faults = Faults()
        self.watches = Watches(self.history)
        self.requests: deque[Request] = deque(maxlen=_MOST_REQUESTS_KEPT)
        self.pages: dict[str, bytes] = {"/version": b'{"major":"1","minor":"36"}', "/healthz": b"ok"}
        self.resources = {*r.STORED, *extra}
        self._answers: dict[tuple[Resource, str], Answer] = {}
        self._random = random.Random(seed)
        self._check_namespaces = check_namespaces
        self._tokens = 0
        if check_namespaces:
            for name in DEFAULT_NAMESPACES:
                self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # --- what tests do and look at ---

    def client(self, user: str = "") -> FakeClient:
        """A client of this server; `user` is what faults and `requests` know it by."""
        from kube.fake.client import FakeClient

        return FakeClient(self, user)

    def put(self, body: JsonObject) -> JsonObject:
        """Create or replace, status included, whatever version the body has: somebody else's write."""
        resource = self.resource_of(body)
        place = self._place_in(body)
        old = self.history.all(resource).get(place)
        if old is None:
            stored = rules.created(resource, body, place[0], self._moment())
            if "status" in body:
                stored["status"] = copy(body)["status"]
        else:
            fresh = {**body, "metadata": {**body["metadata"], "resourceVersion": "", "uid": ""}}
            stored = rules.updated(resource, old, fresh, "")
            if "status" in body:
                stored["status"] = copy(body)["status"]
        return copy(self._write(resource, stored))

    def object(self, resource: Resource, name: str, namespace: str = "") -> JsonObject:
        """NotFound when there is none."""
        return copy(self.history.get(resource, (namespace, name)))

    def find(self, resource: Resource, name: str, namespace: str = "") -> JsonObject | None:
        with suppress(status.NotFound):
            return self.object(resource, name, namespace)
        return None

    def objects(self, resource: Resource, namespace: str = "") -> list[JsonObject]:
        """In the order of namespace and name."""
        found = sorted(self.history.all(resource).items())
        return [copy(value) for place, value in found if namespace in ("", place[0])]

    def remove(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Gone at once, whatever its grace or finalizers."""
        place = (namespace, name)
        self.history.remove(resource, place, self.history.get(resource, place))
        self.watches.wake()

    def fail(
        self, error: Exception, pattern: Pattern = EVERY_CALL, *, times: int = 1, after: bool = False
    ) -> Fault:
        """The next calls that match fail; `after` = once the work is done (the answer is lost)."""
        return self.faults.add(Fault(pattern, error, times=times, after=after))

    def delay(self, seconds: float, pattern: Pattern = EVERY_CALL, *, times: int = -1) -> Fault:
        return self.faults.add(Fault(pattern, delay_seconds=seconds, times=times))

    def go_away(self) -> None:
        """No call is answered and all watches break, until `come_back`."""
        self.faults.is_unreachable = True
        verdict = self.faults.judge(Request("watch", None))
        self.end_watches(verdict.before)

    def come_back(self) -> None:
        self.faults.is_unreachable = False

    def end_watches(self, error: Exception | None = None, resource: Resource | None = None) -> None:
        """End open watches as the server does, or break them with `error` (`status.too_old(...)` = 410)."""
        for stream in list(self.watches.open):
            if resource in (None, stream.resource):
                stream.end(error)

    def send_bookmarks(self) -> None:
        for stream in self.watches.open:
            stream.bookmark_due = True
        self.watches.wake()

    def compact(self) -> None:
        """Forget all history: who is not watching now cannot go on from where it was."""
        self.history.compact(self.history.revision, self.watches.slowest)

    def answer(self, resource: Resource, function: Answer, subresource: str = "") -> None:
        """Let `function(body, place)` answer creates of this (sub)resource: reviews, and whatever else is not
        stored."""
        self._answers[(resource, subresource)] = function

    def requests_of(self, verb: str = "", resource: Resource | None = None) -> list[Request]:
        pattern = Pattern(verb=verb, resource=resource)
        return [request for request in self.requests if pattern.matches(request)]

    def resource_of(self, body: JsonObject) -> Resource:
        wanted = (body.get("apiVersion"), body.get("kind"))
        for resource in self.resources:
            if (resource.api_version, resource.kind) == wanted:
                return resource
        raise status.no_such_resource()

    # --- the verbs ---

    def get(self, resource: Resource, place: Place, subresource: str = "") -> JsonObject:
        self._must_serve(resource)
        found = self.history.get(resource, place)
        if subresource == "scale" and resource in rules.SCALABLE:
            return copy(scale.read_scale(resource, found))
        if subresource and not (subresource == "status" and resource in rules.WITH_STATUS):
            raise status.no_such_resource()
        return copy(found)

    def list(self, resource: Resource, namespace: str, options: ListOptions) -> ObjectList:
        self._must_serve(resource)
        chosen = selection.select(resource, namespace, options.label_selector, options.field_selector)
        return paging.read_list(self.history, chosen, options)

    def create(
        self, resource: Resource, place: Place, body: JsonObject, subresource: str, options: WriteOptions
    ) -> JsonObject:
        """The name in `place` is that of the parent of a subresource."""
        if answer := self._answers.get((resource, subresource)):
            return copy(answer(copy(body), place))
        self._must_serve(resource)
        if subresource:
            return self._create_subresource(resource, place, body, subresource)
        rules.check_type(resource, body)
        value = self._named(resource, body, place[0])
        value = rules.created(resource, value, place[0], self._moment())
        self._admit(resource, value)
        if self._stored(resource, value) is not None:
            raise status.already_exists(resource, value["metadata"]["name"])
        return value if options.dry_run else copy(self._write(resource, value))

    def update(
        self, resource: Resource, place: Place, body: JsonObject, subresource: str, options: WriteOptions
    ) -> JsonObject:
        self._must_serve(resource)
        if resource in rules.CREATE_ON_UPDATE and not subresource and place not in self.history.all(resource):
            fresh = {**body, "metadata": {**body["metadata"], "resourceVersion": ""}}
            return self.create(resource, place, fresh, "", options)
        old = self.history.get(resource, place)
        if subresource == "scale" and resource in rules.SCALABLE:
            changed = rules.updated(resource, old, scale.with_scale(old, body), "")
            return copy(scale.read_scale(resource, self._store(resource, old, changed, options)))
        if resource == r.NAMESPACES and subresource == "finalize":
            subresource = ""
        self._must_have(resource, subresource)
        rules.check_type(resource, body)
        return copy(self._store(resource, old, rules.updated(resource, old, body, subresource), options))

    def patch(
        self, resource: Resource, place: Place, patch: Any, kind: PatchKind, subresource: str,
        options: WriteOptions,
    ) -> JsonObject:  # fmt: skip
        """A patch without a resourceVersion applies to whatever is stored."""
        current = self.get(resource, place, subresource)
        patched = patching.apply(current, patch, kind)
        return self.update(resource, place, patched, subresource, options)

    def delete(self, resource: Resource, place: Place, options: DeleteOptions) -> JsonObject:
        self._must_serve(resource)
        value = self.history.get(resource, place)
        rules.check_preconditions(resource, value, options)
        marked = rules.marked_by_force(resource, value, options, self.clock.now())
        if marked is not None and not options.dry_run:
            value = self._write(resource, marked)
        left = rules.deleted(resource, value, options, self.clock.now())
        if options.dry_run:
            return copy(left or value)
        if left is not None:
            return copy(self._write(resource, left) if left != value else value)
        gone = self.history.remove(resource, place, value)
        self.watches.wake()
        return copy(gone) if resource in rules.RETURNS_DELETED else rules.success(resource, gone)

    def delete_collection(
        self, resource: Resource, namespace: str, chosen: ListOptions, options: DeleteOptions
    ) -> None:
        self._must_serve(resource)
        wanted = selection.select(resource, namespace, chosen.label_selector, chosen.field_selector)
        for place in [place for place, value in self.history.all(resource).items() if wanted.holds(value)]:
            self.delete(resource, place, options)

    # --- parts ---

    def _create_subresource(
        self, resource: Resource, place: Place, body: JsonObject, subresource: str
    ) -> JsonObject:
        if resource == r.PODS and subresource == "binding":
            answered = subresources.bind(self, place, body)
        elif resource == r.PODS and subresource == "eviction":
            answered = subresources.evict(self, place, body)
        elif resource == r.SERVICE_ACCOUNTS and subresource == "token":
            self._tokens += 1
            account = self.history.get(resource, place)
            answered = subresources.make_token(account, body, self._tokens, self.clock.now())
        else:
            raise status.no_such_resource()
        self.watches.wake()
        return answered

    def _store(
        self, resource: Resource, old: JsonObject, changed: JsonObject, options: WriteOptions
    ) -> JsonObject:
        if options.dry_run or changed == old:
            return changed
        if rules.is_finished(changed):
            gone = self.history.remove(resource, self._place_in(changed), changed)
            self.watches.wake()
            return gone
        return self._write(resource, changed)

    def _write(self, resource: Resource, value: JsonObject) -> JsonObject:
        stored = self.history.write(resource, value)
        self.watches.wake()
        return stored

    def _stored(self, resource: Resource, value: JsonObject) -> JsonObject | None:
        return self.history.all(resource).get(self._place_in(value))

    def _must_serve(self, resource: Resource) -> None:
        if resource not in self.resources:
            raise status.no_such_resource()

    def _must_have(self, resource: Resource, subresource: str) -> None:
        if subresource and not (subresource == "status" and resource in rules.WITH_STATUS):
            raise status.no_such_resource()

    def _named(self, resource: Resource, body: JsonObject, namespace: str) -> JsonObject:
        metadata = body.get("metadata") or {}
        base = metadata.get("generateName", "")
        if metadata.get("name") or not base:
            return body
        taken = self.history.all(resource)
        while True:
            letters = "".join(self._random.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_LENGTH))
            name = base[:_MOST_BASE_LENGTH] + letters
            if (namespace, name) not in taken:
                return {**body, "metadata": {**metadata, "name": name}}

    def _admit(self, resource: Resource, value: JsonObject) -> None:
        """NamespaceLifecycle, where it is asked for."""
        if not (self._check_namespaces and resource.namespaced):
            return
        namespace = value["metadata"]["namespace"]
        found = self.history.get(r.NAMESPACES, ("", namespace))
        if "deletionTimestamp" in found["metadata"]:
            name = value["metadata"]["name"]
            message = (
                f'{resource.qualified} "{name}" is forbidden: unable to create new content in namespace '
                f"{namespace} because it is being terminated"
            )
            causes = [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]
            raise status.error_of(Status(403, "Forbidden", message, {"name": name, "causes": causes}))

    def _moment(self) -> rules.Moment:
        uid = uuid.UUID(int=self._random.getrandbits(128), version=4)
        return rules.Moment(self.clock.now(), str(uid))

    def _place_in(self, body: JsonObject) -> Place:
        metadata = body["metadata"]
        return metadata.get("namespace", ""), metadata.get("name", "")

    def __repr__(self) -> str:
        counts = {res.plural: len(self.history.all(res)) for res in self.resources if self.history.all(res)}
        return f"FakeApi({counts}, revision {self.history.revision}, {meta.format_time(self.clock.now())})"
