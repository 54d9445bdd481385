"""What the ingress is measured against: Starlette, an endpoint that reads the body and answers, and nothing else.

It runs on the ingress's own server class, so that uvicorn's settings are the same: uvloop, httptools, no access log.
"""

import asyncio
import signal
import sys

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.web.server import HttpServer

ANSWER = b'{"ok":true,"alert_id":"00000000000000000000000000","duplicate":false}'


async def webhook(request: Request) -> Response:
    """Answer what the ingress answers, for nothing."""
    await request.body()
    return Response(ANSWER, media_type="application/json")


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = HttpServer(Starlette(routes=[Route("/webhook", webhook, methods=["POST"])]), "127.0.0.1", port)
    await server.start()
    await stopping.wait()
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
