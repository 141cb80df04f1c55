"""Everything that a pod reads from the API, behind one door: its environment, files, tokens, credentials.

`PodInputs` is what the executor of actions holds. `ApiPodInputs` asks the object store, the tokens and the
Services, and tells two parties of changes: `refresh(uid)`, who brings files up to date, and `wake(uid)`, who
lets a pod that waits for an object go on. `NoPodInputs` is an agent without an API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aio import log as aio_log
from aio.errors import Retry
from cri.types import AuthConfig
from kube.meta import is_static
from kube.objects.core_v1 import Pod, Volume
from kubelet import events
from kubelet.images.keyring import BadPullSecret, Entry, choose, entries_of
from kubelet.objects import references
from kubelet.objects.model import ApiObject, Kind, ObjectError, ObjectKey, ObjectMissing
from kubelet.objects.services import ServiceVariables
from kubelet.objects.store import ObjectStore
from kubelet.podspec.env import NoObjects, ObjectLookup
from kubelet.podspec.errors import ContainerConfigError, ObjectNotFound
from kubelet.podspec.names import AnyContainer
from kubelet.tokens import TokenError, Tokens, TokenWish
from kubelet.volumes.inputs import VolumeInputs, token_wishes

log = aio_log.get(__name__)

FAILED_TO_RETRIEVE_PULL_SECRET = "FailedToRetrieveImagePullSecret"


@dataclass(frozen=True, slots=True)
class Environment:
    """What a container's environment is made of beyond its definition."""

    lookup: ObjectLookup
    services: Mapping[str, str] = field(default_factory=dict)


class PodInputs(Protocol):
    """What the executor asks. Only `environment` raises (ContainerConfigError)."""

    def register(self, pod: Pod) -> None:
        """The pod is to run, by this definition: what it refers to is kept from now on."""
        ...

    def forget(self, uid: str) -> None:
        """Nothing of the pod reads anything any more; idempotent."""
        ...

    async def environment(self, pod: Pod, container: AnyContainer) -> Environment: ...

    async def credentials(self, pod: Pod, image: str) -> tuple[AuthConfig, ...]:
        """To pull the image with, in order; none = anonymously."""
        ...

    async def runtime_handler(self, pod: Pod) -> str:
        """What the pod's RuntimeClass says, "" without one. Retry when it cannot be read."""
        ...


class NoPodInputs:
    """An agent without an API server: references are refused, there are no services and no credentials."""

    def register(self, pod: Pod) -> None:
        """Nothing is kept."""

    def forget(self, uid: str) -> None:
        """Nothing is kept."""

    async def environment(self, pod: Pod, container: AnyContainer) -> Environment:
        return Environment(NoObjects())

    async def credentials(self, pod: Pod, image: str) -> tuple[AuthConfig, ...]:
        return ()

    async def runtime_handler(self, pod: Pod) -> str:
        if name := pod.spec.runtime_class_name:
            raise Retry(f'failed to get sandbox runtime: RuntimeClass "{name}" not found')
        return ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Implements `ObjectLookup` over what was read for one container."""

    found: Mapping[ObjectKey, ApiObject | ObjectError]

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """Only `data`: upstream makes no variables of binaryData."""
        one = self._object(Kind.CONFIG_MAP, namespace, name)
        texts = (key for key in one.data if key not in one.binary_keys)
        return {key: one.data[key].decode("utf-8", "surrogateescape") for key in texts}

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        return self._object(Kind.SECRET, namespace, name).data

    def _object(self, kind: Kind, namespace: str, name: str) -> ApiObject:
        key = ObjectKey(kind, namespace, name)
        found = self.found.get(key) or ObjectMissing(key)
        if isinstance(found, ObjectMissing):
            raise ObjectNotFound(found.message)
        if isinstance(found, ObjectError):
            raise ContainerConfigError(found.message)
        return found


def _nobody(_uid: str) -> None:
    """Before `bind`."""


class ApiPodInputs:
    """Implements `PodInputs` and `kubelet.volumes.inputs.InputSource`."""

    def __init__(
        self, store: ObjectStore, tokens: Tokens, services: ServiceVariables, sink: events.EventSink,
        handler_of: Callable[[Pod], Awaitable[str]],
    ) -> None:  # fmt: skip
        self._store = store
        self._tokens = tokens
        self._services = services
        self._sink = sink
        self._handler_of = handler_of
        self._pods: dict[str, Pod] = {}
        self._refresh: Callable[[str], None] = _nobody
        self._wake: Callable[[str], None] = _nobody
        store.add_listener(self._object_changed)
        tokens.add_listener(self._token_due)

    def bind(self, refresh: Callable[[str], None], wake: Callable[[str], None]) -> None:
        """Who hears that an object of the pod with that uid changed, or that its token is due."""
        self._refresh, self._wake = refresh, wake

    def loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The named loops that keep it all."""
        return {"pod objects": self._store.run, "services": self._services.run}

    async def close(self) -> None:
        self._tokens.close()
        await self._store.close()

    # Pods

    def pod(self, uid: str) -> Pod | None:
        """The newest definition of a registered pod."""
        return self._pods.get(uid)

    def register(self, pod: Pod) -> None:
        if self._pods.get(pod.metadata.uid) is not pod:
            self._pods[pod.metadata.uid] = pod
            self._store.register(pod)

    def redefined(self, pod: Pod) -> None:
        """A pod got another definition: its files may show labels and annotations that changed."""
        before = self._pods.get(pod.metadata.uid)
        if before is None:
            return
        self.register(pod)
        if (before.metadata.labels, before.metadata.annotations) != (
            pod.metadata.labels,
            pod.metadata.annotations,
        ):
            self._refresh(pod.metadata.uid)

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._store.forget(uid)
        self._tokens.forget(uid)

    def _object_changed(self, uid: str, _key: ObjectKey) -> None:
        self._refresh(uid)
        self._wake(uid)

    def _token_due(self, uid: str) -> None:
        self._refresh(uid)

    # What they read

    async def environment(self, pod: Pod, container: AnyContainer) -> Environment:
        services = await self._services.of_pod(pod, wait=not is_static(pod))
        keys = references.of_container(pod.metadata.namespace, container)
        return Environment(Gathered(await self._store.get_each(keys)), services)

    async def gather(self, pod: Pod, volume: Volume) -> VolumeInputs:
        wishes = token_wishes(volume)
        keys = references.of_volume(pod.metadata.namespace, volume)
        found, tokens = await asyncio.gather(
            self._store.get_each(keys), asyncio.gather(*(self._token(pod, wish) for wish in wishes))
        )
        return VolumeInputs(found, dict(zip(wishes, tokens, strict=True)))

    async def _token(self, pod: Pod, wish: TokenWish) -> str | Retry:
        try:
            return await self._tokens.get(pod, wish)
        except TokenError as error:
            return error

    async def runtime_handler(self, pod: Pod) -> str:
        return await self._handler_of(pod)

    async def credentials(self, pod: Pod, image: str) -> tuple[AuthConfig, ...]:
        wanted = references.pull_secrets(pod)
        if not wanted:
            return ()
        found = await self._store.get_each(frozenset(wanted))
        entries: list[Entry] = []
        missing: list[str] = []
        for key in dict.fromkeys(wanted):
            secret = found[key]
            if isinstance(secret, ObjectError):
                log.warning("Cannot read a pull secret", secret=str(key), err=secret.message)
                missing.append(key.name)
                continue
            try:
                entries.extend(entries_of(secret))
            except BadPullSecret as error:
                log.error("Cannot use a pull secret", secret=str(key), err=error)
        if missing:
            self._sink.record(_secrets_missing(pod, missing))
        return choose(image, entries)


def _secrets_missing(pod: Pod, names: list[str]) -> events.Event:
    meta = pod.metadata
    text = (
        f"Unable to retrieve some image pull secrets ({', '.join(names)}); "
        "attempting to pull the image may not succeed."
    )
    about = events.pod_ref(meta.namespace, meta.name, meta.uid)
    return events.Event(events.WARNING, FAILED_TO_RETRIEVE_PULL_SECRET, text, about)
