"""serviceaccounts/token: from a TokenRequest to a token bound to a pod, a secret or a node
(pkg/registry/core/serviceaccount/storage/token.go). `checked` decides; `answer` signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controlplane.authn import claims
from controlplane.authn.claims import Binding, Named, Objects
from controlplane.authn.tokens import Signer
from kube import errors, meta, status
from kube.errors import FieldError, InvalidObject, Status, StatusError, invalid_status

Json = dict[str, Any]
_PLURALS = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


@dataclass(frozen=True, slots=True)
class Wanted:
    binding: Binding
    audiences: tuple[str, ...]
    seconds: int


def checked(
    request: Mapping[str, Any], account: tuple[str, str], audiences: Sequence[str], objects: Objects
) -> Wanted:
    """What the request asks for account (namespace, name); `audiences` are the API server's own, for a
    request that names none. NotFound, Invalid, Conflict or BadRequest when it cannot be had."""
    namespace, name = account
    spec = request.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    seconds = claims.SECONDS_DEFAULT if seconds is None else seconds
    wrong = _seconds(seconds)
    if wrong:
        raise status.error_of(invalid_status(InvalidObject([wrong], "TokenRequest"), "authentication.k8s.io"))
    found = objects("serviceaccounts", namespace, name)
    if found is None:
        raise _not_found("serviceaccounts", name)
    binding = Binding(namespace, _named(found))
    if spec.get("boundObjectRef"):
        binding = _bound(binding, spec["boundObjectRef"], objects)
    return Wanted(binding, tuple(spec.get("audiences") or audiences), seconds)


def answer(request: Json, wanted: Wanted, signer: Signer, now: datetime, token_id: str) -> Json:
    """The TokenRequest with its status. What it says of the end is what was asked for, also when the token
    itself holds longer."""
    token, _ = signer.sign(wanted.binding, wanted.audiences, wanted.seconds, now, token_id)
    ends = meta.format_time(now + timedelta(seconds=wanted.seconds))
    spec = {
        **(request.get("spec") or {}),
        "audiences": list(wanted.audiences),
        "expirationSeconds": wanted.seconds,
    }
    metadata = {"name": wanted.binding.account.name, "namespace": wanted.binding.namespace,
                "creationTimestamp": meta.format_time(now)}  # fmt: skip
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": metadata,
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": ends},
    }


def _seconds(seconds: int) -> FieldError | None:
    path = "spec.expirationSeconds"
    if seconds < claims.SECONDS_MIN:
        return errors.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > claims.SECONDS_MAX:
        return errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
    return None


def _bound(binding: Binding, ref: Mapping[str, Any], objects: Objects) -> Binding:
    kind, name = ref.get("kind", ""), ref.get("name", "")
    plural = _PLURALS.get((ref.get("apiVersion", ""), kind))
    if plural is None:
        raise status.bad_request(
            f"cannot bind token to object of type {ref.get('apiVersion', '')}, Kind={kind}"
        )
    found = objects(plural, "" if plural == "nodes" else binding.namespace, name)
    if found is None:
        raise _not_found(plural, name)
    bound = _named(found)
    if ref.get("uid") and ref["uid"] != bound.uid:
        message = (
            f'Operation cannot be fulfilled on {plural} "{name}": the UID in the bound object reference '
            f"({ref['uid']}) does not match the UID in record. The object might have been deleted and then "
            "recreated"
        )
        raise status.error_of(Status(409, "Conflict", message))
    if plural == "pods":
        return _with_pod(binding, bound, found, objects)
    account = binding.account
    if plural == "secrets":
        return Binding(binding.namespace, account, secret=bound)
    return Binding(binding.namespace, account, node=bound)


def _with_pod(binding: Binding, pod: Named, found: Mapping[str, Any], objects: Objects) -> Binding:
    spec = found.get("spec") or {}
    if spec.get("serviceAccountName") != binding.account.name:
        message = (
            f'cannot bind token for serviceaccount "{binding.account.name}" to pod running with different '
            "serviceaccount name."
        )
        raise status.bad_request(message)
    node_name = spec.get("nodeName", "")
    node = None
    if node_name:
        known = objects("nodes", "", node_name)
        node = _named(known) if known else Named(node_name, "")
    return Binding(binding.namespace, binding.account, pod=pod, node=node)


def _named(item: Mapping[str, Any]) -> Named:
    return Named(item["metadata"]["name"], item["metadata"].get("uid", ""))


def _not_found(plural: str, name: str) -> StatusError:
    details = {"name": name, "kind": plural}
    return status.error_of(Status(404, "NotFound", f'{plural} "{name}" not found', details))
