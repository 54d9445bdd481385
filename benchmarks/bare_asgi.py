"""What bare Starlette is measured against: the same server class, the same answer, and no framework at all."""

import asyncio
import signal
import sys

import uvloop
from starlette.types import Receive, Scope, Send

from benchmarks.bare import ANSWER
from libs.common.web.server import HttpServer

HEADERS = [(b"content-length", b"%d" % len(ANSWER)), (b"content-type", b"application/json")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer what the ingress answers."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = HttpServer(app, "127.0.0.1", port)
    await server.start()
    await stopping.wait()
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
