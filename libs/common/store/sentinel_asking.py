"""How Sentinels are asked, and the primary itself, and what they say."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from libs.common.store.connections import PlainConnection, TlsConnection, Unfit
from libs.common.store.routing import Node, in_words
from libs.common.store.sending import packed

FOLLOWER_LAG_S: Final = 2
"""A replica that follows says so every second."""

_FOLLOWER: Final = re.compile(rb"ip=([^,]*),port=(\d+),state=online,offset=\d+,lag=(\d+)")

TOO_OLD_TIMES: Final = 10
"""A Sentinel does not choose a replica that was cut off from its primary for so many times `down-after-milliseconds`, before that
went down."""

_DOWN: Final = frozenset({b"s_down", b"o_down"})
"""Flags of servers that a Sentinel neither chooses nor has just chosen. It is cut off for a moment from the one that it makes
the primary, so `disconnected` says nothing."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a Sentinel says of a service."""

    primary: Node
    epoch: int
    """Counts fail-overs: of two Sentinels that differ the higher is right."""
    up: frozenset[Node] = frozenset()
    """Servers beside the primary that it would let take over, and those of priority 0."""
    replicas: int = 0
    """How many of them it knows to be replicas; what it knows may be ten seconds old."""
    listed: frozenset[Node] = frozenset()
    """All replicas that it ever met, those that it cannot reach too."""


class Asking:
    """Asks Sentinels, and the primary itself, each on a connection that stays open."""

    def __init__(
        self,
        service: str,
        kind: type[PlainConnection | TlsConnection],
        options: Mapping[str, Any],
        server_options: Mapping[str, Any],
    ) -> None:
        """Args:
        service: What they watch.
        kind: Of connection.
        options: Of one to a Sentinel, but for host and port.
        server_options: The same to a server.
        """
        self._server_options = server_options
        self._service = service
        self._kind = kind
        self._options = options
        self._open: dict[Node, PlainConnection | TlsConnection] = {}
        # In one piece: between two calls a fail-over could come.
        self._words = b"".join(
            packed(("SENTINEL", *words, service))
            for words in (("GET-MASTER-ADDR-BY-NAME",), ("MASTER",), ("REPLICAS",))
        )

    async def followers(self, node: Node) -> frozenset[Node]:
        """Return which replicas follow a primary and are in step, as that says itself.

        Not those that said nothing for seconds: they have stopped, and WAIT counts them no more.

        Raises:
            RedisError, OSError: It does not answer.
        """
        async with self._connected(node, self._server_options) as connection:
            await connection.send_command("INFO", "replication")
            text: bytes = await connection.read_response()
        return frozenset(
            (host.decode(), int(port))
            for host, port, lag in _FOLLOWER.findall(text)
            if int(lag) <= FOLLOWER_LAG_S
        )

    async def ask(self, node: Node) -> Word:
        """Return what a Sentinel says.

        Raises:
            RedisError, OSError: It does not answer.
            Unfit: It is none, or does not watch the service.
        """
        async with self._connected(node, self._options) as connection:
            await connection.send_packed_command(self._words)
            address = await self._read(connection, node)
            facts = await self._read(connection, node)
            replicas = await self._read(connection, node)
        if address is None:
            raise self._unknown(node)
        epoch = int(_by_name(facts).get(b"config-epoch", b"0"))
        up = [one for one in map(_by_name, replicas) if _is_up(one)]
        known = sum(one.get(b"role-reported") != b"master" for one in up)
        listed = frozenset(_node(one) for one in map(_by_name, replicas))
        return Word((address[0].decode(), int(address[1])), epoch, frozenset(map(_node, up)), known, listed)

    @asynccontextmanager
    async def _connected(
        self, node: Node, options: Mapping[str, Any]
    ) -> AsyncIterator[PlainConnection | TlsConnection]:
        """Give a connection, which is kept for the next time where nothing goes wrong on it."""
        connection = self._open.pop(node, None)
        if connection is not None and await _is_dead(connection):
            await connection.disconnect(nowait=True)
            connection = None
        if connection is None:
            connection = self._kind(host=node[0], port=node[1], **options)
        is_kept = False
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it so
            yield connection
            is_kept = node not in self._open
        finally:
            if is_kept:
                self._open[node] = connection
            else:
                await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._open:
            _, connection = self._open.popitem()
            await connection.disconnect(nowait=True)

    async def _read(self, connection: PlainConnection | TlsConnection, node: Node) -> Any:
        try:
            return await connection.read_response()
        except (AuthenticationError, NoPermissionError):
            raise
        except ResponseError as error:
            if "unknown command" in str(error).lower():
                raise Unfit(
                    f"{in_words(node)} is no Redis Sentinel",
                    remedy="name the Sentinels in the address, or let it begin with redis:// or rediss://",
                ) from error
            if "No such master" in str(error):
                raise self._unknown(node) from error
            raise

    def _unknown(self, node: Node) -> Unfit:
        return Unfit(
            f'the Sentinel at {in_words(node)} watches no service "{self._service}"',
            remedy="name one behind the sentinels of the address: .../SERVICE",
        )


def _by_name(words: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(words[::2], words[1::2], strict=False))


def _node(server: Mapping[bytes, bytes]) -> Node:
    return (server.get(b"ip", b"").decode(), int(server.get(b"port", b"0")))


def _is_up(server: Mapping[bytes, bytes]) -> bool:
    """Tell whether what is acknowledged waits for it; the state of its link to the primary may be ten seconds old.

    Of one that was not reached since the last fail-over a Sentinel knows no `runid`. One of priority 0 never takes over,
    but WAIT counts it, and must not take its word for that of one that does.
    """
    is_up = _DOWN.isdisjoint(server.get(b"flags", b"").split(b","))
    cut_off_ms, most_ms = (
        int(server.get(b"master-link-down-time", 0)),
        int(server.get(b"down-after-milliseconds", 0)),
    )
    is_too_old = most_ms > 0 and cut_off_ms > TOO_OLD_TIMES * most_ms
    return is_up and not is_too_old and server.get(b"runid", b"") != b""


async def _is_dead(connection: PlainConnection | TlsConnection) -> bool:
    """Tell whether an open connection was closed by the other side, or holds what nobody asked for."""
    try:
        return bool(await connection.can_read())
    except (RedisError, OSError):
        return True
