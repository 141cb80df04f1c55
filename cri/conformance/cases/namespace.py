"""Cases about what a pod's containers share with each other and with the host: namespaces, names, sysctls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path

from cri.conformance.case import case, expect, expect_equal
from cri.conformance.context import Context
from cri.types import (
    DNSConfig,
    LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
    PortMapping,
)

OWN_PID = NamespaceOption(pid=NamespaceMode.CONTAINER)
SHARED_PID = NamespaceOption(pid=NamespaceMode.POD)
HOST_PID = NamespaceOption(pid=NamespaceMode.NODE)
HOST_IPC = NamespaceOption(pid=NamespaceMode.CONTAINER, ipc=NamespaceMode.NODE)
HOST_NETWORK = NamespaceOption(network=NamespaceMode.NODE, pid=NamespaceMode.CONTAINER)
ANSWER = "hello from the pod"


async def _namespace(ctx: Context, options: NamespaceOption, kind: str) -> str:
    """The namespace of `kind` that a container with `options` is in, as the kernel names it."""
    shares_uts = options.network == NamespaceMode.NODE
    pod = await ctx.pod(ctx.pod_config(namespaces=options, **({"hostname": ""} if shares_uts else {})))
    id = await ctx.idle(pod, security={"namespace_options": options})
    return await ctx.shell(id, f"readlink /proc/self/ns/{kind}")


def _host_namespace(kind: str) -> str:
    return str(Path("/proc/self/ns", kind).readlink())


@case()
async def the_hostname_is_the_pods(ctx: Context) -> None:
    pod = await ctx.pod()
    expect_equal(await ctx.shell(await ctx.idle(pod), "hostname"), pod.config.hostname, "hostname")


@case(needs="kernel")
async def dns_settings_become_resolv_conf(ctx: Context) -> None:
    dns = DNSConfig(("192.0.2.53", "192.0.2.54"), ("a.example", "b.example"), ("ndots:5",))
    pod = await ctx.pod(dns_config=dns)
    lines = (await ctx.shell(await ctx.idle(pod), "cat /etc/resolv.conf")).splitlines()
    for wanted in (
        "nameserver 192.0.2.53",
        "nameserver 192.0.2.54",
        "search a.example b.example",
        "options ndots:5",
    ):
        expect(wanted in lines, f"resolv.conf: want {wanted!r}, got {lines}")


@case(needs="kernel")
async def sysctls_of_the_sandbox_apply(ctx: Context) -> None:
    linux = LinuxPodSandboxConfig(
        sysctls={"net.ipv4.ip_local_port_range": "20000 30000", "kernel.shm_rmid_forced": "1"},
        security_context=LinuxSandboxSecurityContext(namespace_options=OWN_PID),
    )
    id = await ctx.idle(await ctx.pod(linux=linux))
    ports = await ctx.shell(id, "cat /proc/sys/net/ipv4/ip_local_port_range")
    expect_equal(ports.split(), ["20000", "30000"], "net.ipv4.ip_local_port_range")
    forced = await ctx.shell(id, "cat /proc/sys/kernel/shm_rmid_forced")
    expect_equal(forced, "1", "kernel.shm_rmid_forced")


@case(needs="kernel")
async def containers_of_a_pod_share_network_and_ipc(ctx: Context) -> None:
    pod = await ctx.pod()
    first, second = await ctx.idle(pod, name="first"), await ctx.idle(pod, name="second")
    for kind in ("net", "ipc", "uts"):
        seen = [await ctx.shell(id, f"readlink /proc/self/ns/{kind}") for id in (first, second)]
        expect_equal(seen[0], seen[1], f"{kind} namespaces of the two")
        expect(seen[0] != _host_namespace(kind), f"{kind} namespace: want one of the pod, got the host's")


@case(needs="kernel")
async def loopback_joins_containers_of_a_pod(ctx: Context) -> None:
    pod = await ctx.pod()
    await ctx.script(
        pod, f"mkdir /w; echo {ANSWER} > /w/index.html; exec httpd -f -p 127.0.0.1:8080 -h /w", name="server"
    )
    client = await ctx.idle(pod, name="client")

    async def fetched() -> str:
        answer = await ctx.runtime.exec_sync(client, ["wget", "-qO-", "http://127.0.0.1:8080/"], 5)
        return answer.stdout.decode().strip()

    expect_equal(await ctx.until(fetched, "an answer over loopback"), ANSWER, "answer")


@case(needs="kernel")
async def a_container_is_pid_1_of_its_own_namespace(ctx: Context) -> None:
    pod = await ctx.pod()
    first, second = await ctx.idle(pod, name="first"), await ctx.idle(pod, name="second")
    expect("sleep" in await ctx.shell(first, "cat /proc/1/cmdline"), "PID 1: want the container's command")
    spaces = {await ctx.shell(id, "readlink /proc/self/ns/pid") for id in (first, second)}
    expect_equal(len(spaces), 2, "different pid namespaces")


@case(needs="kernel")
async def a_shared_pid_namespace_shows_the_other_container(ctx: Context) -> None:
    pod = await ctx.pod(namespaces=SHARED_PID)
    security = {"namespace_options": SHARED_PID}
    await ctx.start(pod, "sleep", "123456", name="first", security=security)
    second = await ctx.idle(pod, name="second", security=security)
    seen = await ctx.shell(second, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    expect("sleep 123456" in seen, f"processes: want the other container's command, got {seen!r}")


@case(needs="kernel")
async def the_hosts_pid_namespace_can_be_used(ctx: Context) -> None:
    expect_equal(await _namespace(ctx, HOST_PID, "pid"), _host_namespace("pid"), "pid namespace")


@case(needs="kernel")
async def the_hosts_ipc_namespace_can_be_used(ctx: Context) -> None:
    expect_equal(await _namespace(ctx, HOST_IPC, "ipc"), _host_namespace("ipc"), "ipc namespace")


@case(needs="kernel")
async def the_hosts_network_can_be_used(ctx: Context) -> None:
    expect_equal(await _namespace(ctx, HOST_NETWORK, "net"), _host_namespace("net"), "network namespace")


@case(needs="kernel")
async def the_reported_address_is_the_pods(ctx: Context) -> None:
    pod = await ctx.pod()
    address = (await ctx.runtime.pod_sandbox_status(pod.id)).status.network.ip
    seen = await ctx.shell(await ctx.idle(pod), "ip -o addr show")
    expect(f" {address}/" in seen, f"addresses inside: want {address}, got {seen!r}")


@case(needs="kernel")
async def a_host_port_leads_to_the_pod_where_the_network_maps_ports(ctx: Context) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host_port = probe.getsockname()[1]
    mapping = PortMapping(container_port=8080, host_port=host_port, host_ip="127.0.0.1")
    pod = await ctx.pod(port_mappings=(mapping,))
    await ctx.script(pod, f"mkdir /w; echo {ANSWER} > /w/index.html; exec httpd -f -p 8080 -h /w")
    if not await _maps_ports(ctx):
        return  # then it is enough that the mapping did no harm
    answer = await ctx.until(lambda: _fetch(host_port), f"an answer on 127.0.0.1:{host_port}")
    expect(ANSWER in answer, f"answer: want {ANSWER!r}, got {answer!r}")


async def _maps_ports(ctx: Context) -> bool:
    network = (await ctx.runtime.status(verbose=True)).info.get("cniconfig", "{}")
    return '"portmap"' in json.dumps(json.loads(network)).replace("\\", "")


async def _fetch(port: int) -> str:
    """The answer of an HTTP server on loopback, "" while nobody listens."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                return (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    return ""
