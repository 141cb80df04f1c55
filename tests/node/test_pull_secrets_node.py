"""Pulls from a real registry that wants a password, with the credentials of real pull secrets."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest

from aio.clock import SystemClock
from cri.imagefile import pause_bytes
from cri.wire import connect
from kubelet.events import RingEvents, container_ref, pod_ref
from kubelet.images.keyring import choose, entries_of
from kubelet.images.model import ImageRequest, PullLimits
from kubelet.images.puller import ImagePuller
from kubelet.objects.model import Kind, read_object
from tests.runtimes import PrivateContainerd, PrivateRegistry
from tests.runtimes.fixtures import Workshop
from tests.runtimes.registry import PASSWORD, USER

pytestmark = pytest.mark.node


@pytest.fixture
def locked(workshop: Workshop | None, runtime: PrivateContainerd) -> Iterator[PrivateRegistry]:
    assert workshop is not None
    with PrivateRegistry(workshop.base / "locked", locked=True) as registry:
        registry.push_archive(pause_bytes(["example.com/pause:1"]), "team/pause", "1")
        runtime.trust_registry(registry.address)
        yield registry


def secret(places: dict[str, str]) -> bytes:
    """A pull secret as the API gives it: password by place."""
    config = {"auths": {place: {"username": USER, "password": word} for place, word in places.items()}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()}
    body = {"metadata": {"name": "s"}, "type": "kubernetes.io/dockerconfigjson", "data": data}
    return json.dumps(body).encode()


@pytest.mark.asyncio
async def test_credentials_of_pull_secrets_open_a_locked_registry(
    runtime: PrivateContainerd, locked: PrivateRegistry
) -> None:
    image = locked.reference("team/pause", "1")
    about = container_ref(pod_ref("shop", "web", "u1"), "a")
    node = await connect(runtime.endpoint)
    ring = RingEvents(SystemClock())
    puller = ImagePuller(node.images, SystemClock(), ring, PullLimits(parallel=None))
    try:
        refused = await puller.ensure(ImageRequest(about, image))
        assert refused.reason == "ErrImagePull"
        assert re.search("401 Unauthorized|no basic auth credentials", refused.message), refused.message
        puller.forget_pod("u1")
        entries = entries_of(
            read_object(secret({f"{locked.address}/team": "wrong", locked.address: PASSWORD}), Kind.SECRET)
        )
        auths = choose(image, entries)
        assert [one.password for one in auths] == ["wrong", PASSWORD]
        opened = await puller.ensure(ImageRequest(about, image, auths=auths))
        assert opened.is_ready, opened.message
    finally:
        await puller.close()
        await node.close()
        runtime.ctr("images", "rm", "--sync", image)
