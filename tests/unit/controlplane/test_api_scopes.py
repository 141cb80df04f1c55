"""What a permission in one namespace does not reach, by whatever path it is asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from controlplane.api.handlers.identity import Identity
from controlplane.api.model import RequestInfo, UserInfo, Verdict
from controlplane.authz.follow import Guard
from controlplane.authz.rbac import Policy
from kube.http_server import Request, Response
from tests.unit.controlplane.api_world import Json, world
from tests.unit.controlplane.streaming_world import streaming
from tests.unit.controlplane.test_api_identity import _review, _user_of_token

pytestmark = [pytest.mark.pure, pytest.mark.asyncio]

EVERYTHING: Json = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "everything"},
    "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
}  # fmt: skip
IN_DEFAULT: Json = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
    "metadata": {"name": "ann", "namespace": "default"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "everything"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}],
}  # fmt: skip


class MasterOfOneNamespace:
    """Once it `has_begun`, judges everybody as ann, who may do anything in the namespace default."""

    def __init__(self) -> None:
        self.has_begun = False
        self._guard = Guard(())
        for item in (EVERYTHING, IN_DEFAULT):
            self._guard.policy.put(item["kind"], item)

    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict:
        return await self._guard.authorize(UserInfo("ann") if self.has_begun else user, info)


async def page(request: Request) -> Response:
    return Response(200, b"a page", "text/plain")


@pytest.mark.parametrize("path", ["proxy/", "proxy/run/x", "proxy"])
async def test_master_of_a_namespace_reaches_no_node_by_its_path(tmp_path: Path, path: str) -> None:
    authorizer = MasterOfOneNamespace()
    async with streaming(tmp_path, page, authorizer=authorizer) as world_:
        authorizer.has_begun = True
        told = await world_.refused(f"/api/v1/namespaces/default/nodes/old/{path}", 404)
        assert told["reason"] == "NotFound"
        assert (await world_.refused(f"/api/v1/nodes/old/{path}", 403))["reason"] == "Forbidden"
        assert world_.kubelet.asked == []


@pytest.mark.parametrize("kind", ["TokenReview", "SubjectAccessReview", "SelfSubjectAccessReview"])
async def test_reviews_of_the_cluster_have_no_namespace_in_their_path(kind: str) -> None:
    policy = Policy()
    identity = Identity(policy, policy, _user_of_token)
    async with world(identity=identity) as api:
        body = _review(kind, token="good") if kind == "TokenReview" else _review(
            kind, user="eve", nonResourceAttributes={"path": "/", "verb": "get"}
        )  # fmt: skip
        group = body["apiVersion"]
        answer = await api.ask("POST", f"/apis/{group}/namespaces/default/{kind.lower()}s", body)
        assert (answer.code, msgspec.json.decode(answer.body)["reason"]) == (404, "NotFound")


async def test_a_namespace_is_reached_by_its_own_path() -> None:
    async with world() as api:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}
        await api.do("POST", "/api/v1/namespaces", body, code=201)
        found = await api.do("GET", "/api/v1/namespaces/mine")
        assert found["metadata"]["name"] == "mine"
        assert (await api.do("GET", "/api/v1/namespaces/mine/status"))["metadata"]["name"] == "mine"
