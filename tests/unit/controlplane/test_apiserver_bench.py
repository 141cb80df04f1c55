"""The clients that measure the API server: what they count does not depend on how bytes are cut."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.apiserver_client import Watcher, Worker, config_map

pytestmark = pytest.mark.pure


@given(st.integers(1, 30), st.integers(1, 4000))
def test_each_event_of_a_watch_is_counted_once_with_its_age(count: int, size: int) -> None:
    watcher = Watcher(b"")
    events = b"".join(
        b'{"type":"ADDED","object":%b}\n' % config_map(f"m{n}", "x" * 1000, sent=f"{n}.5")
        for n in range(count)
    )
    for at in range(0, len(events), size):
        watcher.data_received(events[at : at + size])
    assert watcher.events == count
    assert len(watcher.ages) == count


class Sent(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.requests: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.requests.append(bytes(data))

    def close(self) -> None:
        self.requests.append(b"closed")


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
@pytest.mark.asyncio
async def test_next_request_goes_out_when_the_answer_is_whole(size: int) -> None:
    transport = Sent()
    worker = Worker(3, lambda c, n: b"%d-%d" % (c, n), lambda begun: begun >= 2)
    worker.connection_made(transport)
    worker.begin()
    good = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"
    bad = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"
    for answer in (good, bad):
        for at in range(0, len(answer), size):
            worker.data_received(answer[at : at + size])
    await worker.finished
    assert transport.requests == [b"3-0", b"3-1", b"closed"]
    assert (worker.done, worker.failed) == (2, 1) and worker.shown.startswith("HTTP/1.1 409")
