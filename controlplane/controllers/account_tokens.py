"""Secrets of the type kubernetes.io/service-account-token: filled for their account, gone with it.

The token is asked of the API server like any other, bound to the Secret, and lasts as long as a request may
ask for: this controller holds no signing key. Upstream's has no end at all, and is signed by the controller
(pkg/controller/serviceaccount/tokens_controller.go).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from kube import status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
TOKEN, ROOT_CA, NAMESPACE = "token", "ca.crt", "namespace"
SECONDS_MAX = 1 << 32
"""The most that a TokenRequest may ask for (authentication/v1 validation)."""


def is_orphan(secret: JsonObject, account: JsonObject | None) -> bool:
    """Its account is gone, or another one of that name is there now (pure)."""
    uid = _annotations(secret).get(ACCOUNT_UID, "")
    return account is None or bool(uid and uid != account["metadata"]["uid"])


def missing(secret: JsonObject, account: JsonObject, bundle: str) -> tuple[JsonObject, bool]:
    """(the change that completes the Secret but for its token, whether a token is missing) (pure)."""
    data = secret.get("data") or {}
    wanted = {ROOT_CA: _encoded(bundle), NAMESPACE: _encoded(secret["metadata"]["namespace"])}
    change: JsonObject = {}
    if any(data.get(key) != text for key, text in wanted.items()):
        change["data"] = wanted
    if not _annotations(secret).get(ACCOUNT_UID):
        change["metadata"] = {"annotations": {ACCOUNT_UID: account["metadata"]["uid"]}}
    return change, not data.get(TOKEN)


def token_request(secret: JsonObject) -> JsonObject:
    found = secret["metadata"]
    bound = {"apiVersion": "v1", "kind": "Secret", "name": found["name"], "uid": found["uid"]}
    return {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": SECONDS_MAX, "boundObjectRef": bound},
    }  # fmt: skip


def _annotations(secret: JsonObject) -> dict[str, str]:
    return secret["metadata"].get("annotations") or {}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class AccountTokens:
    """`bundle` is the CA's certificate as PEM. The key is the Secret's."""

    name = "legacy-service-account-token-controller"
    reads = (r.SECRETS, r.SERVICE_ACCOUNTS)
    writes = (r.SECRETS, r.SERVICE_ACCOUNTS)

    def __init__(self, bundle: str) -> None:
        self._bundle = bundle

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if resource == r.SECRETS:
            return (key_of(value),) if value.get("type") == TYPE else ()
        found = value["metadata"]
        near = view.in_namespace(r.SECRETS, found["namespace"])
        return [
            key_of(secret)
            for secret in near
            if secret.get("type") == TYPE and _annotations(secret).get(ACCOUNT_NAME) == found["name"]
        ]

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        secret = view.get(r.SECRETS, key)
        if secret is None or secret.get("type") != TYPE or "deletionTimestamp" in secret["metadata"]:
            return DONE
        namespace = secret["metadata"]["namespace"]
        name = _annotations(secret).get(ACCOUNT_NAME, "")
        if not name:
            return DONE  # of nobody; servers refuse such a Secret
        account_key = f"{namespace}/{name}"
        account = view.get(r.SERVICE_ACCOUNTS, account_key)
        if is_orphan(secret, account):
            # Our copy of the accounts may be behind that of the secrets.
            account = await _live(account_key, api)
        if account is None or is_orphan(secret, account):
            await _delete(secret, api)
            return DONE
        change, lacks_token = missing(secret, account, self._bundle)
        if lacks_token:
            answer = await api.ask(r.SERVICE_ACCOUNTS, account, "token", token_request(secret))
            change.setdefault("data", {})[TOKEN] = _encoded(answer["status"]["token"])
        if change:
            await api.patch(r.SECRETS, secret, change, strict=True)
        return DONE


async def _live(key: str, api: Writer) -> JsonObject | None:
    try:
        return await api.get(r.SERVICE_ACCOUNTS, key)
    except status.NotFound:
        return None


async def _delete(secret: JsonObject, api: Writer) -> None:
    try:
        await api.delete(r.SECRETS, secret)
    except status.NotFound:
        return
