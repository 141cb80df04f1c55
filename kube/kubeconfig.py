"""Kubeconfig files to client settings and back; and the settings a pod finds in its service-account mount.

Read: clusters, users and contexts; certificates and keys inline or in files (relative to the kubeconfig);
tokens, token files, basic passwords, impersonation, proxy URL. Programs that fetch credentials (`exec`,
`auth-provider`) are refused by name: an agent must not run what a file tells it to.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from kube import yaml
from kube.client.settings import NOTHING, BadSettings, Material, Settings
from kube.errors import InvalidObject
from kube.files import write_atomically

# client-go's rest.InClusterConfig
SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    clusters: Mapping[str, dict[str, Any]]
    users: Mapping[str, dict[str, Any]]
    contexts: Mapping[str, dict[str, Any]]
    current: str


def load(path: str | Path, *, context: str = "", user_agent: str = "pykubelet") -> Settings:
    """The settings of `context`, or of the file's current one. BadSettings names the file and the field."""
    return load_merged([path], context=context, user_agent=user_agent)


def load_merged(paths: Sequence[str | Path], *, context: str = "", user_agent: str = "pykubelet") -> Settings:
    """Several files as one, as $KUBECONFIG joins them: of one name the first file's entry counts."""
    files = [_read(Path(path)) for path in paths]
    shown = ", ".join(str(file.path) for file in files)
    chosen = context or next((file.current for file in files if file.current), "")
    if not chosen:
        raise BadSettings(f'cannot use kubeconfig "{shown}": because it has no current-context')
    found, _ = _entry(files, "contexts", chosen, shown)
    cluster, cluster_file = _entry(files, "clusters", str(found.get("cluster") or ""), shown)
    settings = _with_cluster(cluster, _Reader(cluster_file.path, f'cluster "{found.get("cluster")}"'))
    if user_name := found.get("user"):
        user, user_file = _entry(files, "users", str(user_name), shown)
        settings = _with_user(settings, user, _Reader(user_file.path, f'user "{user_name}"'))
    return replace(settings, namespace=found.get("namespace") or "default", user_agent=user_agent)


def in_cluster(environ: Mapping[str, str], *, mount: str | Path = SERVICE_ACCOUNT_DIR) -> Settings:
    """What a pod has: the service's address from the environment, CA and a token that rotates in a mount."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not (host and port):
        because = "because KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"
        raise BadSettings(f"cannot find the API server from inside the cluster: {because}")
    shown = f"[{host}]" if ":" in host else host
    namespace_file = Path(mount) / "namespace"
    namespace = Material(file=str(namespace_file)).read().decode().strip() if namespace_file.exists() else ""
    return Settings(
        server=f"https://{shown}:{port}",
        ca=Material(file=str(Path(mount) / "ca.crt")),
        token_file=str(Path(mount) / "token"),
        namespace=namespace or "default",
    )


def write(path: str | Path, settings: Settings, *, cluster: str = "pykubelet", user: str = "admin") -> None:
    """A kubeconfig with one context, for kubectl too; whole or not at all, readable by its owner alone.
    What is a file in the settings stays a reference, by its absolute path."""
    write_atomically(Path(path), render(settings, cluster=cluster, user=user), mode=0o600)


def render(settings: Settings, *, cluster: str = "pykubelet", user: str = "admin") -> bytes:
    """The text of such a kubeconfig: JSON, which is YAML as well."""
    server: dict[str, Any] = {"server": settings.server}
    _put(server, "certificate-authority", settings.ca)
    extra = {
        "tls-server-name": settings.tls_server_name,
        "insecure-skip-tls-verify": settings.is_insecure,
        "proxy-url": settings.proxy_url,
    }
    server.update({name: value for name, value in extra.items() if value})
    credentials: dict[str, Any] = {}
    _put(credentials, "client-certificate", settings.certificate)
    _put(credentials, "client-key", settings.key)
    if settings.token_file:
        credentials["tokenFile"] = str(Path(settings.token_file).absolute())
    elif settings.token:
        credentials["token"] = settings.token
    context = f"{user}@{cluster}"
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [
            {
                "name": context,
                "context": {"cluster": cluster, "user": user, "namespace": settings.namespace},
            }
        ],
        "current-context": context,
        "preferences": {},
    }
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"


def _put(target: dict[str, Any], name: str, material: Material) -> None:
    if material.data:
        target[f"{name}-data"] = base64.b64encode(material.data).decode()
    elif material.file:
        target[name] = str(Path(material.file).absolute())


def _read(path: Path) -> _File:
    try:
        documents = yaml.load_all(Material(file=str(path)).read())
    except InvalidObject as error:
        raise BadSettings(f"cannot use kubeconfig: because {'; '.join(error.located(str(path)))}") from error
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise BadSettings(f'cannot use kubeconfig "{path}": because it does not hold one Config object')
    value = documents[0].value
    if value.get("kind", "Config") != "Config":
        raise BadSettings(
            f'cannot use kubeconfig "{path}": because its kind is "{value["kind"]}", not Config'
        )
    return _File(
        path=path,
        clusters=_named(path, value, "clusters", "cluster"),
        users=_named(path, value, "users", "user"),
        contexts=_named(path, value, "contexts", "context"),
        current=str(value.get("current-context") or ""),
    )


def _named(path: Path, value: dict[str, Any], field: str, inner: str) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    listed = value.get(field) or []
    for number, item in enumerate(listed if isinstance(listed, list) else [listed]):
        name = item.get("name") if isinstance(item, dict) else None
        content = item.get(inner) if isinstance(item, dict) else None
        if not isinstance(name, str) or not isinstance(content, dict | None):
            where = f'kubeconfig "{path}"'
            raise BadSettings(f"cannot use {where}: because {field}[{number}] is not a named {inner}")
        entries.setdefault(name, content or {})
    return entries


def _entry(files: Sequence[_File], field: str, name: str, shown: str) -> tuple[dict[str, Any], _File]:
    for file in files:
        found: Mapping[str, dict[str, Any]] = getattr(file, field)
        if name in found:
            return found[name], file
    raise BadSettings(f'cannot use kubeconfig "{shown}": because {field} has no "{name}"')


@dataclass(frozen=True, slots=True)
class _Reader:
    """Fields of one cluster or user, with errors that say where."""

    path: Path
    subject: str

    def wrong(self, because: str) -> BadSettings:
        return BadSettings(f'cannot use {self.subject} of kubeconfig "{self.path}": because {because}')

    def text(self, value: dict[str, Any], field: str) -> str:
        found = value.get(field)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise self.wrong(f"{field} must be a string")
        return found

    def file(self, value: dict[str, Any], field: str) -> str:
        found = self.text(value, field)
        return str((self.path.parent / found).absolute()) if found else ""

    def material(self, value: dict[str, Any], field: str) -> Material:
        encoded = self.text(value, f"{field}-data")
        if not encoded:
            file = self.file(value, field)
            return Material(file=file) if file else NOTHING
        try:
            return Material(data=base64.b64decode("".join(encoded.split()), validate=True))
        except binascii.Error as error:
            raise self.wrong(f"{field}-data is not base64 ({error})") from error


def _with_cluster(cluster: dict[str, Any], reader: _Reader) -> Settings:
    server = reader.text(cluster, "server").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise reader.wrong(f'server must be an http or https URL, not "{server}"')
    return Settings(
        server=server,
        ca=reader.material(cluster, "certificate-authority"),
        tls_server_name=reader.text(cluster, "tls-server-name"),
        is_insecure=cluster.get("insecure-skip-tls-verify") is True,
        proxy_url=reader.text(cluster, "proxy-url"),
    )


def _with_user(settings: Settings, user: dict[str, Any], reader: _Reader) -> Settings:
    for program in ("exec", "auth-provider"):
        if user.get(program):
            raise reader.wrong(f"credentials from programs ({program}) are not supported")
    certificate, key = reader.material(user, "client-certificate"), reader.material(user, "client-key")
    if bool(certificate) != bool(key):
        raise reader.wrong("client-certificate and client-key go together")
    groups = user.get("as-groups") or []
    return replace(
        settings,
        certificate=certificate,
        key=key,
        token=reader.text(user, "token"),
        token_file=reader.file(user, "tokenFile"),
        basic=(reader.text(user, "username"), reader.text(user, "password")),
        impersonate_user=reader.text(user, "as"),
        impersonate_groups=tuple(str(group) for group in groups),
    )
