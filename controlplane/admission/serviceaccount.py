"""ServiceAccount: every pod runs as an account that exists, with its token mounted
(plugin/pkg/admission/serviceaccount).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from controlplane.admission.plugin import CREATE, Plugin, denied
from controlplane.api.model import Attributes, View
from controlplane.authn.claims import SECONDS_PROJECTED
from kube.client.model import JsonObject
from kube.client.resources import SERVICE_ACCOUNTS
from kube.meta import CONFIG_MIRROR

DEFAULT = "default"
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA = "kube-root-ca.crt"
SUFFIX_LENGTH = 5
# Without vowels and look-alikes (apimachinery's rand.String).
SUFFIX_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"


def random_suffix() -> str:
    return "".join(random.choices(SUFFIX_CHARACTERS, k=SUFFIX_LENGTH))


class ServiceAccount(Plugin):
    name = "ServiceAccount"
    verbs = (CREATE,)
    kinds = frozenset(("/pods",))

    def __init__(self, suffix: Callable[[], str] = random_suffix) -> None:
        self._suffix = suffix

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        pod = attributes.value or {}
        if _is_mirror(pod):
            return pod
        spec = pod.setdefault("spec", {})
        spec["serviceAccountName"] = spec.get("serviceAccountName") or DEFAULT
        # The old name of the field; both always say the same.
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = self._account(attributes, view)
        if _mounts_token(spec, account):
            self._mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(item) for item in account["imagePullSecrets"]]
        return pod

    async def validate(self, attributes: Attributes, view: View) -> None:
        pod = attributes.value or {}
        if not _is_mirror(pod):
            self._account(attributes, view)
            return
        spec = pod.get("spec") or {}
        if spec.get("serviceAccountName"):
            raise denied(attributes, "a mirror pod may not reference service accounts")
        for volume in spec.get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "serviceAccountToken" in source:
                    raise denied(
                        attributes, "a mirror pod may not use ServiceAccountToken volume projections"
                    )

    def _account(self, attributes: Attributes, view: View) -> JsonObject:
        namespace = attributes.info.namespace
        name = ((attributes.value or {}).get("spec") or {}).get("serviceAccountName") or DEFAULT
        account = view.get(SERVICE_ACCOUNTS, namespace, name)
        if account is None:
            message = (
                f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            )
            raise denied(attributes, message)
        return account

    def _mount(self, spec: JsonObject) -> None:
        """Into every container that has nothing at that path, one volume for all; one that is there already
        (a template copied from a running pod) is used."""
        volume = next((item["name"] for item in spec.get("volumes") or () if _is_access(item)), "")
        needed = [item for item in _containers(spec) if MOUNT_PATH not in _mounted(item)]
        if not needed:
            return
        if not volume:
            volume = f"{VOLUME_PREFIX}{self._suffix()}"
            spec["volumes"] = [*(spec.get("volumes") or ()), {"name": volume, "projected": projection()}]
        for container in needed:
            mount = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def projection() -> JsonObject:
    """The volume source: token, the cluster's CA, namespace."""
    ca = {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": SECONDS_PROJECTED, "path": "token"}},
            {"configMap": ca},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ],
    }


def _is_mirror(pod: Mapping[str, Any]) -> bool:
    return CONFIG_MIRROR in (pod["metadata"].get("annotations") or {})


def _mounts_token(spec: Mapping[str, Any], account: Mapping[str, Any]) -> bool:
    """The pod's word, then the account's, then yes."""
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _is_access(volume: Mapping[str, Any]) -> bool:
    return str(volume.get("name", "")).startswith(VOLUME_PREFIX) and "projected" in volume


def _containers(spec: Mapping[str, Any]) -> Iterator[JsonObject]:
    for kind in ("initContainers", "containers"):
        yield from spec.get(kind) or ()


def _mounted(container: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(mount.get("mountPath", "") for mount in container.get("volumeMounts") or ())
