"""From method, path and query to what a request is about (apiserver's RequestInfo): a pure function.

GET /api/v1/namespaces/default/pods?watch=1   ->   watch pods in default
PUT /apis/apps/v1/namespaces/a/deployments/b/status   ->   update deployments/status b in a
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controlplane.api.model import RequestInfo
from kube import selectors, status

_VERBS = {
    "POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
}  # fmt: skip
# Two parts after namespaces/NAME that are the namespace's own.
_OF_A_NAMESPACE = ("status", "finalize")
_FALSE = ("false", "0")


def parse(method: str, path: str, query: Mapping[str, Sequence[str]]) -> RequestInfo:
    """BadRequest for a path that climbs, or a name in it that a field selector contradicts."""
    parts = [part for part in path.split("/") if part]
    plain = RequestInfo(method.lower(), path)
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return plain
    verb = _VERBS.get(method, "")
    if rest[0] == "watch":
        verb, rest = "watch", rest[1:]
        if not rest:
            return plain
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and not (rest[2] in _OF_A_NAMESPACE and len(rest) == 3):
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    for part in (namespace, resource, name, subresource):
        if part in (".", ".."):
            # What follows them, a proxy's path, is not ours to judge.
            raise status.bad_request(f"the path of the request may not contain '{part}'")
    verb, name = _without_name(verb, name, query)
    return RequestInfo(
        verb=verb, path=path, is_resource=True, group=group, version=version, resource=resource,
        subresource=subresource, namespace=namespace, name=name, remainder="/".join(rest[3:]),
        field_selector=(query.get("fieldSelector") or ("",))[0],
    )  # fmt: skip


def _without_name(verb: str, name: str, query: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The verb of a collection, and the one name that a selector asks for, for authorization."""
    if name:
        return verb, name
    if verb == "get":
        watch = query.get("watch")
        verb = "watch" if watch and watch[0] not in _FALSE else "list"
    elif verb == "delete":
        verb = "deletecollection"
    if verb in ("list", "watch", "deletecollection"):
        name = _selected_name((query.get("fieldSelector") or ("",))[0])
    return verb, name


def _selected_name(field_selector: str) -> str:
    if "metadata.name" not in field_selector:
        return ""
    try:
        requirements = selectors.parse_fields(field_selector)
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from error
    for requirement in requirements:
        if requirement.field == "metadata.name" and requirement.equal:
            return requirement.value
    return ""
