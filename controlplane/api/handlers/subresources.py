"""Subresources whose writing is more than storing: scale, binding, eviction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aio.clock import Clock
from controlplane.api import codec, options
from controlplane.api.handlers import applying
from controlplane.api.handlers.applying import Applying
from controlplane.api.handlers.verbs import (
    answer,
    check_place,
    read_checked,
    read_patch,
    read_value,
    writer_of,
)
from controlplane.api.model import Request, RequestInfo, Response, UserInfo, bare
from controlplane.api.registry.model import Kind
from controlplane.api.storage import Part, Storage, Writer
from kube import errors, meta, rules, scale, status, structure
from kube.client import resources as r
from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.errors import join_errors

EVICTIONS = Resource("policy", "v1", "evictions", "Eviction")
_SCALES = Resource("autoscaling", "v1", "scales", "Scale")
_SCALE_TYPE = "autoscaling_v1.Scale"
_DONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class Subresources:
    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def get_scale(self, kind: Kind, info: RequestInfo) -> Response:
        found = await self._storage.read(kind, info.namespace, info.name)
        return Response(body=codec.encode(scale.read_scale(kind.resource, found.value)))

    async def write_scale(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """A PUT or PATCH of the Scale, as a change of the workload's replicas."""
        writer = writer_of(request, info, user)
        if applying.is_apply(request):
            return await self._apply_scale(kind, request, info, writer)
        if request.method == "PATCH":
            make = await read_patch(_SCALE_TYPE, request, writer)
        else:
            body = await read_value(request, writer)

            def make(old: JsonObject) -> JsonObject:
                return bare(body)

        def change(old: JsonObject) -> JsonObject:
            checked = structure.check(make(scale.read_scale(kind.resource, old)), _SCALE_TYPE)
            if checked.errors:
                raise status.bad_request(f"Scale cannot be handled: {join_errors(checked.errors)}")
            return scale.with_scale(old, checked.value)

        stored = await self._storage.update(kind, info.namespace, info.name, change, writer)
        return answer(writer, codec.encode(scale.read_scale(kind.resource, codec.decode(stored))))

    async def _apply_scale(self, kind: Kind, request: Request, info: RequestInfo, writer: Writer) -> Response:
        is_forced = options.forced(request)
        body = await read_value(applying.readable(request), writer)
        check_place(info, bare(body))
        config = applying.read_scale(kind, body, _SCALES, info, writer)
        work = Applying(kind, config, writer, is_forced=is_forced, now=self._clock.now)
        part = Part(owners=work.entries)
        stored = await self._storage.update(kind, info.namespace, info.name, work.change, writer, part)
        return answer(writer, codec.encode(scale.read_scale(kind.resource, codec.decode(stored))))

    async def bind(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """pods/NAME/binding: assigns the node once, and says that the pod is scheduled."""
        writer = writer_of(request, info, user)
        body = await read_checked(r.BINDINGS, request, writer)
        check_place(info, body)
        await self._assign(kind, info, body, writer)
        return answer(writer, codec.encode(_DONE), code=201)

    async def bind_named(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """The older way: the body says which pod."""
        body = await read_checked(r.BINDINGS, request, writer_of(request, info, user))
        name = bare(body.get("metadata")).get("name")
        if not name:
            raise rules.refused(r.BINDINGS, "", errors.required("metadata.name"))
        return await self.bind(
            kind, request, replace(info, resource="pods", subresource="binding", name=name), user
        )

    async def _assign(self, kind: Kind, info: RequestInfo, body: JsonObject, writer: Writer) -> None:
        target = body["target"]
        node = target.get("name", "")
        wrong = []
        if target.get("kind") not in (None, "", "Node"):
            wrong.append(errors.not_supported("target.kind", target["kind"], ("Node", "<empty>")))
        if not node:
            wrong.append(errors.required("target.name"))
        if wrong:
            raise rules.refused(r.BINDINGS, info.name, *wrong)
        await self._write_whole(kind, info, lambda pod: self._bound(pod, body, node), writer)

    def _bound(self, pod: JsonObject, body: JsonObject, node: str) -> JsonObject:
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            raise status.conflict(r.PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
        if assigned := pod["spec"].get("nodeName"):
            because = f'pod {name} is already assigned to node "{assigned}"'
            raise status.conflict(r.PODS, name, because)
        given = bare(body.get("metadata"))
        if (uid := given.get("uid")) and uid != pod["metadata"]["uid"]:
            because = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            raise status.conflict(r.PODS, name, because + str(pod["metadata"]["uid"]))
        pod["spec"]["nodeName"] = node
        for field in ("labels", "annotations"):
            if extra := bare(given.get(field)):
                pod["metadata"][field] = {**pod["metadata"].get(field, {}), **extra}
        state = pod.setdefault("status", {})
        kept = [item for item in state.get("conditions", []) if item["type"] != "PodScheduled"]
        when = meta.format_time(self._clock.now())
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": when}
        state["conditions"] = [*kept, scheduled]
        return pod

    async def _write_whole(
        self, kind: Kind, info: RequestInfo, change: Callable[[JsonObject], JsonObject], writer: Writer
    ) -> None:
        """Spec and status at once, which no client may write together."""
        await self._storage.update(kind, info.namespace, info.name, change, writer, Part("binding"))

    async def evict(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """pods/NAME/eviction: a delete with the eviction's options."""
        writer = writer_of(request, info, user)
        body = await read_checked(EVICTIONS, request, writer)
        check_place(info, body)
        wanted = options.deletion(request, body.get("deleteOptions"))
        await self._storage.delete(kind, info.namespace, info.name, wanted, writer)
        return answer(writer, codec.encode(_DONE), code=201)


class BindingByBody:
    """The `bindings` collection of a namespace, as a handler."""

    def __init__(self, subresources: Subresources, pods: Kind) -> None:
        self._subresources = subresources
        self._pods = pods

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        return await self._subresources.bind_named(self._pods, request, info, user)
