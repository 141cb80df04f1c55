"""What the files of a volume are made of beyond the pod itself, gathered before anything is written. Pure.

Gathering waits for the API server and happens on the loop; writing blocks and happens in an executor. What
could not be had is kept as its error: only the volume knows whether that matters (`optional`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aio.errors import Retry
from kube.objects.core_v1 import Pod, ServiceAccountTokenProjection, Volume
from kubelet.objects.model import ApiObject, Kind, ObjectError, ObjectKey, ObjectMissing
from kubelet.tokens import DEFAULT_SECONDS, TokenWish


@dataclass(frozen=True, slots=True)
class VolumeInputs:
    """The objects and tokens that one volume names, each as it is or as the error in its place."""

    objects: Mapping[ObjectKey, ApiObject | ObjectError] = field(default_factory=dict)
    tokens: Mapping[TokenWish, str | Retry] = field(default_factory=dict)

    def object(self, kind: Kind, namespace: str, name: str, *, optional: bool) -> ApiObject:
        """ObjectError; an optional object that does not exist is an empty one."""
        key = ObjectKey(kind, namespace, name)
        found = self.objects.get(key) or ObjectError(f"cannot read {key}: {_NO_SERVER}")
        if isinstance(found, ObjectMissing) and optional:
            return ApiObject(key)
        if isinstance(found, ObjectError):
            raise found
        return found

    def token(self, wish: TokenWish) -> str:
        """Raises the error in place of the token."""
        found = self.tokens.get(wish) or Retry(f"cannot ask for a service account token: {_NO_SERVER}")
        if isinstance(found, Retry):
            raise found
        return found


_NO_SERVER = "because this agent has no API server"
NO_INPUTS = VolumeInputs()


class InputSource(Protocol):
    """Gets what volumes are made of. Never raises for what cannot be had."""

    async def gather(self, pod: Pod, volume: Volume) -> VolumeInputs: ...


class NoInputs:
    """An agent without an API server."""

    async def gather(self, pod: Pod, volume: Volume) -> VolumeInputs:
        return NO_INPUTS


def token_wish(projection: ServiceAccountTokenProjection) -> TokenWish:
    return TokenWish(projection.audience or "", projection.expiration_seconds or DEFAULT_SECONDS)


def token_wishes(volume: Volume) -> tuple[TokenWish, ...]:
    """The tokens that the volume shows."""
    sources = volume.projected.sources if volume.projected is not None else ()
    found = (one.service_account_token for one in sources)
    return tuple(dict.fromkeys(token_wish(one) for one in found if one is not None))


def is_computed(volume: Volume) -> bool:
    """Whether its files follow the API, so that a change there reaches the running pod."""
    kinds = (volume.config_map, volume.secret, volume.projected, volume.downward_api)
    return any(kind is not None for kind in kinds)
