"""Subresources that are no storage but somebody's stream: pods/log, exec, attach, portforward, and proxies.

The API server asks the node's kubelet (or the pod, or an endpoint) and joins the two connections:

    handlers = streaming_handlers(lambda: server.cache, authorizer, NodeClientSettings(certificate, key, ca))
"""

from __future__ import annotations

from collections.abc import Callable

from controlplane.api.model import Authorizer, Handler
from controlplane.api.streaming.exchange import NodeClientSettings
from controlplane.api.streaming.handlers import Objects, Streaming

__all__ = ["NodeClientSettings", "Objects", "Streaming", "streaming_handlers"]


def streaming_handlers(
    objects: Callable[[], Objects], authorizer: Authorizer, settings: NodeClientSettings
) -> dict[tuple[str, str], Handler]:
    """For `Access.handlers`, by (plural, subresource). `objects` is asked for when a request comes."""
    return Streaming(objects, authorizer, settings).handlers()
