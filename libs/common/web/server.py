"""An HTTP server inside the running event loop, which starts and stops when its service says so."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from libs.common.domain.errors import ConfigError
from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web.connections import Connections
from libs.common.web.protocol import Connecting, TakeWhole

KEEP_ALIVE_S: Final = 75
"""Longer than proxies keep idle connections: the side that sends must be the one that closes, or posts are lost."""

_TICKS_PER_LOOK: Final = 5  # uvicorn's, of a tenth of a second


class HttpServer:
    """uvicorn on httptools, without its signal handling, access log and `Server` header."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        backlog: int = 2_048,
        drain_s: int = 10,
        max_connections: int | None = None,
        metrics: ServerMetrics | None = None,
        take_whole: TakeWhole | None = None,
    ) -> None:
        """Args:
        app: What answers.
        host: The address to listen on.
        port: 0 takes any free one.
        backlog: Connections that the kernel holds while the process is busy.
        drain_s: The time that requests under way have to finish at the end.
        max_connections: None takes what the descriptors of the process allow, less a reserve.
        metrics: Count what never reaches the app.
        take_whole: Is asked ahead of the app about each POST that came in one read.
        """
        self._host = host
        self._port = port
        self._backlog = backlog
        self._socket: socket.socket | None = None
        self._running: asyncio.Task[None] | None = None
        connections = Connections(metrics or ServerMetrics(CollectorRegistry()), max_connections)
        self._server = _Server(
            uvicorn.Config(
                app,
                # uvicorn calls it for every connection; its type knows classes only.
                http=cast("Any", Connecting(connections, take_whole)),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=backlog,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=drain_s,
            ),
            connections,
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._socket is not None, "not started"
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen, and return once connections are taken.

        Raises:
            ConfigError: The address cannot be used.
        """
        self._socket = _listen(self._host, self._port, self._backlog)
        self._running = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Take no more connections, finish what is under way, and return."""
        self._server.should_exit = True
        if self._running is not None:
            await self._running


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the service.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_LOOK == 0:
            self._connections.look()
        return await super().on_tick(counter)


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except (TypeError, ValueError) as error:  # no name at all
        raise ConfigError(f"cannot listen on {host}:{port}: expected an address, or a name of one") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} on {host} is in use by another process") from error
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
