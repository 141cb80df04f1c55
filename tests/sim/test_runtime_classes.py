"""A pod's RuntimeClass becomes the runtime's handler, and never silently another one."""

from __future__ import annotations

from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.errors import Retry
from aio.virtual import run
from kube import objects
from kube.fake import FakeApi
from kube.objects.core_v1 import Pod
from kubelet.objects.pod_inputs import NoPodInputs
from kubelet.objects.runtime_classes import handler_of

pytestmark = pytest.mark.sim
SAFE = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "safe"},
    "handler": "kata",
}


def pod(class_name: str = "") -> Pod:
    spec: dict[str, Any] = {"containers": [{"name": "a", "image": "b"}]}
    if class_name:
        spec["runtimeClassName"] = class_name
    return objects.convert({"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec}, Pod)


def test_handler_is_the_one_of_the_class_and_a_class_that_is_missing_holds_the_pod_back() -> None:
    async def main(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        api.put(SAFE)
        client = api.client("node")
        assert await handler_of(pod(), client) == ""
        assert await handler_of(pod("safe"), client) == "kata"
        with pytest.raises(Retry, match='RuntimeClass "none" not found'):
            await handler_of(pod("none"), client)
        assert await NoPodInputs().runtime_handler(pod()) == ""
        with pytest.raises(Retry, match='RuntimeClass "safe" not found'):
            await NoPodInputs().runtime_handler(pod("safe"))

    run(main)
