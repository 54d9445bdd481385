"""A client for floods: prepared requests over many connections, several under way on each, every answer looked at."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from tests.support.http_client import ConnectionLost

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "

OnAnswer = Callable[[int, int, bytes, bytes], None]
"""Called with the request's index, the status, the head and the body of its answer."""


def request_bytes(
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    method: str = "POST",
    is_chunked: bool = False,
) -> bytes:
    """Return a request as it goes over the wire."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"{method} {path} HTTP/1.1", "Host: door", *(f"{name}: {value}" for name, value in pairs)]
    if is_chunked:
        lines.append("Transfer-Encoding: chunked")
        middle = len(body) // 2
        parts = (b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:middle], body[middle:]) if part)
        body = b"".join(parts) + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def send_pipelined(
    port: int,
    requests: Iterable[bytes],
    on_answer: OnAnswer,
    *,
    connections: int = 16,
    depth: int = 4,
    timeout_s: float = 60.0,
) -> int:
    """Send every request to a port of 127.0.0.1 once and return their number.

    Args:
        port: Where the server listens.
        requests: See `request_bytes`; taken as they are sent. None may be answered without a `Content-Length`.
        on_answer: What it raises ends everything.
        connections: How many.
        depth: Requests under way on each.
        timeout_s: Bound on the time without any answer.

    Raises:
        ConnectionLost: The server closed a connection while answers were due.
        TimeoutError: No answer came for too long.
    """
    numbered = enumerate(requests)
    loop = asyncio.get_running_loop()
    lanes = []
    try:
        for _ in range(connections):
            _, lane = await loop.create_connection(
                lambda: _Lane(numbered, on_answer, depth), "127.0.0.1", port
            )
            lanes.append(lane)
        everything = asyncio.gather(*(lane.done for lane in lanes))
        answered = -1
        while not everything.done():
            now_answered = sum(lane.answered for lane in lanes)
            if now_answered == answered:
                everything.cancel()
                raise TimeoutError(f"no answer for {timeout_s:g} s, after {answered}")
            answered = now_answered
            await asyncio.wait([everything], timeout=timeout_s)
        await everything
    finally:
        for lane in lanes:
            lane.close()
    return sum(lane.answered for lane in lanes)


class _Lane(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[tuple[int, bytes]], on_answer: OnAnswer, depth: int) -> None:
        self._requests = requests
        self._on_answer = on_answer
        self._depth = depth
        self._due: list[int] = []
        self._came = bytearray()
        self._transport: asyncio.Transport | None = None
        self.answered = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self.done.done() and not self.done.cancelled():
            self.done.exception()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            # What `on_answer` raised comes here too, asyncio sees to that.
            self.done.set_exception(exc or ConnectionLost(f"{len(self._due)} answers were due"))

    def data_received(self, data: bytes) -> None:
        self._came += data
        while self._take():
            pass
        self._send()

    def _take(self) -> bool:
        end = self._came.find(_END)
        if end < 0:
            return False
        head = bytes(self._came[:end]).lower()
        start = head.index(_LENGTH) + len(_LENGTH)
        stop = head.find(b"\r\n", start)
        length = int(head[start : stop if stop >= 0 else len(head)])
        whole = end + len(_END) + length
        if len(self._came) < whole:
            return False
        body = bytes(self._came[whole - length : whole])
        del self._came[:whole]
        self.answered += 1
        self._on_answer(self._due.pop(0), int(head[9:12]), head, body)
        return True

    def _send(self) -> None:
        assert self._transport is not None
        ready = []
        while len(self._due) < self._depth:
            following = next(self._requests, None)
            if following is None:
                break
            self._due.append(following[0])
            ready.append(following[1])
        if ready:
            self._transport.write(b"".join(ready))
        elif not self._due and not self.done.done():
            self.done.set_result(None)
