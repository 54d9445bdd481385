"""Connections that find out at their start where to, of several servers, and are made anew once they lead elsewhere."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is redis-py's
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is redis-py's
)

from libs.common.store.connections import PlainConnection, TlsConnection, Worded
from libs.common.store.pool import Pool

Node = tuple[str, int]
"""Host and port."""

_MISLED: Final = (AskError, ClusterDownError, ReadOnlyError, ConnectionError, TimeoutError)
"""After these another server may be the right one. MOVED is an AskError, too, and MASTERDOWN a ClusterDownError."""

_MISLED_CODES: Final = ("NOREPLICAS", "UNBLOCKED")
"""The same, of errors that redis-py has no class for: a primary that was cut off, or is none any more."""


class Guide(Protocol):
    """Knows which server serves a slot."""

    def electable(self, node: Node) -> int:
        """Return how many replicas of a server may take over from it at any moment, as far as is known; 0 where nobody says.

        Raises:
            ConnectionError: One of them has.
        """

    async def primary(self, slot: int) -> Node:
        """Return the server that serves a slot; of several shards on one server it is the same for all.

        Raises:
            ConnectionError: It cannot be told.
            AuthenticationError, NoPermissionError: The same, as we are not let in.
            Unfit: The same, as what is there is not what the address says.
        """

    def doubt(self, slot: int) -> None:
        """Find out again before a slot's is told the next time."""

    async def vet(self, connection: "Routed") -> None:
        """Look at a new connection before anybody uses it.

        Raises:
            RedisError: It must not be used.
        """

    async def aclose(self) -> None:
        """End what it asks, and close what it keeps open; whoever asks it once more opens that anew.

        Who waits for it meanwhile, also for another client that it is shared with, is told a `ConnectionError`.
        """


class Routed(Worded):
    """What all such connections have in common."""

    host: str
    port: int

    def __init__(self, *, guide: Guide, slot: int, **options: Any) -> None:
        super().__init__(**options)
        self.guide = guide
        self._slot = slot

    async def is_home(self) -> bool:
        """Tell whether it leads to the server that serves its slot, as far as is known.

        Raises:
            RedisError: It cannot be told.
        """
        return (self.host, self.port) == await self.guide.primary(self._slot)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and make sure that it is the right server."""
        await super().on_connect_check_health(check_health)
        await self.guide.vet(self)

    async def _connect(self) -> None:
        self.host, self.port = await self.guide.primary(self._slot)
        try:
            await super()._connect()
        except (RedisError, OSError):
            self.guide.doubt(self._slot)
            raise

    def _redirected(self, error: AskError) -> RedisError:
        return error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return one answer."""
        try:
            return await super().read_response(*args, **options)
        except _MISLED:
            self.guide.doubt(self._slot)
            raise
        except ResponseError as error:
            if str(error).startswith(_MISLED_CODES):
                self.guide.doubt(self._slot)
            raise


class RoutedPlainConnection(Routed, PlainConnection):
    """Over TCP."""


class RoutedTlsConnection(Routed, TlsConnection):
    """Over TLS."""


class RoutedPool(Pool):
    """Gives out no connection to a server that its slot has left."""

    @property
    def guide(self) -> Guide:
        """Return what tells it where to."""
        found: Guide = self.connection_kwargs["guide"]
        return found

    async def node_words(self) -> str:
        """Return the server that its connections lead to as `host:port`.

        Raises:
            ConnectionError, AuthenticationError, NoPermissionError, Unfit: As with `Guide.primary`.
        """
        return in_words(await self.guide.primary(self.connection_kwargs["slot"]))

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Make sure that it leads to the right server, and is ready."""
        if connection.is_connected and not await leads_home(connection):
            await connection.disconnect()
        await super().ensure_connection(connection)
        # A server that stood still may have let it in long after it was asked, and after another took over.
        if not await leads_home(connection):
            await connection.disconnect()
            raise ConnectionError("another server took over while a connection was made")

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        await self.guide.aclose()


def electable_of(connection: AbstractConnection) -> Callable[[], int]:
    """Return what tells how many replicas of a connection's server may take over from it at any moment; 0 where nobody says.

    It raises a `ConnectionError` once one of them has, as far as is known, wherever the connection leads by then.
    """
    if not isinstance(connection, Routed):
        return lambda: 0
    return partial(connection.guide.electable, (connection.host, connection.port))


async def leads_home(connection: AbstractConnection) -> bool:
    """Tell whether a connection leads to the right server; one to an address that names a single server does.

    Raises:
        RedisError: It cannot be told.
    """
    return not isinstance(connection, Routed) or await connection.is_home()


def in_words(node: Node) -> str:
    """Return a server as `host:port`."""
    return f"{node[0]}:{node[1]}"
