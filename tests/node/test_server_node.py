"""The agent's server before real runtimes: exec, attach, port-forward, logs, and who may."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.node.node_server import NAMESPACE, POD, UID, WAIT_SECONDS, Scene, scene
from tests.runtimes import PrivateContainerd
from tests.session_clients import (
    PORT_FORWARD,
    V4,
    V5,
    ChannelClient,
    SpdyClient,
    UpgradeRefused,
    channel_client,
    chunks,
    connection,
    exit_code,
    read_head,
    request,
    send_head,
    spdy_client,
    tunnelled_client,
)

pytestmark = [pytest.mark.node, pytest.mark.asyncio]

MEGABYTES_20 = 20 << 20
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


StageTest = Callable[..., Coroutine[Any, Any, None]]


def on_stage(test: StageTest) -> StageTest:
    """The test gets a scene that is over when it ends: no fixture, so that what a server leaves running is
    the test's leak."""

    @functools.wraps(test)
    async def on_a_scene(runtime: PrivateContainerd, tmp_path: Path, **others: Any) -> None:
        async with scene(runtime, tmp_path) as stage:
            await test(stage, **others)

    _, *others = inspect.signature(test).parameters.values()
    given = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("runtime", "tmp_path")]
    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in others]
    on_a_scene.__signature__ = inspect.Signature([*given, *keywords])  # type: ignore[attr-defined]
    return on_a_scene


def exec_path(*command: str, container: str = "main", verb: str = "exec", **streams: int) -> str:
    query = [*(("command", word) for word in command), *streams.items()]
    return f"/{verb}/{NAMESPACE}/{POD}/{container}?{urlencode(query)}"


def log_path(*, container: str = "main", **options: Any) -> str:
    return f"/containerLogs/{NAMESPACE}/{POD}/{container}?{urlencode(options)}"


def open_channels(client: SpdyClient, *names: str) -> dict[str, int]:
    return {name: client.open(streamtype=name) for name in names}


@on_stage
async def test_spdy_exec_ends_its_input_and_tells_the_exit_code(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    path = exec_path("sh", "-c", "cat; echo oops >&2; exit 3", input=1, output=1, error=1)
    async with spdy_client(stage.client(), path, f"{V4}, v3.channel.k8s.io") as client:
        ids = open_channels(client, "error", "stdin", "stdout", "stderr")
        await client.until_accepted(*ids.values())
        await client.send(ids["stdin"], b"x\n", fin=True)
        await client.until_ended(ids["stdout"], ids["stderr"], ids["error"])
        assert bytes(client.received[ids["stdout"]]) == b"x\n"
        assert bytes(client.received[ids["stderr"]]) == b"oops\n"
        assert exit_code(bytes(client.received[ids["error"]])) == 3


@on_stage
async def test_websocket_v5_exec_ends_its_input_and_tells_the_exit_code(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    path = exec_path("sh", "-c", "cat; echo oops >&2; exit 3", input=1, output=1, error=1)
    async with channel_client(stage.client(), path, V5) as client:
        await client.send(STDIN, b"x\n")
        await client.send(255, bytes((STDIN,)))
        await client.finish()
        assert (bytes(client.received[STDOUT]), bytes(client.received[STDERR])) == (b"x\n", b"oops\n")
        assert client.exit_code == 3
        assert client.closed is not None
        assert client.closed.code == 1000


@on_stage
async def test_websocket_v4_exec_passes_streams_and_tells_the_exit_code(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    path = exec_path("sh", "-c", "read line; echo got $line; exit 4", input=1, output=1, error=1)
    async with channel_client(stage.client(), path, V4) as client:
        await client.send(STDIN, b"x\n")
        await client.finish()
        assert (bytes(client.received[STDOUT]), client.exit_code) == (b"got x\n", 4)


@on_stage
async def test_websocket_without_a_name_has_output_on_channel_one(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    async with channel_client(stage.client(), exec_path("echo", "hi", output=1, error=1), "") as client:
        await client.finish()
        assert dict(client.received) == {STDOUT: b"hi\n"}


@pytest.mark.parametrize("protocol", [V5, V4])
@on_stage
async def test_a_terminal_has_its_size_and_its_exit_code(stage: Scene, protocol: str) -> None:
    await stage.start("main", SLEEP)
    path = exec_path("sh", input=1, output=1, tty=1)
    async with channel_client(stage.client(), path, protocol) as client:
        await client.send(RESIZE, json.dumps({"Width": 101, "Height": 33}).encode())
        await until_size(client, b"33 101")
        await client.send(RESIZE, json.dumps({"Width": 50, "Height": 20}).encode())
        await until_size(client, b"20 50")
        await client.send(STDIN, b"exit 5\r")
        await client.finish()
        assert client.exit_code == 5


async def until_size(client: ChannelClient, size: bytes) -> None:
    """The size arrives beside the keys: the shell is asked until it has come."""
    told = re.compile(rb"\d+ \d+\r\n")
    async with asyncio.timeout(WAIT_SECONDS):
        while size not in client.received[STDOUT]:
            seen = len(client.received[STDOUT])
            await client.send(STDIN, b"stty size\r")
            while told.search(client.received[STDOUT], seen) is None:
                await client.read_once()


@on_stage
async def test_twenty_megabytes_go_through_websocket_both_ways(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    data = hashlib.shake_256(b"v5").digest(MEGABYTES_20)
    async with channel_client(stage.client(), exec_path("cat", input=1, output=1, error=1)) as client:

        async def send() -> None:
            await client.send(STDIN, data)
            await client.send(255, bytes((STDIN,)))

        await asyncio.gather(send(), client.finish())
        assert bytes(client.received[STDOUT]) == data
        assert client.exit_code == 0


@on_stage
async def test_twenty_megabytes_go_through_spdy_both_ways(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    data = hashlib.shake_256(b"spdy").digest(MEGABYTES_20)
    async with spdy_client(stage.client(), exec_path("cat", input=1, output=1, error=1)) as client:
        ids = open_channels(client, "error", "stdin", "stdout", "stderr")
        await client.until_accepted(*ids.values())
        reading = client.until_ended(ids["stdout"], ids["error"])
        await asyncio.gather(client.send(ids["stdin"], data, fin=True), reading)
        assert bytes(client.received[ids["stdout"]]) == data
        assert exit_code(bytes(client.received[ids["error"]])) == 0


@on_stage
async def test_attach_joins_the_first_process(stage: Scene) -> None:
    await stage.start("main", "while read line; do echo got $line; done", stdin=True)
    path = exec_path(verb="attach", input=1, output=1, error=1)
    async with channel_client(stage.client(), path) as client:
        await client.send(STDIN, b"one\n")
        await client.until_received(STDOUT, b"got one\n")
    async with spdy_client(stage.client(), path) as again:
        ids = open_channels(again, "error", "stdin", "stdout", "stderr")
        await again.until_accepted(*ids.values())
        await again.send(ids["stdin"], b"two\n")
        await again.until_received(ids["stdout"], b"got two\n")


@pytest.mark.parametrize("tunnelled", [False, True], ids=["spdy", "websocket"])
@on_stage
async def test_port_forward_carries_several_connections_both_ways(stage: Scene, *, tunnelled: bool) -> None:
    await stage.start_echo()
    target = f"/portForward/{NAMESPACE}/{POD}"
    opened = tunnelled_client(stage.client(), target) if tunnelled else None
    async with opened or spdy_client(stage.client(), target, PORT_FORWARD) as client:
        echoed = {}
        for number in range(3):
            ids = [
                client.open(streamtype=kind, port="8080", requestID=str(number)) for kind in ("error", "data")
            ]
            await client.until_accepted(*ids)
            echoed[number] = ids[1]
        for number, stream in echoed.items():
            await client.send(stream, b"%d" % number * 100_000)
        for number, stream in echoed.items():
            await client.until_received(stream, b"%d" % number * 100_000)
            await client.send(stream, b"", fin=True)
        await client.until_ended(*echoed.values())
        refused = [client.open(streamtype=kind, port="81", requestID="9") for kind in ("error", "data")]
        await client.until_accepted(*refused)
        await client.until_ended(refused[0])
        assert b"refused" in client.received[refused[0]]


@on_stage
async def test_an_older_port_forward_has_its_channels(stage: Scene) -> None:
    await stage.start_echo()
    target = f"/portForward/{NAMESPACE}/{POD}?port=8080,81"
    async with channel_client(stage.client(), target, V4) as client:
        await client.until_received(3, b"refused")
        assert client.received[0] == (8080).to_bytes(2, "little")
        await client.send(0, b"hello" * 50_000)
        await client.until_received(0, b"hello" * 50_000)


@on_stage
async def test_what_cannot_be_run_is_an_answer_or_a_status(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    me = stage.client()
    for path, code, said in (
        (exec_path("true"), 400, b"you must specify at least 1 of stdin, stdout, stderr"),
        (exec_path("true", container="ghost", output=1), 500, b'container not found ("ghost")'),
        (f"/exec/{NAMESPACE}/nobody/main?command=true&output=1", 404, b"pod does not exist\n"),
        (f"/exec/{NAMESPACE}/{POD}/other-uid/main?command=true&output=1", 404, b"pod does not exist\n"),
    ):
        with pytest.raises(UpgradeRefused) as refused:
            async with channel_client(me, path):
                pass
        assert (refused.value.answer.code, refused.value.answer.body) == (code, said)
    plain = await request(me, exec_path("true", output=1))
    assert (plain.code, plain.body) == (400, b"Upgrade request required")
    path = exec_path("/no/such/program", output=1, error=1)
    async with channel_client(me, path.replace(f"{POD}/", f"{POD}/{UID}/")) as client:
        await client.finish()
        told = json.loads(client.received[ERROR])
        assert told["status"] == "Failure"
        assert "no such file" in told["message"]


@on_stage
async def test_a_server_that_stops_ends_its_sessions(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    server = stage.client()
    async with (
        channel_client(server, exec_path("cat", input=1, output=1)) as session,
        connection(server) as log,
    ):
        await session.send(STDIN, b"x")
        await session.until_received(STDOUT, b"x")
        await send_head(server, log[1], "GET", log_path(follow="true"), {})
        assert (await read_head(log[0]))[0] == 200
        await stage.server.stop()
        await session.finish()
        assert [piece async for piece in chunks(log[0])] == []


@on_stage
async def test_run_answers_with_the_output(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    answer = await request(stage.client(), f"/run/{NAMESPACE}/{POD}/main?cmd=echo+a+b", method="POST")
    assert (answer.code, answer.body) == (200, b"a b\n")


@on_stage
async def test_logs_with_every_option(stage: Scene) -> None:
    await stage.start("main", "echo early; exit 1")
    await stage.wait_ended("main")
    script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three"
    await stage.start("main", script, attempt=1)
    await stage.wait_ended("main")
    me = stage.client()

    async def text(**options: Any) -> str:
        answer = await request(me, log_path(**options))
        assert answer.code == 200, answer.body
        return answer.body.decode()

    assert await text() == "one\ntwo\nthree\n"
    assert await text(previous="true") == "early\n"
    assert await text(tailLines=1) == "three\n"
    assert await text(tailLines=0) == ""
    assert await text(limitBytes=5) == "one\nt"
    assert await text(sinceSeconds=3600) == "one\ntwo\nthree\n"
    assert await text(sinceTime="2999-01-01T00:00:00Z") == ""
    assert await text(stream="Stderr") == "two\n"
    stamped = (await text(timestamps="true", tailLines=2)).splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["two", "three"]
    since = stamped[1].split(" ")[0]
    assert await text(sinceTime=since) == "three\n"
    refusals: tuple[tuple[dict[str, str], int, bytes], ...] = (
        ({"tailLines": "-1"}, 422, b'{"message": "Invalid request."}'),
        ({"sinceSeconds": "1", "sinceTime": since}, 422, b'{"message": "Invalid request."}'),
        ({"tailLines": "many"}, 400, b'{"message": "Unable to decode query."}'),
        ({"container": "ghost"}, 404, b'container "ghost" not found in pod "talker"\n'),
        ({"container": "late"}, 400, b'container "late" in pod "talker" is not available'),
    )
    for options, code, said in refusals:
        answer = await request(me, log_path(**options))
        assert (answer.code, answer.body) == (code, said)
    absent = await request(me, log_path().replace(POD, "nobody"))
    assert (absent.code, absent.body) == (404, b'pod "nobody" does not exist\n')


@on_stage
async def test_a_followed_log_ends_with_its_container(stage: Scene) -> None:
    await stage.start("main", "echo one; while ! test -e /tmp/end; do sleep 0.05; done; echo two")
    server = stage.client()
    async with asyncio.timeout(40), connection(server) as (reader, writer):
        await send_head(server, writer, "GET", log_path(follow="true"), {})
        code, _ = await read_head(reader)
        assert code == 200
        pieces = chunks(reader)
        assert await anext(pieces) == b"one\n"
        await request(server, f"/run/{NAMESPACE}/{POD}/main?cmd=touch+/tmp/end", method="POST")
        await stage.wait_ended("main")
        stage.server.pod_changed(UID)
        assert b"".join([piece async for piece in pieces]) == b"two\n"


@on_stage
async def test_nobody_gets_in_without_credentials_and_nobody_further_than_allowed(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    for nobody in (stage.client(anonymous=True), stage.client(token="bad")):
        answer = await request(nobody, "/pods")
        assert (answer.code, answer.body) == (401, b"Unauthorized")
    bob = stage.client(token="good")
    assert (await request(bob, "/metrics")).code == 200
    refused = await request(bob, f"/run/{NAMESPACE}/{POD}/main?cmd=id", method="POST")
    assert refused.code == 403
    assert refused.body == b"Forbidden (user=bob, verb=create, resource=nodes, subresource(s)=[proxy])\n"
    assert (await request(bob, log_path())).code == 200
    with pytest.raises(UpgradeRefused) as session:
        async with channel_client(bob, exec_path("id", output=1)):
            pass
    assert session.value.answer.code == 403
    assert (await request(stage.client("eve"), "/stats/summary")).code == 403


@on_stage
async def test_views_show_the_pod_and_what_it_uses(stage: Scene) -> None:
    await stage.start("main", SLEEP)
    me = stage.client()
    pods = json.loads((await request(me, "/pods")).body)
    assert (pods["kind"], [pod["metadata"]["name"] for pod in pods["items"]]) == ("PodList", [POD])
    (running,) = json.loads((await request(me, "/runningpods/")).body)["items"]
    assert [one["name"] for one in running["spec"]["containers"]] == ["main"]
    summary = json.loads((await request(me, "/stats/summary")).body)
    (pod,) = summary["pods"]
    assert pod["podRef"]["uid"] == UID
    assert pod["containers"][0]["memory"]["workingSetBytes"] > 0
    assert summary["node"]["memory"]["workingSetBytes"] > 0
    metrics = (await request(me, "/metrics")).body.decode()
    assert "\nkubelet_running_pods 1\n" in metrics
    assert '\nkubelet_running_containers{container_state="running"} 1\n' in metrics
    resources = (await request(me, "/metrics/resource")).body.decode()
    of = f'container="main",namespace="{NAMESPACE}",pod="{POD}"'
    assert f"container_cpu_usage_seconds_total{{{of}}} " in resources
    config = json.loads((await request(me, "/configz")).body)
    assert config["kubeletconfig"]["address"] == "127.0.0.1"
    assert (await request(me, "/nothing")).code == 404
    assert (await request(me, "/pods", method="POST")).code == 405
