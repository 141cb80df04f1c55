"""Lifecycle hooks: postStart and preStop as exec, httpGet or sleep (kubelet/lifecycle/handlers.go).

A hook has no timeout of its own; whoever runs one bounds it by cancelling. A failure is `HookFailed` with
upstream's message. An https hook whose server speaks plain http is asked again over http, without the
Authorization header, and a LifecycleHTTPFallback event is due.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aio.clock import Clock
from aio.errors import Retry
from cri.errors import CriError
from cri.types import ExecSyncResponse
from kube.objects.core_v1 import ContainerPort, HTTPGetAction, LifecycleHandler, Pod
from kubelet.podspec.downward import go_quote
from kubelet.podspec.names import AnyContainer, all_containers, pod_display

USER_AGENT = "kube-lifecycle/1.36"
MAX_BODY_BYTES = 10 * 1024  # handlers.go maxRespBodyLength
LIFECYCLE_HTTP_FALLBACK = "LifecycleHTTPFallback"

ExecSync = Callable[[str, Sequence[str], int], Awaitable[ExecSyncResponse]]


class HookFailed(Retry):
    """The hook did not succeed; the message is upstream's log line."""


@dataclass(frozen=True, slots=True)
class HookTarget:
    """Whose hook it is and where it reaches: `host` is the pod's first address, "" without network."""

    pod: Pod
    container_name: str
    container_id: str
    host: str
    ports: tuple[ContainerPort, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpHook:
    """One GET, everything resolved. Header names may repeat."""

    url: str
    headers: tuple[tuple[str, str], ...]


class HttpGet(Protocol):
    """Performs a hook's GET and returns the status code. Raises OSError; ssl.SSLError on a TLS mismatch."""

    async def __call__(self, hook: HttpHook) -> int: ...


@dataclass(frozen=True, slots=True)
class HookRunner:
    """Runs hooks. `on_fallback(pod, message)` gets the text of the event about a fallback to http."""

    exec_sync: ExecSync
    http_get: HttpGet
    clock: Clock
    on_fallback: Callable[[Pod, str], None]

    async def run(self, handler: LifecycleHandler, pod: Pod, container_id: str, host: str) -> None:
        """Run one hook of a container of `pod`, found by its handler. HookFailed when it fails."""
        owner = owner_of(pod, handler)
        name, ports = (owner.name, owner.ports) if owner is not None else (container_id, ())
        await self.run_for(handler, HookTarget(pod, name, container_id, host, ports))

    async def run_for(self, handler: LifecycleHandler, target: HookTarget) -> None:
        where = f'for Container "{target.container_name}" in Pod "{pod_display(target.pod)}" failed - error:'
        if handler.exec is not None:
            await self._exec(handler.exec.command, target, where)
        elif handler.http_get is not None:
            try:
                await self._http(handler.http_get, target)
            except (OSError, ValueError) as fault:
                path = handler.http_get.path or ""
                raise HookFailed(f"HTTP lifecycle hook ({path}) {where} {fault}") from fault
        elif handler.sleep is not None:
            await self.clock.sleep(handler.sleep.seconds)
        else:
            raise HookFailed("Cannot run handler: invalid handler")

    async def _exec(self, command: Sequence[str], target: HookTarget, where: str) -> None:
        shown = f"Exec lifecycle hook ([{' '.join(command)}]) {where}"
        try:
            answer = await self.exec_sync(target.container_id, command, 0)
        except CriError as fault:
            raise HookFailed(f'{shown} {fault.message}, message: ""') from fault
        if answer.exit_code != 0:
            output = (answer.stdout + answer.stderr).decode("utf-8", "replace")
            command_text = f"command '{' '.join(command)}' exited with {answer.exit_code}"
            error = f"{command_text}: {answer.stderr.decode('utf-8', 'replace')}"
            raise HookFailed(f"{shown} {error}, message: {go_quote(output)}")

    async def _http(self, action: HTTPGetAction, target: HookTarget) -> None:
        hook = http_hook(action, target)
        try:
            status = await self.http_get(hook)
        except ssl.SSLError:
            if not hook.url.startswith("https://"):
                raise
            status = await self.http_get(plain(hook))
            authority = hook.url.split("/", 3)[2]
            self.on_fallback(
                target.pod,
                f"request to HTTPS lifecycle hook {authority} got HTTP response, retry with HTTP succeeded",
            )
        if status >= 400:
            raise ValueError(f"HTTP request failed with statuscode: {status}")


def owner_of(pod: Pod, handler: LifecycleHandler) -> AnyContainer | None:
    """The container whose hook this is."""
    for container in all_containers(pod):
        lifecycle = container.lifecycle
        if lifecycle is not None and handler in (lifecycle.post_start, lifecycle.pre_stop):
            return container
    return None


def http_hook(action: HTTPGetAction, target: HookTarget) -> HttpHook:
    """The request of an httpGet hook; ValueError when host or port cannot be resolved. Pure."""
    host = action.host or target.host
    if not host:
        raise ValueError("failed to find networking container: the pod has no address")
    port = _port(action.port, target.ports)
    scheme = (action.scheme or "HTTP").lower()
    path = action.path or ""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [(header.name, header.value) for header in action.http_headers]
    for name, default in (("User-Agent", USER_AGENT), ("Accept", "*/*")):
        if all(given.lower() != name.lower() for given, _ in headers):
            headers.append((name, default))
    return HttpHook(f"{scheme}://{authority}/{path.removeprefix('/')}", tuple(headers))


def plain(hook: HttpHook) -> HttpHook:
    """The same over http, without credentials: nobody may read those on the wire."""
    kept = tuple((name, value) for name, value in hook.headers if name.lower() != "authorization")
    return HttpHook("http://" + hook.url.removeprefix("https://"), kept)


def _port(port: int | str, ports: Sequence[ContainerPort]) -> int:
    if isinstance(port, str):
        named = next((item.container_port for item in ports if item.name == port), None)
        if named is None and not port.isdigit():
            raise ValueError(f"couldn't find port: {go_quote(port)}")
        port = named if named is not None else int(port)
    if not 0 < port < 65536:
        raise ValueError(f"invalid port number: {port}")
    return port
