"""Talk to a Kubernetes API server: the protocol and its values here, HTTPS in `kube.client.http`.

from kube.client import Client, ListOptions, resources
from kube.client.http import HttpClient            # imports aiohttp; a kubeconfig gives its settings

pods = await client.list(resources.PODS, namespace="shop")
for pod in pods.read(Pod): ...
"""

from __future__ import annotations

from kube.client.model import (
    Call,
    Client,
    DeleteOptions,
    EventType,
    Identity,
    JsonObject,
    ListOptions,
    ObjectList,
    PatchKind,
    WatchEvent,
    WatchOptions,
    WriteOptions,
    identify,
)
from kube.client.resources import Resource
from kube.client.unreachable import Unreachable

__all__ = [
    "Call",
    "Client",
    "DeleteOptions",
    "EventType",
    "Identity",
    "JsonObject",
    "ListOptions",
    "ObjectList",
    "PatchKind",
    "Resource",
    "Unreachable",
    "WatchEvent",
    "WatchOptions",
    "WriteOptions",
    "identify",
]
