"""A proxy in front of Redis or a venue that delays, swallows, cuts and resets, as a bad network does."""

import asyncio
import concurrent.futures
import contextlib
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from tests.support.ports import free_port

T = TypeVar("T")

_CHUNK: Final = 65_536


@dataclass
class _Loss:
    """Replies still to be lost."""

    containing: bytes
    after_bytes: int
    is_silent: bool
    times: int


class _Pair:
    """A connection of the client and the one to the server that goes with it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.tail = b""
        self.loss: _Loss | None = None
        self.is_swallowing = False

    def reset(self) -> None:
        """Close both sides; the client sees a reset, not an orderly end."""
        raw = self.client.get_extra_info("socket")
        if raw is not None and raw.family == socket.AF_INET:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Forwards connections to a server until told otherwise; it runs in a thread of its own.

    Args:
        upstream: `unix:///path`, or a URL with host and port. `url` has the same form.

    Attributes:
        lost_replies: How many replies `lose_next_reply` has lost so far; the server had executed each request.
        connections: How many connections were ever accepted.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = parts
        self._directory: Path | None = None
        if parts.scheme == "unix":
            # Directly under /tmp: a socket's path may have 107 bytes.
            self._directory = Path(tempfile.mkdtemp(prefix="bascule-proxy-", dir="/tmp"))
            self.url = f"unix://{self._directory}/proxy.sock"
        else:
            self.port = free_port()
            self.url = f"{parts.scheme}://127.0.0.1:{self.port}{parts.path}"
        self.lost_replies = 0
        self.connections = 0
        self._delay_s = 0.0
        self._is_refusing = False
        self._loss: _Loss | None = None
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def close(self) -> None:
        """Close every connection and stop listening."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        if not self._loop.is_closed():
            self._loop.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def pass_through(self) -> None:
        """Forward everything again, what a black hole held back included."""

        def change() -> None:
            self._delay_s, self._is_refusing, self._loss = 0.0, False, None
            self._passing.set()

        self._do(change)

    def delay(self, by_ms: float) -> None:
        """Hold each chunk of a reply back for this long."""
        self._do(lambda: setattr(self, "_delay_s", by_ms / 1_000))

    def black_hole(self) -> None:
        """Accept connections and bytes and let nothing through in either direction, until `pass_through`."""
        self._do(self._passing.clear)

    def refuse(self) -> None:
        """Reset every connection, the open ones and each new one, until `pass_through`."""

        def change() -> None:
            self._is_refusing = True
            self._reset_all()

        self._do(change)

    def reset_connections(self) -> None:
        """Reset the open connections; new ones are served."""
        self._do(self._reset_all)

    def lose_next_reply(
        self, containing: bytes = b"", *, after_bytes: int = 0, is_silent: bool = False, times: int = 1
    ) -> None:
        """Let the server execute the next such request, and lose its reply.

        Args:
            containing: Only a request with these bytes; by default whichever comes next.
            after_bytes: So much of the reply still gets through.
            is_silent: Leave the connection open and say nothing more on it, instead of resetting it.
            times: How many requests this happens to.
        """
        self._do(lambda: setattr(self, "_loss", _Loss(containing, after_bytes, is_silent, times)))

    def _do(self, change: Callable[[], T]) -> T:
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(change())
            except Exception as error:  # noqa: BLE001 - handed to the caller's thread
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(5)

    def _reset_all(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    async def _listen(self) -> None:
        if self._directory is not None:
            path = str(self._directory / "proxy.sock")
            self._server = await asyncio.start_unix_server(self._serve, path)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        self._passing.set()
        self._reset_all()
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        if tasks:
            # They end with their connections; cancelled, each would be reported by asyncio's streams.
            await asyncio.wait(tasks, timeout=1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._is_refusing:
            writer.transport.abort()
            return
        try:
            if self._upstream.scheme == "unix":
                back, forth = await asyncio.open_unix_connection(self._upstream.path)
            else:
                back, forth = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, forth)
        self._pairs.add(pair)
        directions = [
            asyncio.ensure_future(self._requests(reader, pair)),
            asyncio.ensure_future(self._replies(back, pair)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self._pairs.discard(pair)
            for side in (pair.client, pair.server):
                # What was written still leaves, then the end.
                side.close()

    async def _requests(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while chunk := await _read(reader):
            await self._passing.wait()
            self._mark(pair, chunk)
            pair.server.write(chunk)
            await pair.server.drain()

    def _mark(self, pair: _Pair, chunk: bytes) -> None:
        """Note that the reply to this request is to be lost."""
        loss = self._loss
        if loss is None or pair.loss is not None:
            return
        seen = pair.tail + chunk
        pair.tail = seen[-len(loss.containing) :] if loss.containing else b""
        if loss.containing in seen:
            pair.loss, pair.tail = loss, b""
            loss.times -= 1
            if loss.times <= 0:
                self._loss = None

    async def _replies(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while chunk := await _read(reader):
            await self._passing.wait()
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            if pair.is_swallowing:
                continue
            if pair.loss is None:
                pair.client.write(chunk)
                await pair.client.drain()
                continue
            loss, pair.loss = pair.loss, None
            self.lost_replies += 1
            if loss.after_bytes:
                pair.client.write(chunk[: loss.after_bytes])
                await pair.client.drain()
            if loss.is_silent:
                pair.is_swallowing = True
                continue
            if loss.after_bytes:
                return  # an orderly end, since a reset may overtake the bytes
            pair.reset()
            return


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK)
    except OSError:
        return b""
