"""What every namespace has by itself: the service account "default" and the ConfigMap with the cluster's CA.

Both are made again when somebody deletes them; the ConfigMap is put right when somebody changes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.controllers.base import DONE, Result, View, Writer
from kube import status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

DEFAULT_ACCOUNT = "default"
ROOT_CA_NAME = "kube-root-ca.crt"
ROOT_CA_KEY = "ca.crt"


def is_open(namespace: JsonObject | None) -> bool:
    """Whether anything may still be made in it."""
    return namespace is not None and "deletionTimestamp" not in namespace["metadata"]


def _key_of(resource: Resource, value: JsonObject, name: str) -> Iterable[str]:
    """The namespace's name, when the change concerns it or the object `name` in it."""
    if resource == r.NAMESPACES:
        return (value["metadata"]["name"],)
    return (value["metadata"]["namespace"],) if value["metadata"]["name"] == name else ()


class ServiceAccountController:
    name = "serviceaccount-controller"
    reads = (r.NAMESPACES, r.SERVICE_ACCOUNTS)
    writes = (r.SERVICE_ACCOUNTS,)

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        return _key_of(resource, value, DEFAULT_ACCOUNT)

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        is_there = view.get(r.SERVICE_ACCOUNTS, f"{key}/{DEFAULT_ACCOUNT}") is not None
        if not is_there and is_open(view.get(r.NAMESPACES, key)):
            await _create(r.SERVICE_ACCOUNTS, {"metadata": {"name": DEFAULT_ACCOUNT, "namespace": key}}, api)
        return DONE


class RootCaPublisher:
    """`bundle` is the CA's certificate as PEM."""

    name = "root-ca-certificate-publisher-controller"
    reads = (r.NAMESPACES, r.CONFIG_MAPS)
    writes = (r.CONFIG_MAPS,)

    def __init__(self, bundle: str) -> None:
        self._bundle = bundle

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        return _key_of(resource, value, ROOT_CA_NAME)

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        if not is_open(view.get(r.NAMESPACES, key)):
            return DONE
        data = {ROOT_CA_KEY: self._bundle}
        found = view.get(r.CONFIG_MAPS, f"{key}/{ROOT_CA_NAME}")
        if found is None:
            body = {"metadata": {"name": ROOT_CA_NAME, "namespace": key}, "data": data}
            await _create(r.CONFIG_MAPS, body, api)
        elif found.get("data") != data:
            others = {name: None for name in found.get("data") or {} if name != ROOT_CA_KEY}
            await api.patch(r.CONFIG_MAPS, found, {"data": {**others, **data}})
        return DONE


async def _create(resource: Resource, body: JsonObject, api: Writer) -> None:
    try:
        await api.create(resource, body)
    except status.AlreadyExists:
        return  # the watch will show it, and that queues the namespace again
