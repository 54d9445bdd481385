"""Connections to the node of a Redis Cluster that serves one slot.

All keys of a shard share a slot, so one connection is enough for it, and redis-py's own client of clusters is not used:
it sends a command again, up to ten times. Here a connection finds out at its start where to, and one that turns out to
lead elsewhere meanwhile is made anew before its next call.
"""

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the name is redis-py's
    RedisError,
    ResponseError,
)

from libs.common.store.connections import PlainConnection, TlsConnection, Unfit, barrier_of
from libs.common.store.routing import Node, Routed, in_words
from libs.common.store.shared_look import SharedLook

_UNTOLD: Final = "?"
"""What a node says of one whose name it does not know."""


def slot_of(key: str) -> int:
    """Return the slot of a key."""
    return key_slot(key.encode())


class Topology:
    """Knows which node serves a slot, as the nodes themselves say."""

    def __init__(
        self, seeds: Iterable[Node], ask: Callable[[Node], Awaitable[Sequence[Any]]], *, timeout_s: float
    ) -> None:
        """Args:
        seeds: Some of the nodes.
        ask: Returns what a node answers to CLUSTER SLOTS.
        timeout_s: Bound on finding out, whatever nodes are away.
        """
        self._seeds = tuple(seeds)
        self._nodes = list(self._seeds)
        """All that are known; the next to be asked comes first."""
        self._silent: set[Node] = set()
        """Those that gave no answer when they were asked last: each may cost the time that there is for all."""
        self._ask = ask
        self._timeout_s = timeout_s
        self._ranges: tuple[tuple[int, int, Node], ...] = ()
        self._doubted: set[int] = set()
        """Slots that may have moved since."""
        self._look = SharedLook(self._ask_in_turn)

    def electable(self, node: Node) -> int:  # noqa: ARG002 - the same for all
        """Return 0: a replica of a cluster takes over by a vote, and who has most is asked first."""
        return 0

    async def primary(self, slot: int) -> Node:
        """Return the node that serves a slot.

        Raises:
            ConnectionError: No node tells.
            AuthenticationError, NoPermissionError: None does, and one does not let us ask.
            Unfit: None does, and one is not what the address says.
        """
        found = None if slot in self._doubted else self._serving(slot)
        if found is None:
            had_begun = self._look.is_under_way
            await self._look.finish()
            if had_begun and slot in self._doubted:  # before the doubt
                await self._look.finish()
            found = self._serving(slot)
        if found is None:
            raise ConnectionError(f"no node of the Redis Cluster serves slot {slot}")
        return found

    def doubt(self, slot: int) -> None:
        """Have the nodes asked again before a slot's is told the next time."""
        self._doubted.add(slot)

    async def vet(self, connection: Routed) -> None:
        """Take any node that lets us in: one that does not serve the slot says so to each call."""

    async def aclose(self) -> None:
        """End what is under way; nothing is kept open."""
        await self._look.aclose()

    def _serving(self, slot: int) -> Node | None:
        return next((node for start, end, node in self._ranges if start <= slot <= end), None)

    async def _ask_in_turn(self) -> None:
        doubted, problem, barrier = frozenset(self._doubted), "none was asked", None
        each_s = self._timeout_s / 2
        try:
            async with asyncio.timeout(self._timeout_s):
                for node in sorted(self._nodes, key=lambda node: node in self._silent):
                    # Another the next time, whatever this one says: it may be cut off from the others.
                    self._nodes.remove(node)
                    self._nodes.append(node)
                    self._silent.add(node)
                    try:
                        async with asyncio.timeout(each_s):
                            self._learn(await self._ask(node), node)
                    except (RedisError, OSError) as error:
                        barrier = barrier_of(error) or barrier
                        problem = f"{in_words(node)}: {error}"
                    else:
                        self._silent.discard(node)
                        self._doubted -= doubted
                        return
        except builtins.TimeoutError:
            pass
        if barrier is not None:
            raise barrier
        raise ConnectionError(f"no node of the Redis Cluster answers; the last was {problem}")

    def _learn(self, answer: Sequence[Any], asked: Node) -> None:
        ranges, told = [], set(self._seeds)
        for start, end, *members in answer:
            found = [_node(member, asked) for member in members]
            told.update(node for node in found if node is not None)
            if found and found[0] is not None:  # the primary comes first
                ranges.append((int(start), int(end), found[0]))
        self._ranges = tuple(ranges)
        # In the order of their turns; new ones last.
        known = [node for node in self._nodes if node in told]
        self._nodes = [*known, *sorted(told.difference(known))]
        self._silent &= told


def asking(
    kind: type[PlainConnection | TlsConnection], options: Mapping[str, Any]
) -> Callable[[Node], Awaitable[Sequence[Any]]]:
    """Return what asks a node which nodes serve which slots.

    Args:
        kind: Of connection.
        options: Its own, but for host and port.
    """

    async def ask(node: Node) -> Sequence[Any]:
        connection = kind(host=node[0], port=node[1], **options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it so
            await connection.send_command("CLUSTER", "SLOTS")
            answer: Sequence[Any] = await connection.read_response()
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise Unfit(
                    f"{in_words(node)} is no node of a Redis Cluster",
                    remedy="let the address begin with redis:// or rediss://",
                ) from error
            raise
        finally:
            await connection.disconnect(nowait=True)
        return answer

    return ask


def _node(member: Sequence[Any], asked: Node) -> Node | None:
    """Return a node as it is announced; None where its name is not known."""
    host = (member[0] or b"").decode()
    if host == _UNTOLD:
        return None
    return (host or asked[0], int(member[1]))
