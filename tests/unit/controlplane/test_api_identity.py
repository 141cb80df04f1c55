"""Reviews, tokens, bindings by body and what the issuer publishes, asked over the API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import jwt
import msgspec
import pytest

from aio.clock import SystemClock
from controlplane.admission.noderestriction import NodeRestriction
from controlplane.api.handlers import identity
from controlplane.api.handlers.identity import Identity
from controlplane.api.model import AllowAll, Request, UserInfo
from controlplane.api.server import Access, ApiServer
from controlplane.authn.refusal import unauthorized
from controlplane.authn.tokens import Signer
from controlplane.authz.rbac import Policy
from controlplane.bootstrap import roles
from controlplane.store.memory import MemoryStore
from kube import pki, protobuf
from tests.unit.controlplane.api_world import POD, PODS, Json, World, in_world, world

pytestmark = pytest.mark.pure
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
ISSUER = "https://kubernetes.default.svc"


def _user_of_token(token: str, audiences: Sequence[str]) -> tuple[UserInfo, list[str]]:
    if token != "good":
        raise unauthorized("invalid bearer token: nobody's")
    return UserInfo("ann", groups=("g",)), list(audiences)


@pytest.fixture(scope="module")
def ident() -> Identity:
    policy = Policy()
    for item in roles.objects():
        policy.put(item["kind"], item)
    signer = Signer(ISSUER, pki.make_key())
    return Identity(policy, policy, _user_of_token, signer, (ISSUER,))


def _review(kind: str, **spec: object) -> Json:
    group = "authentication" if kind in ("TokenReview", "SelfSubjectReview") else "authorization"
    body: Json = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind}
    return {**body, "spec": spec} if spec else body


def test_reviews_are_answered_and_stored_nowhere(ident: Identity) -> None:
    async def inside() -> None:
        async with world(identity=ident) as api:
            pods = {"verb": "get", "resource": "pods", "namespace": "default"}
            mine = _review("SelfSubjectAccessReview", resourceAttributes=pods)
            answer = await api.do("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", mine, code=201)
            assert (answer["kind"], answer["status"]["allowed"]) == ("SelfSubjectAccessReview", True)
            theirs = _review("SubjectAccessReview", user="bob", resourceAttributes=pods)
            answer = await api.do("POST", f"{AUTHORIZATION}/subjectaccessreviews", theirs)
            assert answer["status"]["allowed"] is False
            path = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
            local = {**theirs, "kind": "LocalSubjectAccessReview"}
            assert (await api.do("POST", path, local))["status"]["allowed"] is False
            rules = _review("SelfSubjectRulesReview", namespace="default")
            answer = await api.do("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", rules)
            assert answer["status"]["resourceRules"]
            me = _review("SelfSubjectReview")
            answer = await api.do("POST", f"{AUTHENTICATION}/selfsubjectreviews", me)
            assert answer["status"]["userInfo"]["username"] == "system:admin"
            for token, holds in (("good", True), ("bad", False)):
                asked = _review("TokenReview", token=token)
                answer = await api.do("POST", f"{AUTHENTICATION}/tokenreviews", asked)
                assert bool(answer["status"].get("authenticated")) is holds
            await api.do("GET", f"{AUTHENTICATION}/tokenreviews", code=405)
            await api.do("POST", f"{AUTHENTICATION}/tokenreviews", _review("TokenReview", token=7), code=400)
            assert await api.store.revision() == 1

    asyncio.run(inside())


_VERSION = {"verb": "get", "path": "/version"}


def test_a_review_comes_as_protobuf_too(ident: Identity) -> None:
    async def inside() -> None:
        async with world(identity=ident) as api:
            mine = _review(
                "SelfSubjectAccessReview", nonResourceAttributes={"verb": "get", "path": "/version"}
            )
            answer = await api.do(
                "POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", protobuf.encode(mine),
                content_type=protobuf.CONTENT_TYPE,
            )  # fmt: skip
            assert answer["status"]["allowed"] is True

    asyncio.run(inside())


def test_discovery_tells_the_reviews_as_something_to_create(ident: Identity) -> None:
    async def inside() -> None:
        async with world(identity=ident) as api:
            listed = await api.do("GET", AUTHORIZATION)
            verbs = {entry["name"]: entry["verbs"] for entry in listed["resources"]}
            assert verbs["subjectaccessreviews"] == ["create"]
            core = {entry["name"]: entry for entry in (await api.do("GET", "/api/v1"))["resources"]}
            assert core["serviceaccounts/token"]["kind"] == "TokenRequest"
            assert core["pods/eviction"]["group"] == "policy"
            assert core["pods/exec"]["kind"] == "PodExecOptions"
            assert core["pods/exec"]["verbs"] == ["create", "get"]

    asyncio.run(inside())


def _token_request(**spec: object) -> Json:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def test_a_token_is_bound_to_its_account_and_pod(ident: Identity) -> None:
    async def inside() -> None:
        async with world(identity=ident) as api:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
            await api.do("POST", ACCOUNTS, account)
            made = await api.do("POST", f"{ACCOUNTS}/robot/token", _token_request(), code=201)
            claims = jwt.decode(made["status"]["token"], options={"verify_signature": False})
            assert claims["sub"] == "system:serviceaccount:default:robot"
            assert (claims["aud"], made["spec"]["expirationSeconds"]) == ([ISSUER], 3600)
            pod = {**POD, "spec": {**POD["spec"], "serviceAccountName": "robot"}}
            uid = (await api.do("POST", PODS, pod))["metadata"]["uid"]
            ref = {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": uid}
            body = protobuf.encode(_token_request(boundObjectRef=ref, expirationSeconds=600))
            kind = protobuf.CONTENT_TYPE
            made = await api.do("POST", f"{ACCOUNTS}/robot/token", body, content_type=kind)
            claims = jwt.decode(made["status"]["token"], options={"verify_signature": False})
            assert claims["kubernetes.io"]["pod"] == {"name": "web", "uid": uid}
            short = await api.do(
                "POST", f"{ACCOUNTS}/robot/token", _token_request(expirationSeconds=5), code=422
            )
            assert short["details"]["causes"][0]["field"] == "spec.expirationSeconds"
            await api.do("POST", f"{ACCOUNTS}/nobody/token", _token_request(), code=404)
            await api.do("GET", f"{ACCOUNTS}/robot/token", code=405)

    asyncio.run(inside())


class _AsNode:
    async def authenticate(self, request: Request) -> UserInfo | None:
        return UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))


def test_a_node_is_refused_a_token_that_is_not_for_a_pod_of_its_own(ident: Identity) -> None:
    async def inside() -> None:
        store, clock = MemoryStore(clock=SystemClock()), SystemClock()
        server = ApiServer(store, clock, Access(_AsNode(), AllowAll(), (NodeRestriction(),), ident))
        await server.start()
        api = World(server, store)
        refused = await api.do("POST", f"{ACCOUNTS}/robot/token", _token_request(), code=403)
        assert "node requested token not bound to a pod" in refused["message"]
        await server.stop()
        await store.close()

    asyncio.run(inside())


def test_the_issuer_publishes_its_keys() -> None:
    key = pki.make_key()
    pages = identity.pages(ISSUER, f"{ISSUER}/openid/v1/jwks", [pki.public_key(key)])

    async def inside() -> None:
        told = await pages["/.well-known/openid-configuration"](Request("GET", "/"))
        assert msgspec.json.decode(told.body)["issuer"] == ISSUER
        keys = await pages["/openid/v1/jwks"](Request("GET", "/"))
        assert keys.content_type == "application/jwk-set+json"
        (one,) = msgspec.json.decode(keys.body)["keys"]
        found = jwt.PyJWK(one)
        token = jwt.encode({"x": 1}, key, "ES256")
        assert jwt.decode(token, found, algorithms=["ES256"]) == {"x": 1}

    asyncio.run(inside())


@in_world
async def test_a_binding_in_the_collection_names_its_pod(api: World) -> None:
    await api.do("POST", PODS, POD)
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"name": "n1"}}
    path = "/api/v1/namespaces/default/bindings"
    assert (await api.do("POST", path, body, code=201))["status"] == "Success"
    assert (await api.do("GET", f"{PODS}/web"))["spec"]["nodeName"] == "n1"
    assert (await api.do("POST", path, body, code=409))["reason"] == "Conflict"
    nameless = {**body, "metadata": {}}
    assert (await api.do("POST", path, nameless, code=422))["details"]["causes"][0][
        "field"
    ] == "metadata.name"
    aimless = {**body, "target": {"kind": "Rack", "name": ""}}
    refused = await api.do("POST", f"{PODS}/web/binding", aimless, code=422)
    assert [cause["field"] for cause in refused["details"]["causes"]] == ["target.kind", "target.name"]


@in_world
async def test_reviews_are_not_served_without_somebody_to_answer_them(api: World) -> None:
    body = _review("SelfSubjectReview")
    await api.do("POST", f"{AUTHENTICATION}/selfsubjectreviews", body, code=404)
