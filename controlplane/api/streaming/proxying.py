"""pods/proxy, services/proxy and nodes/proxy: a request as it came, but for who asks and how it is framed.

Bodies of answers are passed on as they come. Links in pages are not rewritten; a page asked for by a path
without its slash is sent to the one with it, so that relative links work.
"""

from __future__ import annotations

import re

from controlplane.api.model import Request, Response
from controlplane.api.streaming.exchange import Answer, NodeClient, Question, Unreachable
from controlplane.api.streaming.targets import Target
from controlplane.api.streaming.upgrades import answer_of, handshake_headers, passed_through
from kube import status
from kube.errors import Status

_PREFIX = re.compile(r"^/+api/+v1/+(?:namespaces/+[^/]+/+)?(?:pods|services|nodes)/+[^/]+/+proxy(?=/|$)")
_WHOLE_MAX_BYTES = 64 * 1024
# Of this connection alone, or of who asks here.
_NOT_PASSED = frozenset(
    ("host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade", "content-length", "authorization", "expect")
)  # fmt: skip
# Another handshake's, and what has been obeyed here: whom the asker is to be taken for.
_FAMILIES_NOT_PASSED = ("sec-websocket-", "impersonate-")
_WITHOUT_BODY = (204, 304)


async def proxy(client: NodeClient, target: Target, request: Request) -> Response:
    """BadRequest for a path that is none; ServiceUnavailable when nothing answers."""
    raw_path, mark, query = request.target.partition("?")
    found = _PREFIX.match(raw_path)
    if found is None:
        raise status.bad_request(f'invalid proxy path "{raw_path}"')
    path = raw_path[found.end() :]
    if not path and request.method in ("GET", "HEAD") and not request.upgrade:
        return Response(301, headers={"Location": f"{raw_path}/{mark}{query}"}, content_type="")
    asked = Question(request.method, (path or "/") + mark + query, _headers(request), request.body)
    if request.upgrade:
        return await passed_through(client, target, asked)
    try:
        answer = await client.ask(target, asked)
    except Unreachable as error:
        message = f"error trying to reach service: {error}"
        raise status.error_of(Status(503, "ServiceUnavailable", message)) from error
    return await _passed_on(answer, request)


def _headers(request: Request) -> tuple[tuple[str, str], ...]:
    given = request.headers
    listed = {name.strip().lower() for name in given.get("connection", "").split(",")}
    headers = [
        (name, text)
        for name, text in given.items()
        if name not in _NOT_PASSED and name not in listed and not name.startswith(_FAMILIES_NOT_PASSED)
    ]
    if request.upgrade:
        own = [pair for pair in handshake_headers(request) if pair[0] not in ("user-agent", "origin")]
        headers = [pair for pair in headers if pair[0] != "x-stream-protocol-version"] + own
    else:
        headers.append(("Connection", "close"))
    headers += [("X-Forwarded-Host", given.get("host", "")), ("X-Forwarded-Uri", request.target)]
    return tuple(headers)


async def _passed_on(answer: Answer, request: Request) -> Response:
    headers = answer_of(answer.headers)
    content_type = answer.headers.get("content-type", "")
    if answer.code in _WITHOUT_BODY or request.method == "HEAD":
        answer.close()
        return Response(answer.code, b"", content_type, headers)
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) <= _WHOLE_MAX_BYTES:
        return Response(answer.code, await answer.read(_WHOLE_MAX_BYTES), content_type, headers)
    return Response(answer.code, b"", content_type, headers, stream=answer)
