"""The network below httpcore, on asyncio itself.

httpcore's own goes through anyio, whose cancel scopes and locks around every read and write cost a worker a quarter of
all that an order takes. Deadlines are the caller's here: one over the whole call.
"""

import asyncio
import select
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

import httpcore

_ENOUGH_BYTES: Final = 65_536
"""Beyond this nothing more is taken from the network until it was read."""


class Network(httpcore.AsyncNetworkBackend):
    """Makes connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's interface
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Return an open connection.

        Raises:
            httpcore.ConnectError: There is none.
        """
        return await _connect(host, port)


class Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One open connection. What comes is kept until it is read, so that it shows when nobody expects it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._transport: asyncio.Transport | None = None
        self._came = bytearray()
        self._is_over = False
        self._is_paused = False
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        """Return what has come, at least a byte; b"" at the end.

        Raises:
            httpcore.ReadError: The connection broke.
        """
        if not self._came and not self._is_over:
            waiting = self._waiting = asyncio.get_running_loop().create_future()
            try:
                await waiting
            finally:
                self._waiting = None
        if not self._came:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            return b""
        came = bytes(self._came[:max_bytes])
        del self._came[:max_bytes]
        if self._is_paused and self._transport is not None and not self._is_over:
            self._is_paused = False
            self._transport.resume_reading()
        return came

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Hand bytes to the network.

        Raises:
            httpcore.WriteError: The connection broke.
        """
        transport = self._transport
        if transport is None or self._is_over or transport.is_closing():
            raise httpcore.WriteError(str(self._error or "the venue has closed the connection"))
        transport.write(buffer)

    async def aclose(self) -> None:
        """Close it, whatever is under way."""
        self._is_over = True
        if self._transport is not None:
            self._transport.close()
            # What is left to be sent belongs to nobody, and a venue that does not read it must not keep it open.
            self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection over TLS instead.

        Raises:
            httpcore.ConnectError: The other side does not speak it, or its certificate is not accepted.
        """
        assert self._transport is not None
        over = Stream(*self._address)
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self._transport, over, ssl_context, server_hostname=server_hostname
            )
        except OSError as error:  # ssl.SSLError is one
            self._transport.abort()
            raise httpcore.ConnectError(str(error)) from error
        if transport is None:
            raise httpcore.ConnectError("the venue closed the connection amid the handshake")
        over.connection_made(transport)
        return over

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks of a connection."""
        if info == "is_readable":
            return bool(self._came) or self._is_over or self._has_news()
        if info == "ssl_object" and self._transport is not None:
            return self._transport.get_extra_info("ssl_object")
        return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the way out."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is none by its type

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self._came += data
        if len(self._came) >= _ENOUGH_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Take note that nothing more comes."""
        self._is_over = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that it is gone."""
        self._is_over, self._error = True, exc or self._error
        self._wake()

    def _has_news(self) -> bool:
        # The venue may have closed it while the loop was busy: then the end is still with the system.
        transport = self._transport
        raw = None if transport is None else transport.get_extra_info("socket")
        if raw is None:
            return True
        poll = select.poll()
        poll.register(raw.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


async def _connect(host: str, port: int) -> Stream:
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_connection(lambda: Stream(host, port), host, port)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return stream
