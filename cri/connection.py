"""One gRPC channel to a runtime's socket: deadlines, fast failure, quick reconnection, errors as exceptions.

Mechanism: `grpc.aio` on a unix socket, all services multiplexed. While nobody listens a call fails at once as
`Unavailable` instead of waiting, and the channel tries again at least every 100 ms, so that a restarted
runtime is usable within 200 ms of its socket's return. Nothing is retried here: whether a call that broke was
carried out is the caller's to find out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

# The agent forks probes and CNI plugins, and gRPC's fork handlers would stop its own threads for each; its C
# core must not write to stderr past our log. Both are read when grpc is first imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc.aio
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from cri.errors import CriError, Unavailable, from_status

# sockaddr_un holds 108 bytes with the closing zero.
SOCKET_PATH_LIMIT_BYTES = 107
# kubelet's own limit for one answer of a runtime: maxMsgSize in pkg/kubelet/cri/remote.
RECEIVE_LIMIT_BYTES = 16 << 20
RECONNECT_FIRST_MS = 50
RECONNECT_MOST_MS = 100
# gRPC takes the smaller of this and its back-off as the least time one attempt to connect is given.
CONNECT_ATTEMPT_MS = 1000

_OPTIONS = (
    # On a unix socket gRPC would send the percent-encoded path as :authority, which some servers refuse.
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", RECEIVE_LIMIT_BYTES),
    ("grpc.max_send_message_length", RECEIVE_LIMIT_BYTES),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_FIRST_MS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MOST_MS),
    ("grpc.min_reconnect_backoff_ms", CONNECT_ATTEMPT_MS),
    # Back-off and connection of this channel alone, not shared with whoever else dials the same socket.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)


def socket_path(endpoint: str) -> str:
    """The path of `unix:///run/x.sock`, `unix:/run/x.sock`, `/run/x.sock`; ValueError says what is wrong."""
    path = endpoint
    if endpoint.startswith("unix:"):
        path = endpoint.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/"):
        raise ValueError(f'cannot use runtime endpoint "{endpoint}": because it is not unix:///absolute/path')
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT_BYTES:
        limit = SOCKET_PATH_LIMIT_BYTES
        raise ValueError(f'cannot use runtime endpoint "{endpoint}": because a socket path has {limit} bytes')
    return path


class Connection:
    """The channel. Make it inside the event loop that uses it; `close` it in the same loop."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._channel = grpc.aio.insecure_channel(f"unix:{socket_path(endpoint)}", options=_OPTIONS)
        self._is_closed = False

    def service(self, file: FileDescriptor, name: str) -> ServiceStub:
        """The calls of one service of a compiled proto."""
        return ServiceStub(self, file, name)

    async def close(self) -> None:
        """Break what is under way (`Unavailable` for its callers) and let go of the socket."""
        self._is_closed = True
        await self._channel.close()

    def broken(self, error: BaseException, call: str) -> CriError | None:
        """What `error` of a call means, None when it is not the connection's (our own cancellation)."""
        if isinstance(error, grpc.aio.AioRpcError):
            return from_status(error.code().name, error.details() or error.code().name, call)
        if isinstance(error, grpc.aio.UsageError) and self._is_closed:
            return Unavailable("the connection is closed", call=call)
        # grpc.aio cancels the callers of a closed channel; only a task that was really cancelled may see it.
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and self._is_closed and task and not task.cancelling():
            return Unavailable("the connection was closed under the call", call=call)
        return None

    @property
    def channel(self) -> Any:
        return self._channel


class ServiceStub:
    """Calls by name, with messages of the service's own proto; gRPC's call objects are made on first use."""

    def __init__(self, connection: Connection, file: FileDescriptor, name: str) -> None:
        self._connection = connection
        self._service = file.services_by_name[name]
        self._unary: dict[str, Any] = {}

    def _method(self, call: str) -> tuple[MethodDescriptor, str, dict[str, Any]]:
        method = self._service.methods_by_name[call]
        coding = {
            "request_serializer": GetMessageClass(method.input_type).SerializeToString,
            "response_deserializer": GetMessageClass(method.output_type).FromString,
        }
        return method, f"/{self._service.full_name}/{call}", coding

    async def call(
        self,
        call: str,
        request: Any,
        timeout_seconds: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """One question, one answer within `timeout_seconds` (None: for ever); raises `CriError`."""
        function = self._unary.get(call)
        if function is None:
            _, path, coding = self._method(call)
            function = self._unary[call] = self._connection.channel.unary_unary(path, **coding)
        sent = tuple(metadata.items()) if metadata else None
        try:
            return await function(request, timeout=timeout_seconds, metadata=sent)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            meant = self._connection.broken(error, call)
            if meant is None:
                raise
            raise meant from error

    async def stream(
        self, call: str, request: Any, timeout_seconds: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """The answers of a streaming call as they come; closing the iterator cancels the call."""
        _, path, coding = self._method(call)
        under_way: Any = None
        try:
            under_way = self._connection.channel.unary_stream(path, **coding)(
                request, timeout=timeout_seconds
            )
            async for answer in under_way:
                yield answer
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            meant = self._connection.broken(error, call)
            if meant is None:
                raise
            raise meant from error
        finally:
            if under_way is not None:
                under_way.cancel()
