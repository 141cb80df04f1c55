"""`python -m bench.apiserver_floor ADDRESS_FILE CA CERTIFICATE KEY`: the HTTP server alone, over TLS with
client certificates, answering 1 KiB to everything: what no API server on it can be faster than.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from kube.http_server import HttpServer, Request, Response, server_context

_BODY = b'{"data":"' + b"x" * 1013 + b'"}'


async def serve(address: Path, ca: Path, certificate: Path, key: Path) -> None:
    async def handle(request: Request) -> Response:
        return Response(body=_BODY)

    tls = server_context(certificate, key, client_ca=ca.read_bytes())
    server = HttpServer(handle, "127.0.0.1", 0, tls=tls)
    await server.start()
    address.write_text("{}:{}\n".format(*server.address))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(*map(Path, sys.argv[1:5])))
