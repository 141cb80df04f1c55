"""The connection against a small gRPC server of our own: deadlines, failure, reconnection, closing."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cri.connection import Connection, socket_path
from cri.errors import CriError, DeadlineExceeded, NotFound, Unavailable, Unimplemented
from cri.service import Streams
from cri.types import PodSandboxConfig
from cri.wire import GrpcRuntimeService, connect

pytestmark = pytest.mark.pure

import grpc.aio  # noqa: E402  (after cri.connection, which sets gRPC's environment)

from cri._pb import api_pb2 as pb  # noqa: E402

Handler = Callable[[Any, Any], Any]


@pytest.fixture
def directory() -> Any:
    with tempfile.TemporaryDirectory(prefix="pkc-", dir="/tmp") as path:
        yield Path(path)


async def version(_: Any, __: Any) -> Any:
    return pb.VersionResponse(
        version="0.1.0", runtime_name="little", runtime_version="1", runtime_api_version="v1"
    )


@asynccontextmanager
async def serving(socket: Path, handlers: dict[str, Handler]) -> AsyncIterator[grpc.aio.Server]:
    """A RuntimeService that answers only these calls."""
    server = grpc.aio.server()
    service = pb.DESCRIPTOR.services_by_name["RuntimeService"]
    made: dict[str, Any] = {}
    for name, handler in handlers.items():
        is_stream = name.startswith("Stream") or name == "GetContainerEvents"
        make = grpc.unary_stream_rpc_method_handler if is_stream else grpc.unary_unary_rpc_method_handler
        made[name] = make(
            handler,
            request_deserializer=getattr(pb, service.methods_by_name[name].input_type.name).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, made),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@pytest.mark.parametrize("endpoint", ["unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock"])
def test_an_endpoint_is_a_unix_socket(endpoint: str) -> None:
    assert socket_path(endpoint) == "/run/x.sock"


@pytest.mark.parametrize("endpoint", ["", "tcp://127.0.0.1:1", "unix://relative", "x.sock", "/" + "x" * 108])
def test_another_endpoint_is_refused_with_its_name(endpoint: str) -> None:
    with pytest.raises(ValueError, match="cannot use runtime endpoint"):
        socket_path(endpoint)


@pytest.mark.asyncio
async def test_connect_says_who_answers(directory: Path) -> None:
    socket = directory / "s"
    async with serving(socket, {"Version": version}):
        runtime = await connect(f"unix://{socket}")
        assert runtime.version.runtime_name == "little"
        await runtime.close()


@pytest.mark.asyncio
async def test_connect_fails_at_once_when_nobody_listens(directory: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await connect(f"unix://{directory}/nobody")
    assert time.monotonic() - started < 1.0


@pytest.mark.asyncio
async def test_connect_refuses_a_server_that_is_no_cri_runtime(directory: Path) -> None:
    socket = directory / "s"
    async with serving(socket, {}):
        with pytest.raises(Unimplemented, match="does not serve CRI v1"):
            await connect(f"unix://{socket}")


@pytest.mark.asyncio
async def test_the_authority_is_localhost_and_not_the_escaped_path(directory: Path) -> None:
    seen = bytearray()
    has_headers, may_end, has_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # an empty SETTINGS frame: go ahead
        while b":authority" not in seen:
            seen.extend(await reader.read(4096))
        has_headers.set()
        await may_end.wait()
        writer.close()
        await writer.wait_closed()
        has_ended.set()

    async with await asyncio.start_unix_server(listen, directory / "s"):
        connection = Connection(f"unix://{directory}/s")
        call = asyncio.create_task(GrpcRuntimeService(connection).version())
        await asyncio.wait_for(has_headers.wait(), 5)
        assert b"localhost" in seen
        assert b"%2F" not in seen
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await connection.close()
        may_end.set()
        await asyncio.wait_for(has_ended.wait(), 5)


@pytest.mark.asyncio
async def test_answers_of_many_megabytes_arrive(directory: Path) -> None:
    socket = directory / "s"

    async def containers(_: Any, __: Any) -> Any:
        one = pb.Container(id="x", annotations={"large": "y" * 1_000_000})
        return pb.ListContainersResponse(containers=[one] * 10)

    async with serving(socket, {"ListContainers": containers}):
        connection = Connection(f"unix://{socket}")
        assert len(await GrpcRuntimeService(connection).list_containers()) == 10
        await connection.close()


@pytest.mark.asyncio
async def test_deadlines_are_the_usual_and_longer_where_the_runtime_waits(directory: Path) -> None:
    socket = directory / "s"
    left: dict[str, float | None] = {}

    def remember(name: str, answer: Any) -> Handler:
        async def handler(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            left[name] = context.time_remaining()
            return answer

        return handler

    handlers = {
        "Status": remember("Status", pb.StatusResponse()),
        "RunPodSandbox": remember("RunPodSandbox", pb.RunPodSandboxResponse(pod_sandbox_id="s")),
        "StopContainer": remember("StopContainer", pb.StopContainerResponse()),
        "ExecSync": remember("ExecSync", pb.ExecSyncResponse()),
    }
    async with serving(socket, handlers):
        connection = Connection(f"unix://{socket}")
        runtime = GrpcRuntimeService(connection)
        await runtime.status()
        assert left["Status"] == pytest.approx(120, abs=2)
        await runtime.run_pod_sandbox(PodSandboxConfig())
        assert left["RunPodSandbox"] == pytest.approx(240, abs=2)
        await runtime.stop_container("c", 30)
        assert left["StopContainer"] == pytest.approx(150, abs=2)
        await runtime.exec_sync("c", ["true"], 5)
        assert left["ExecSync"] == pytest.approx(125, abs=2)
        await runtime.exec_sync("c", ["true"], 0)
        assert left["ExecSync"] is None or left["ExecSync"] > 10**6
        await connection.close()


@pytest.mark.asyncio
async def test_a_server_that_never_answers_meets_the_deadline(directory: Path) -> None:
    socket = directory / "s"

    async def hang(_: Any, __: Any) -> Any:
        await asyncio.sleep(60)

    async with serving(socket, {"Status": hang}):
        connection = Connection(f"unix://{socket}")
        with pytest.raises(DeadlineExceeded) as raised:
            await GrpcRuntimeService(connection, timeout_seconds=0.05).status()
        assert raised.value.call == "Status"
        await connection.close()


@pytest.mark.asyncio
async def test_statuses_become_errors_and_empty_ids_are_refused(directory: Path) -> None:
    socket = directory / "s"

    async def missing(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await context.abort(grpc.StatusCode.NOT_FOUND, 'container "x": not found')

    async def nothing(_: Any, __: Any) -> Any:
        return pb.ExecResponse()

    async with serving(socket, {"ContainerStatus": missing, "Exec": nothing}):
        connection = Connection(f"unix://{socket}")
        runtime = GrpcRuntimeService(connection)
        with pytest.raises(NotFound, match='"x"'):
            await runtime.container_status("x")
        with pytest.raises(Unimplemented):
            await runtime.version()
        with pytest.raises(CriError, match="answer is empty"):
            await runtime.exec("x", ["true"], Streams())
        await connection.close()


@pytest.mark.asyncio
async def test_a_restarted_runtime_is_usable_within_200_ms_and_calls_fail_fast_till_then(
    directory: Path,
) -> None:
    socket = directory / "s"
    connection = Connection(f"unix://{socket}")
    runtime = GrpcRuntimeService(connection)
    for outage_seconds in (0.1, 1.0):
        async with serving(socket, {"Version": version}):
            came_back = time.monotonic()
            while True:
                try:
                    await runtime.version()
                    break
                except Unavailable:
                    await asyncio.sleep(0.005)
            # 200 ms is the promise; the rest is for a busy machine.
            assert time.monotonic() - came_back < 0.4
        socket.unlink(missing_ok=True)
        gone_until = time.monotonic() + outage_seconds
        while time.monotonic() < gone_until:
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await runtime.version()
            assert time.monotonic() - started < 0.2
            await asyncio.sleep(0.02)
    await connection.close()


@pytest.mark.asyncio
async def test_closing_breaks_what_is_under_way_without_cancelling_the_caller(directory: Path) -> None:
    socket = directory / "s"
    entered = asyncio.Event()

    async def hang(_: Any, __: Any) -> Any:
        entered.set()
        await asyncio.sleep(60)

    async with serving(socket, {"Status": hang}):
        connection = Connection(f"unix://{socket}")
        runtime = GrpcRuntimeService(connection)
        call = asyncio.create_task(runtime.status())
        await asyncio.wait_for(entered.wait(), 5)
        await connection.close()
        with pytest.raises(Unavailable, match="closed under the call"):
            await call
        assert not call.cancelled()
        with pytest.raises(Unavailable, match="connection is closed"):
            await runtime.status()


@pytest.mark.asyncio
async def test_a_cancelled_caller_is_cancelled_and_the_runtime_hears_of_it(directory: Path) -> None:
    socket = directory / "s"
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_: Any, __: Any) -> Any:
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(socket, {"Status": hang}):
        connection = Connection(f"unix://{socket}")
        call = asyncio.create_task(GrpcRuntimeService(connection).status())
        await asyncio.wait_for(entered.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(cancelled.wait(), 5)
        await connection.close()


@pytest.mark.asyncio
async def test_a_stream_gives_items_of_all_batches_and_can_be_left_early(directory: Path) -> None:
    socket = directory / "s"
    left = asyncio.Event()

    async def stream(_: Any, __: Any) -> AsyncIterator[Any]:
        yield pb.StreamContainersResponse(containers=[pb.Container(id="a"), pb.Container(id="b")])
        yield pb.StreamContainersResponse(containers=[pb.Container(id="c")])

    async def endless(_: Any, __: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield pb.ContainerEventResponse(container_id="x")
                await asyncio.sleep(0.001)
        finally:
            left.set()

    async with serving(socket, {"StreamContainers": stream, "GetContainerEvents": endless}):
        connection = Connection(f"unix://{socket}")
        runtime = GrpcRuntimeService(connection)
        assert [item.id async for item in runtime.stream_containers()] == ["a", "b", "c"]
        async with aclosing(runtime.get_container_events()) as events:  # type: ignore[type-var]
            async for event in events:
                assert event.container_id == "x"
                break
        await asyncio.wait_for(left.wait(), 5)
        await connection.close()
