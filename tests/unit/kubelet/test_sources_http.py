"""Static pods from a URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aio.errors import Retry
from kube.errors import FieldError, InvalidObject
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.server.http import Request, Response, Router, text
from kubelet.server.plain import serve_tcp
from kubelet.sources.http import HttpSource, fetcher
from kubelet.sources.model import Delivery, Problem

pytestmark = pytest.mark.pure


def decode(data: bytes, location: str) -> tuple[Pod, ...]:
    if data == b"BAD":
        raise InvalidObject([FieldError("spec", "is bad", line=1)])
    return tuple(Pod(metadata=ObjectMeta(name=name)) for name in data.decode().split())


async def run_through(answers: list[bytes | Retry]) -> tuple[list[Delivery], list[str]]:
    """Feed a source these answers, one per poll."""
    deliveries: list[Delivery] = []
    problems: list[str] = []
    done = asyncio.Event()
    left = iter(answers)

    async def fetch() -> bytes:
        answer = next(left, None)
        if answer is None:
            done.set()
            await asyncio.Event().wait()
        if isinstance(answer, Retry):
            raise answer
        assert isinstance(answer, bytes)
        return answer

    def report(problem: Problem) -> None:
        problems.append(str(problem))

    source = HttpSource(
        "http://x/pods", decode, fetch, deliver=deliveries.append, report=report, poll_seconds=0.001
    )
    task = asyncio.create_task(source.run())
    async with asyncio.timeout(5):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return deliveries, problems


def names(delivery: Delivery) -> list[str]:
    return [pod.metadata.name for pod in delivery.pods]


@pytest.mark.asyncio
async def test_pods_are_delivered_when_they_change() -> None:
    deliveries, problems = await run_through([b"a b", b"a b", b"b", b"b"])
    assert [names(delivery) for delivery in deliveries] == [["a", "b"], ["b"]]
    assert problems == []


@pytest.mark.asyncio
async def test_url_that_was_never_reached_delivers_nothing_and_is_reported_once() -> None:
    deliveries, problems = await run_through([Retry("down")] * 3)
    assert deliveries == []
    assert problems == ["http://x/pods: down"]


@pytest.mark.asyncio
async def test_error_keeps_the_last_set() -> None:
    deliveries, problems = await run_through([b"a", Retry("down"), Retry("down"), b"a", Retry("down")])
    assert [names(delivery) for delivery in deliveries] == [["a"], ["a"]]
    assert problems == ["http://x/pods: down", "http://x/pods: down"]


@pytest.mark.asyncio
async def test_undecodable_answer_keeps_the_pods_and_is_listed() -> None:
    deliveries, problems = await run_through([b"a", b"BAD", b"BAD", b"b"])
    assert names(deliveries[1]) == ["a"]
    assert deliveries[1].undecodable == {"http://x/pods"}
    assert names(deliveries[-1]) == ["b"]
    assert deliveries[-1].undecodable == frozenset()
    assert problems == ["http://x/pods:1: spec: is bad"]


async def fetch_from(
    handler: Callable[[Request], Response], headers: dict[str, tuple[str, ...]] | None = None
) -> bytes:
    server = await serve_tcp("test", "127.0.0.1", 0, Router({"/pods": handler}))
    try:
        return await fetcher(f"http://127.0.0.1:{server.port}/pods?x=1", headers or {})()
    finally:
        await server.close()


@pytest.mark.asyncio
async def test_fetcher_gets_the_body_and_says_what_went_wrong() -> None:
    assert await fetch_from(lambda request: text(request.query["x"]), {"X-A": ("1", "2")}) == b"1"
    with pytest.raises(Retry, match="because it answered 500"):
        await fetch_from(lambda _: text("no", 500))
    with pytest.raises(Retry, match="zero-length data received from http://"):
        await fetch_from(lambda _: text(""))
    with pytest.raises(Retry, match="longer than 10485760 bytes"):
        await fetch_from(lambda _: Response(200, b"x" * ((10 << 20) + 1)))
    with pytest.raises(Retry, match=r'cannot get "http://127\.0\.0\.1:1/": because'):
        await fetcher("http://127.0.0.1:1/", {})()
