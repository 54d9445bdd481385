"""An exchange that repeats whatever it knows of an account."""

import asyncio
import contextlib
import json

import httpx

from tests.support.credentials import echo
from tests.support.exchange_server import Exchange
from tests.support.upstream import Received


class EchoingExchange:
    """Stands before a simulated exchange: hands on what is public, and answers what is signed with all that it knows."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.echoed = 0

    async def __aenter__(self) -> "EchoingExchange":
        self._client = httpx.AsyncClient(base_url=self._exchange.url, trust_env=False)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._client.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await _read_request(reader)
            status, body = await self._answer(request)
            head = (
                f"HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            )
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    async def _answer(self, request: Received) -> tuple[int, bytes]:
        if request.values("x-mbx-apikey"):
            self.echoed += 1
            sent = f"{request.target} {request.headers} {request.body!r}"
            return 400, json.dumps({"code": -2_015, "msg": f"no such key: {echo('ccxt')} in {sent}"}).encode()
        answer = await self._client.request(request.method, request.target)
        return answer.status_code, answer.content


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length), 0)
