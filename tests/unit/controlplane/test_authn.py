"""Who a request is from."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from aio.clock import SystemClock
from controlplane.api.model import Request
from controlplane.authn import claims, tokens
from controlplane.authn.certificates import Certificates
from controlplane.authn.claims import Binding, Named
from controlplane.authn.identity import ANONYMOUS, CREDENTIAL, POD_NAME, split_service_account
from controlplane.authn.refusal import cause
from controlplane.authn.request import RequestAuthenticator, Sources, bearer
from controlplane.authn.tokenfile import BadTokenFile, read_tokens
from controlplane.authn.tokens import Signer, Verifier
from kube import pki
from kube.status import Unauthorized

pytestmark = pytest.mark.pure
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ISSUER = "https://kubernetes.default.svc.cluster.local"
KEY = pki.make_key()
BOUND = Binding("default", Named("bot", "u-bot"), pod=Named("web", "u-web"), node=Named("one", "u-one"))


class Cluster:
    """The objects tokens are bound to."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.put("serviceaccounts", "default", "bot", "u-bot")
        self.put("pods", "default", "web", "u-web")
        self.put("nodes", "", "one", "u-one")

    def put(self, plural: str, namespace: str, name: str, uid: str, **meta: str) -> None:
        self.items[plural, namespace, name] = {"metadata": {"name": name, "uid": uid, **meta}}

    def __call__(self, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.items.get((plural, namespace, name))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def verifier(cluster: Cluster) -> Verifier:
    return Verifier([ISSUER], [pki.public_key(KEY)], cluster)


def sign(binding: Binding = BOUND, seconds: int = 600, audience: str = ISSUER) -> str:
    return Signer(ISSUER, KEY).sign(binding, [audience], seconds, NOW, "id-1")[0]


def why(verifier: Verifier, token: str, now: datetime = NOW, audience: str = ISSUER) -> str:
    with pytest.raises(Unauthorized) as caught:
        verifier.user_of(token, [audience], now)
    assert caught.value.status.to_json()["message"] == "Unauthorized"
    return cause(caught.value)


def test_a_token_tells_account_pod_and_node(verifier: Verifier) -> None:
    user, audiences = verifier.user_of(sign(), [ISSUER, "other"], NOW)
    assert user.name == "system:serviceaccount:default:bot"
    assert user.uid == "u-bot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default")
    assert user.extra[POD_NAME] == ("web",)
    assert user.extra[CREDENTIAL] == ("JTI=id-1",)
    assert audiences == [ISSUER]


def test_a_token_dies_with_its_time(verifier: Verifier) -> None:
    token = sign()
    verifier.user_of(token, [ISSUER], NOW + timedelta(seconds=599))
    assert "expired" in why(verifier, token, NOW + timedelta(seconds=600))
    assert "not valid yet" in why(verifier, token, NOW - timedelta(hours=1))


@pytest.mark.parametrize("gone", [("serviceaccounts", "default", "bot"), ("pods", "default", "web")])
def test_a_token_dies_with_what_it_is_bound_to(
    verifier: Verifier, cluster: Cluster, gone: tuple[str, str, str]
) -> None:
    token = sign()
    verifier.user_of(token, [ISSUER], NOW)
    held = cluster.items.pop(gone)
    assert "has been deleted" in why(verifier, token)
    cluster.items[gone] = {"metadata": {**held["metadata"], "uid": "another"}}
    assert "UID does not match" in why(verifier, token)
    cluster.items[gone] = {"metadata": {**held["metadata"], "deletionTimestamp": "2026-05-01T11:58:00Z"}}
    assert "has been deleted" in why(verifier, token)
    cluster.items[gone] = {"metadata": {**held["metadata"], "deletionTimestamp": "2026-05-01T12:00:30Z"}}
    assert verifier.user_of(token, [ISSUER], NOW)[0].uid == "u-bot"


def test_only_our_keys_issuer_audience_and_algorithm_count(verifier: Verifier, cluster: Cluster) -> None:
    token = sign()
    assert "unknown key" in why(
        verifier, Signer(ISSUER, pki.make_key()).sign(BOUND, [ISSUER], 600, NOW, "x")[0]
    )
    assert "audiences" in why(verifier, sign(audience="vault"))
    assert "issuer" in why(Verifier(["https://other"], [pki.public_key(KEY)], cluster), token)
    head, _, signature = token.split(".")
    forged = (
        base64.urlsafe_b64encode(b'{"sub":"system:serviceaccount:kube-system:root"}').decode().rstrip("=")
    )
    assert "Signature" in why(verifier, f"{head}.{forged}.{signature}")
    kid = jwt.get_unverified_header(token)["kid"]
    bare = jwt.encode({"iss": ISSUER}, "", "none", {"kid": kid})
    assert "alg" in why(verifier, bare)
    assert why(verifier, "nonsense").startswith("invalid bearer token")


def test_claims_of_another_layout_are_nobody(cluster: Cluster) -> None:
    good = claims.make(ISSUER, BOUND, [ISSUER], 600, NOW, "x")
    for broken in (
        {**good, "sub": "system:serviceaccount:default:other"},
        {**good, "kubernetes.io": []},
        {**good, "kubernetes.io": {**good["kubernetes.io"], "pod": "web"}},
    ):
        assert claims.check(broken, cluster, NOW) == "token claims are not those of a service account"


def test_a_projected_token_warns_first_and_ends_a_year_later() -> None:
    made = claims.make(ISSUER, BOUND, [ISSUER], claims.SECONDS_PROJECTED, NOW, "x")
    assert made["kubernetes.io"]["warnafter"] == int(NOW.timestamp()) + 3607
    assert made["exp"] - made["iat"] == 365 * 24 * 3600
    unbound = claims.make(ISSUER, replace(BOUND, pod=None), [ISSUER], 3607, NOW, "x")
    assert unbound["exp"] - unbound["iat"] == 3607


def test_others_can_verify_with_the_published_keys() -> None:
    published = tokens.key_set([pki.public_key(KEY)])["keys"]
    key = jwt.PyJWK(published[0])
    found = jwt.decode(sign(), key, audience=ISSUER, options={"verify_exp": False, "verify_nbf": False,
                                                              "verify_iat": False})  # fmt: skip
    assert found["sub"] == "system:serviceaccount:default:bot"
    assert published[0]["kid"] == jwt.get_unverified_header(sign())["kid"]
    assert tokens.discovery(ISSUER, "https://x/jwks")["issuer"] == ISSUER


def certificate(ca: pki.Pair, subject: pki.Subject, usage: pki.Usage = pki.Usage.CLIENT) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pki.issue(ca, subject, usage, NOW).certificate.decode())


def test_a_certificate_is_a_user_with_groups() -> None:
    ca = pki.make_ca("ours", NOW)
    known = Certificates(ca.certificate)
    der = certificate(ca, pki.Subject("system:node:one", ("system:nodes",)))
    user = known.user_of(der, NOW)
    assert (user.name, user.groups) == ("system:node:one", ("system:nodes",))
    assert known.user_of(der, NOW) == user
    with pytest.raises(Unauthorized) as expired:
        known.user_of(der, NOW + timedelta(days=400))
    assert "expired" in cause(expired.value)


def test_certificates_of_another_ca_or_for_servers_are_refused() -> None:
    ca = pki.make_ca("ours", NOW)
    known = Certificates(ca.certificate)
    for der, because in (
        (
            certificate(pki.make_ca("ours", NOW), pki.Subject("root", ("system:masters",))),
            "unknown authority",
        ),
        (certificate(ca, pki.Subject("root"), pki.Usage.SERVING), "key usage"),
        (b"junk", "certificate"),
    ):
        with pytest.raises(Unauthorized) as caught:
            known.user_of(der, NOW)
        assert because in cause(caught.value)


def test_a_token_file_gives_users_and_names_bad_lines_without_tokens() -> None:
    known = read_tokens('s3cret,ann,1,"dev,ops"\n# note\n\nother, bob, 2\n')
    ann = known.user_of("s3cret")
    assert ann is not None
    assert (ann.name, ann.uid, ann.groups) == ("ann", "1", ("dev", "ops"))
    assert known.user_of("guess") is None
    for text in ("a,b\n", ",ann,1\n", "s3cret,a,1\ns3cret,b,2\n"):
        with pytest.raises(BadTokenFile, match="cannot read line") as caught:
            read_tokens(text)
        assert "s3cret" not in str(caught.value)


def test_a_token_may_come_in_a_websocket_subprotocol() -> None:
    encoded = base64.urlsafe_b64encode(b"a.b.c?>").decode().rstrip("=")
    offered = f"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}"
    assert bearer(Request("GET", "/", headers={"sec-websocket-protocol": offered})) == "a.b.c?>"
    assert bearer(Request("GET", "/", headers={"authorization": "Bearer  abc "})) == "abc"
    assert bearer(Request("GET", "/", headers={"authorization": "Basic abc"})) is None
    with pytest.raises(Unauthorized):
        bearer(Request("GET", "/", headers={"sec-websocket-protocol": offered + "!!"}))


@pytest.mark.asyncio
async def test_who_shows_nothing_is_nobody_and_a_bad_token_is_refused_everywhere(verifier: Verifier) -> None:
    sources = Sources(static=read_tokens("good,ann,1"), accounts=verifier, audiences=[ISSUER])
    door = RequestAuthenticator(sources, SystemClock())
    for path in ("/livez/ping", "/api"):
        nobody = await door.authenticate(Request("GET", path))
        assert (nobody.name, nobody.groups) == (ANONYMOUS, ("system:unauthenticated",))
    ann = await door.authenticate(Request("GET", "/api", headers={"authorization": "Bearer good"}))
    assert ann.groups == ("system:authenticated",)
    with pytest.raises(Unauthorized):
        await door.authenticate(Request("GET", "/livez", headers={"authorization": "Bearer bad"}))


def test_only_whole_account_names_are_split() -> None:
    assert split_service_account("system:serviceaccount:a:b") == ("a", "b")
    for name in ("system:serviceaccount:a", "system:serviceaccount::b", "system:serviceaccount:a:b:c", "ann"):
        assert split_service_account(name) is None
