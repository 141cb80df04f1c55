"""What the server serves, told in both forms: aggregated (client-go asks for it first) and legacy.

Everything is made once from the registry. Groups come in the order of upstream's priorities; a client's
shortcuts for kinds and groups depend on it. A client that names the document it has (`If-None-Match`) gets
304.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from controlplane.api import codec
from controlplane.api.model import JSON, Request, Response
from controlplane.api.pages import Page
from controlplane.api.registry.model import Kind
from kube import status
from kube.client.resources import Resource

# By groupPriorityMinimum, falling (apiserver's APIService priorities).
_ORDER = (
    "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
    "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io",
)  # fmt: skip
_GROUP = "apidiscovery.k8s.io"
_AGGREGATED = f"{JSON};g={_GROUP};v=v2;as=APIGroupDiscoveryList"
_WRITTEN = ("get", "patch", "update")
_STREAMED = ("create", "get")
_PROXIED = ("create", "delete", "get", "patch", "update")
_SUBRESOURCE_VERBS = {
    "status": _WRITTEN, "scale": _WRITTEN, "ephemeralcontainers": _WRITTEN, "resize": _WRITTEN,
    "binding": ("create",), "eviction": ("create",), "token": ("create",), "finalize": ("update",),
    "log": ("get",), "exec": _STREAMED, "attach": _STREAMED, "portforward": _STREAMED, "proxy": _PROXIED,
}  # fmt: skip
# What a subresource speaks when it is not its parent's kind.
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"), "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"), "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}  # fmt: skip
# Options of the streaming subresources, by the parent's kind (connecter).
_OPTIONS = {
    ("Pod", "exec"): "PodExecOptions", ("Pod", "attach"): "PodAttachOptions",
    ("Pod", "portforward"): "PodPortForwardOptions", ("Pod", "proxy"): "PodProxyOptions",
    ("Service", "proxy"): "ServiceProxyOptions", ("Node", "proxy"): "NodeProxyOptions",
}  # fmt: skip

Json = dict[str, Any]


def pages(kinds: Iterable[Kind]) -> dict[str, Page]:
    """`/api`, `/apis`, a page per group and one per group version."""
    groups: dict[str, dict[str, list[Kind]]] = {}
    for kind in kinds:
        versions = groups.setdefault(kind.resource.group, {})
        versions.setdefault(kind.resource.version, []).append(kind)
    named = sorted((group for group in groups if group), key=_rank)
    core = groups.get("", {})
    made = {
        "/api": _page({"kind": "APIVersions", "versions": list(core), "serverAddressByClientCIDRs": []},
                      _aggregated({"": core})),
        "/apis": _page({"kind": "APIGroupList", "apiVersion": "v1",
                        "groups": [_group(name, groups[name]) for name in named]},
                       _aggregated({name: groups[name] for name in named})),
    }  # fmt: skip
    for name in named:
        made[f"/apis/{name}"] = _page({"kind": "APIGroup", "apiVersion": "v1", **_group(name, groups[name])})
    for group, versions in groups.items():
        for version, members in versions.items():
            path = f"/apis/{group}/{version}" if group else f"/api/{version}"
            made[path] = _page(_resource_list(members))
    return made


def root(pages: Iterable[str]) -> Page:
    """`/`: the paths there are."""
    body = codec.encode({"paths": sorted({path.rstrip("/") for path in pages} - {""})})

    async def page(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        return Response(body=body)

    return page


def no_custom_kinds() -> dict[str, Page]:
    """The list of CustomResourceDefinitions: empty. Discovery does not speak of it; but before kubectl says
    that a kind is unknown it looks here, and without an answer it says something that helps nobody."""
    group_version, kind = "apiextensions.k8s.io/v1", "CustomResourceDefinitionList"
    body = {"kind": kind, "apiVersion": group_version, "metadata": {"resourceVersion": "1"}, "items": []}
    return {f"/apis/{group_version}/customresourcedefinitions": _page(body)}


def _rank(group: str) -> tuple[int, str]:
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), group)


def _page(legacy: Json, aggregated: Json | None = None) -> Page:
    legacy_body = codec.encode(legacy)
    aggregated_body = codec.encode(aggregated) if aggregated is not None else b""
    tag = f'"{hashlib.sha512(aggregated_body).hexdigest().upper()}"'

    async def page(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        if not aggregated_body or not _wants_aggregated(request.headers.get("accept", "")):
            return Response(body=legacy_body)
        headers = {"ETag": tag, "Vary": "Accept"}
        if request.headers.get("if-none-match") == tag:
            return Response(304, content_type=_AGGREGATED, headers=headers)
        return Response(body=aggregated_body, content_type=_AGGREGATED, headers=headers)

    return page


def _wants_aggregated(accept: str) -> bool:
    """Whether the first clause that can be met asks for the aggregated form, v2."""
    for clause in accept.split(","):
        type_, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        if type_ not in (JSON, "*/*", "application/*"):
            continue
        if "as" not in parameters:
            return False
        wanted = (parameters.get("g"), parameters.get("v"), parameters["as"])
        if wanted == (_GROUP, "v2", "APIGroupDiscoveryList") and "profile" not in parameters:
            return True
    return False


# --- legacy ---


def _group(name: str, versions: Iterable[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(members: list[Kind]) -> Json:
    entries: list[Json] = []
    for kind in members:
        entries.append(_resource(kind))
        entries += [_subresource(kind, name) for name in kind.subresources]
    api_version = members[0].resource.api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def _resource(kind: Kind) -> Json:
    resource = kind.resource
    entry: Json = {
        "name": resource.plural, "singularName": kind.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": list(kind.verbs),
    }  # fmt: skip
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return entry


def _subresource(kind: Kind, name: str) -> Json:
    resource = kind.resource
    entry: Json = {
        "name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": list(_SUBRESOURCE_VERBS[name]),
    }  # fmt: skip
    speaks = _speaks(kind, name)
    entry["kind"] = speaks["kind"]
    if (speaks["group"], speaks["version"]) != (resource.group, resource.version):
        entry |= {"group": speaks["group"], "version": speaks["version"]}
    return entry


def _speaks(kind: Kind, name: str) -> Json:
    """Group, version and kind of what is sent to a subresource."""
    resource = kind.resource
    if options := _OPTIONS.get((resource.kind, name)):
        return _named("", "v1", options)
    return _named(*_SUBRESOURCE_KINDS[name]) if name in _SUBRESOURCE_KINDS else _kind_of(resource)


# --- aggregated ---


def _aggregated(groups: dict[str, dict[str, list[Kind]]]) -> Json:
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {"version": version, "freshness": "Current", "resources": [_discovered(k) for k in members]}
                for version, members in versions.items()
            ],
        }
        for group, versions in groups.items()
    ]
    return {
        "kind": "APIGroupDiscoveryList", "apiVersion": f"{_GROUP}/v2", "metadata": {}, "items": items,
    }  # fmt: skip


def _discovered(kind: Kind) -> Json:
    resource = kind.resource
    entry: Json = {
        "resource": resource.plural, "responseKind": _kind_of(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": kind.singular, "verbs": list(kind.verbs),
    }  # fmt: skip
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": _speaks(kind, name),
                "verbs": list(_SUBRESOURCE_VERBS[name]),
            }
            for name in kind.subresources
        ]
    return entry


def _kind_of(resource: Resource) -> Json:
    return _named(resource.group, resource.version, resource.kind)


def _named(group: str, version: str, kind: str) -> Json:
    return {"group": group, "version": version, "kind": kind}
