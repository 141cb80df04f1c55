"""The gRPC check: `grpc.health.v1.Health/Check` over plain text, where only SERVING is a success.

Each check has a channel and a connection of its own, as upstream. The two messages have one field each, so
they are coded here. Source: kubernetes pkg/probe/grpc/grpc.go; fields from the gRPC health checking protocol.
"""

from __future__ import annotations

import asyncio

from kube.go_duration import format_duration
from probes.outcome import Outcome, failure, success
from probes.spec import GrpcCheck
from probes.tcp import join_host_port

METHOD = "/grpc.health.v1.Health/Check"
STATUS_NAMES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
SERVING = 1
OPTIONS = (
    ("grpc.primary_user_agent", "kube-probe/1.36"),
    ("grpc.use_local_subchannel_pool", 1),  # a fresh connection per check: this is what is being tested
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)


async def check(target: GrpcCheck, host: str, timeout: float) -> Outcome:
    """Ask `host` for the health of `target.service` within `timeout` seconds."""
    import grpc  # here, since most pods have no such probe and it takes a while to load

    address = join_host_port(host, target.port)
    deadline = asyncio.get_running_loop().time() + timeout
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        try:
            async with asyncio.timeout_at(deadline):
                await channel.channel_ready()
        except TimeoutError:
            wanted = f'failed to connect service "{address}" within {format_duration(timeout)}'
            return failure(f"timeout: {wanted}: context deadline exceeded")
        call = channel.unary_unary(METHOD, request_serializer=_encode, response_deserializer=_decode)
        left = max(0.001, deadline - asyncio.get_running_loop().time())
        try:
            status = await call(target.service, timeout=left)
        except grpc.aio.AioRpcError as error:
            return _rpc_failure(error, timeout)
    if status == SERVING:
        return success("service healthy")
    name = STATUS_NAMES[status] if status < len(STATUS_NAMES) else str(status)
    return failure(f'service unhealthy (responded with "{name}")')


def _rpc_failure(error: object, timeout: float) -> Outcome:
    code = str(error.code().name)  # type: ignore[attr-defined]
    details = str(error.details())  # type: ignore[attr-defined]
    if code == "UNIMPLEMENTED":
        what = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return failure(f"error: {what}: {details}")
    if code == "DEADLINE_EXCEEDED":
        return failure(f"timeout: health rpc did not complete within {format_duration(timeout)}")
    go_code = "".join(part.capitalize() for part in code.split("_"))
    return failure(f"error: health rpc probe failed: rpc error: code = {go_code} desc = {details}")


def _encode(service: str) -> bytes:
    """HealthCheckRequest: field 1, the service's name."""
    name = service.encode()
    if not name:
        return b""
    length, head = len(name), b"\x0a"
    while length > 0x7F:
        head += bytes((length & 0x7F | 0x80,))
        length >>= 7
    return head + bytes((length,)) + name


def _decode(message: bytes) -> int:
    """HealthCheckResponse: field 1, an enum below 128, written first by every encoder; absent means 0."""
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
