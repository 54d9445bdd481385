"""Connections that find out at their start where to, of several servers, and are made anew once they lead elsewhere."""

from typing import Any, Final, Protocol

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is redis-py's
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is redis-py's
)

from libs.common.store.connections import PlainConnection, TlsConnection, Unfit, Worded

Node = tuple[str, int]
"""Host and port."""

BARRED: Final = (AuthenticationError, NoPermissionError, Unfit)
"""What does not pass by itself."""

_MISLED: Final = (AskError, ClusterDownError, ReadOnlyError, ConnectionError, TimeoutError)
"""After these another server may be the right one. MOVED is an AskError, too, and MASTERDOWN a ClusterDownError."""

_MISLED_CODES: Final = ("NOREPLICAS", "UNBLOCKED")
"""The same, of errors that redis-py has no class for: a primary that was cut off, or is none any more."""


class Guide(Protocol):
    """Knows which server serves a slot.

    Attributes:
        electable: Replicas that may take over at any moment, as far as is known; 0 where nobody says.
    """

    @property
    def electable(self) -> int: ...  # noqa: D102 - see above

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
        """Close what it keeps open; whoever asks it once more opens that anew."""


class Routed(Worded):
    """What all such connections have in common."""

    host: str
    port: int

    def __init__(self, *, guide: Guide, slot: int, **options: Any) -> None:
        super().__init__(**options)
        self._guide = guide
        self._slot = slot

    async def is_home(self) -> bool:
        """Tell whether it leads to the server that serves its slot, as far as is known.

        Raises:
            RedisError: It cannot be told.
        """
        return (self.host, self.port) == await self._guide.primary(self._slot)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and make sure that it is the right server."""
        await super().on_connect_check_health(check_health)
        await self._guide.vet(self)

    async def _connect(self) -> None:
        self.host, self.port = await self._guide.primary(self._slot)
        try:
            await super()._connect()
        except (RedisError, OSError):
            self._guide.doubt(self._slot)
            raise

    def _redirected(self, error: AskError) -> RedisError:
        return error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return one answer."""
        try:
            return await super().read_response(*args, **options)
        except _MISLED:
            self._guide.doubt(self._slot)
            raise
        except ResponseError as error:
            if str(error).startswith(_MISLED_CODES):
                self._guide.doubt(self._slot)
            raise


class RoutedPlainConnection(Routed, PlainConnection):
    """Over TCP."""


class RoutedTlsConnection(Routed, TlsConnection):
    """Over TLS."""


class RoutedPool(BlockingConnectionPool):
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

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        await self.guide.aclose()


def electable_of(client: Redis) -> int:
    """Return how many replicas of a client's server may take over at any moment, as far as is known; 0 where nobody says."""
    pool = client.connection_pool
    return pool.guide.electable if isinstance(pool, RoutedPool) else 0


async def leads_home(connection: AbstractConnection) -> bool:
    """Tell whether a connection leads to the right server; one to an address that names a single server does.

    Raises:
        RedisError: It cannot be told.
    """
    return not isinstance(connection, Routed) or await connection.is_home()


def in_words(node: Node) -> str:
    """Return a server as `host:port`."""
    return f"{node[0]}:{node[1]}"
