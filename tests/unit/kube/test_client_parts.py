"""The small deciding parts of the client: lines, rate, answers, paths, statuses."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import status
from kube.client import EventType, resources
from kube.client.answers import Unreadable, read_event, read_list, read_object, read_refusal
from kube.client.limiter import TokenBucket
from kube.client.lines import LineSplitter, LineTooLong
from kube.client.model import identify
from kube.errors import Status, StatusError

pytestmark = pytest.mark.pure


@given(lines=st.lists(st.binary().filter(lambda line: b"\n" not in line)), cuts=st.lists(st.integers(0, 400)))
def test_lines_come_out_however_the_stream_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    body = b"".join(line + b"\n" for line in lines)
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    splitter = LineSplitter()
    found = [line for a, b in itertools.pairwise(edges) for line in splitter.feed(body[a:b])]
    assert found == [line for line in lines if line.strip()]
    assert splitter.rest() == b""


def test_line_of_megabytes_passes_and_an_endless_one_does_not() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 65536) == []
    assert [len(line) for line in splitter.feed(b"\nrest")] == [6_553_600]
    assert splitter.rest() == b"rest"
    short = LineSplitter(most_bytes=10)
    short.feed(b"123456789")
    with pytest.raises(LineTooLong, match="longer than 10 bytes"):
        short.feed(b"01")


def test_burst_is_free_and_the_rest_comes_at_the_rate() -> None:
    bucket = TokenBucket(qps=10, burst=3)
    assert [round(bucket.take(100.0), 3) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]
    assert round(bucket.take(100.3), 3) == 0.1
    assert [bucket.take(200.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(200.0) > 0


@given(steps=st.lists(st.floats(0, 5), min_size=1, max_size=60), qps=st.sampled_from((1.0, 5.0, 50.0)))
def test_no_second_ever_sees_more_than_burst_and_rate(steps: list[float], qps: float) -> None:
    bucket, now, fired = TokenBucket(qps, 5), 0.0, list[float]()
    for step in steps:
        now += step
        fired.append(now + bucket.take(now))
    assert fired == sorted(fired), "first come, first served"
    for start in fired:
        assert sum(1 for at in fired if start <= at < start + 1.0) <= 5 + qps + 1


def test_no_rate_means_no_waiting() -> None:
    bucket = TokenBucket(qps=0, burst=0)
    assert [bucket.take(1.0) for _ in range(1000)] == [0.0] * 1000


def test_paths_are_as_the_api_has_them_and_nothing_escapes() -> None:
    assert resources.PODS.path() == "/api/v1/pods"
    assert resources.PODS.path(namespace="a", name="b", subresource="status") == (
        "/api/v1/namespaces/a/pods/b/status"
    )
    assert resources.DEPLOYMENTS.path(namespace="a") == "/apis/apps/v1/namespaces/a/deployments"
    assert resources.NODES.path(namespace="ignored", name="n1") == "/api/v1/nodes/n1"
    assert resources.CLUSTER_ROLES.path(name="system:node") == (
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"
    )
    assert resources.PODS.path(namespace="../x", name="a/b?c") == "/api/v1/namespaces/..%2Fx/pods/a%2Fb%3Fc"


def test_kinds_are_found_and_unique() -> None:
    assert resources.of_kind("apps/v1", "Deployment") is resources.DEPLOYMENTS
    assert len({(res.api_version, res.kind) for res in resources.STORED}) == len(resources.STORED)
    with pytest.raises(KeyError):
        resources.of_kind("v1", "Nothing")


def test_list_keeps_bytes_and_reads_what_go_leaves_null() -> None:
    found = read_list(
        b'{"metadata":{"resourceVersion":"7","continue":"t","remainingItemCount":3},"items":[{"a": 1},{}]}'
    )
    assert found.items == (b'{"a": 1}', b"{}")
    assert (found.resource_version, found.continue_token, found.remaining) == ("7", "t", 3)
    assert read_list(b'{"metadata":{},"items":null}').items == ()
    for body in (b"", b"<html>", b"[]", b'{"items":5}'):
        with pytest.raises(Unreadable, match="not a list"):
            read_list(body)


def test_event_is_read_and_an_error_event_is_raised() -> None:
    event = read_event(b'{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"b"}}}')
    assert (event.type, event.identity.key) == (EventType.ADDED, "b/a")
    refusal = {
        "kind": "Status",
        "code": 410,
        "reason": "Expired",
        "message": "too old resource version: 1 (5)",
    }
    with pytest.raises(status.Expired, match="too old"):
        read_event(json.dumps({"type": "ERROR", "object": refusal}).encode())
    for line in (b'{"type":"ADDED","obj', b'{"type":"STRANGE","object":{}}', b'{"object":{}}'):
        with pytest.raises(Unreadable):
            read_event(line)


def test_object_must_be_one() -> None:
    assert read_object(b'{"a":1}') == {"a": 1}
    for body in (b"", b"[1]", b"{"):
        with pytest.raises(Unreadable):
            read_object(body)


@pytest.mark.parametrize(
    ("code", "body", "kind", "message"),
    [
        (
            409,
            b'{"kind":"Status","reason":"AlreadyExists","message":"m","code":409}',
            status.AlreadyExists,
            "m",
        ),
        (409, b'{"kind":"Status","reason":"Conflict","message":"m"}', status.Conflict, "m"),
        (404, b"404 page not found\n", status.NotFound, "the server answered 404: 404 page not found"),
        (410, b"", status.Expired, "the server answered 410: no body"),
        (503, b"<html>\xff", StatusError, "the server answered 503: <html>\ufffd"),
        (401, b'{"kind":"Pod"}', status.Unauthorized, 'the server answered 401: {"kind":"Pod"}'),
        (422, b'{"kind":"Status","message":null}', status.Invalid, "unknown"),
    ],
)
def test_refusal_becomes_the_exception_of_its_reason(
    code: int, body: bytes, kind: type[StatusError], message: str
) -> None:
    error = read_refusal(code, body)
    assert type(error) is kind
    assert (error.status.code, str(error)) == (code, message)


def test_status_survives_the_way_there_and_back() -> None:
    made = status.not_found(resources.DEPLOYMENTS, "web").status
    assert status.of_json(made.to_json()) == made
    assert made.message == 'deployments.apps "web" not found'
    assert status.of_json({"kind": "Pod"}) is None
    assert status.retry_after_seconds(Status(429, "", "", {"retryAfterSeconds": 3})) == 3.0
    assert status.retry_after_seconds(made) is None


def test_identity_is_read_without_the_rest() -> None:
    raw = (
        b'{"metadata":{"name":"a","uid":"u","resourceVersion":"5","annotations":{"x":"y"}},"spec":{"x":[1]}}'
    )
    found = identify(raw)
    assert (found.key, found.uid, found.resource_version) == ("a", "u", "5")
    with pytest.raises(ValueError, match="Expected"):
        identify(b'{"metadata":[]}')
