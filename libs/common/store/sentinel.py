"""Connections to the primary that Redis Sentinel watches over.

redis-py's own client of Sentinels is not used: it asks them only when a connection is made, and believes the first that
answers. A primary that was replaced while nobody looked would be written to on connections that are open, until a
Sentinel gets round to make it a replica, which takes it ten seconds and more.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the name is redis-py's
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from libs.common.store.connections import PlainConnection, TlsConnection, Unfit
from libs.common.store.routing import BARRED, Node, Routed, in_words
from libs.common.store.sending import packed

FRESH_S: Final = 0.5
"""For how long what the Sentinels said is taken as it is. Then they are asked again, while calls go on."""

STALE_S: Final = 2.0
"""After so long without a look calls wait for the next one: a process that had nothing to do missed a fail-over."""

FOLLOWED_S: Final = 15.0
"""For how long a replica that followed the primary counts as one that may have taken over, while it is up: longer than what
Sentinels know of it is old."""

OLD_NEWS_S: Final = 15.0
"""For how long most Sentinels must tell of nothing but an earlier epoch than was met, until they are believed: they were
made anew. What one of them decided, the others know within a few seconds."""


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


class Sentinels:
    """Knows the primary of a service, as its Sentinels say."""

    def __init__(
        self,
        seeds: Iterable[Node],
        ask: Callable[[Node], Coroutine[Any, Any, Word]],
        *,
        timeout_s: float,
        followers: Callable[[Node], Coroutine[Any, Any, frozenset[Node]]] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        """Args:
        seeds: All Sentinels of the address.
        ask: Returns what one of them says.
        timeout_s: Bound on finding out, whatever Sentinels are away.
        followers: Returns which replicas follow a primary, as that says itself.
        close: Closes what `ask` and `followers` keep open.
        now_s: Monotonic.
        """
        self._seeds = tuple(dict.fromkeys(seeds))
        self._ask = ask
        self._timeout_s = timeout_s
        self._ask_followers = followers
        self._asking_followers: asyncio.Task[frozenset[Node]] | None = None
        self._followers: deque[tuple[float, frozenset[Node]]] = deque()
        """Who followed the primary, and when."""
        self._close = close
        self._now_s = now_s
        self._known: Word | None = None
        self._looked_at_s = 0.0
        self._doubts = 0
        self._settled = 0
        """How many of the doubts a look came after."""
        self._old_since_s: float | None = None
        """Since when most told of nothing but an earlier epoch."""
        self._silent: set[Node] = set()
        """Those that gave no answer the last time: they are not waited for while others answer."""
        self._asking: dict[Node, asyncio.Task[Word]] = {}
        self._looking: asyncio.Task[None] | None = None

    def electable(self, node: Node) -> int:
        """Return how many replicas must have something so that all have it that some Sentinel would let take over from the primary.

        Those that follow the primary and never would are counted by WAIT too, which does not say who has it.

        Raises:
            ConnectionError: It is another one.
        """
        known = self._known
        if known is None or known.primary != node:
            raise ConnectionError(f"{in_words(node)} is the primary no more")
        oldest_s = self._now_s() - FOLLOWED_S
        while self._followers and self._followers[0][0] < oldest_s:
            self._followers.popleft()
        followed = max((len(followers) for _, followers in self._followers), default=0)
        following = self._followers[-1][1] if self._followers else frozenset()
        if following <= known.listed:
            others = len(following - known.up)
        else:  # one that the Sentinels have not met yet, or know by another name
            others = max(0, len(following) - len(known.up))
        return max(known.replicas, min(len(known.up), followed)) + others

    async def primary(self, slot: int) -> Node:  # noqa: ARG002 - all slots lie on one
        """Return the primary; every slot lies there.

        Raises:
            ConnectionError: No Sentinel tells, and what was known is in doubt.
            AuthenticationError, NoPermissionError: None does, and one does not let us ask.
            Unfit: None does, and one is not what the address says.
        """
        doubts, known = self._doubts, self._known
        if known is None or self._settled != doubts:
            await self._look()
            if self._settled < doubts:  # it had begun before the doubt
                await self._look()
            known = self._known
            assert known is not None
            return known.primary
        age_s = self._now_s() - self._looked_at_s
        if age_s >= FRESH_S:
            looking = self._begin_look()
            if age_s >= STALE_S:
                # Where none of them answers, nobody was replaced that we could hear of.
                await asyncio.wait([looking], timeout=self._timeout_s / 2)
                known = self._known or known
        return known.primary

    def doubt(self, slot: int) -> None:  # noqa: ARG002 - all slots lie on one
        """Have the Sentinels asked before the primary is told the next time."""
        self._doubts += 1

    async def vet(self, connection: Routed) -> None:
        """Refuse a server that is no primary.

        Raises:
            ReadOnlyError: It is a replica: the Sentinels are about to replace it, or have not heard of that yet.
        """
        await connection.send_command("INFO", "replication")
        text: bytes = await connection.read_response()
        if b"role:master" not in text:
            self.doubt(0)
            raise ReadOnlyError(f"{in_words((connection.host, connection.port))} is no primary")

    async def aclose(self) -> None:
        """Close the connections to them."""
        if self._close is not None:
            await self._close()

    async def _look(self) -> None:
        try:
            await asyncio.shield(self._begin_look())
        except BARRED:
            raise
        except (RedisError, OSError) as error:
            raise ConnectionError(str(error)) from error

    def _begin_look(self) -> "asyncio.Task[None]":
        """Ask once for all who want to know now."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._ask_all())
            self._looking.add_done_callback(self._has_looked)
        return self._looking

    def _has_looked(self, task: "asyncio.Task[None]") -> None:
        if self._looking is task:
            self._looking = None
        self._looked_at_s = self._now_s()
        if not task.cancelled():
            task.exception()  # told to whoever waits for it, if anybody still does

    async def _ask_all(self) -> None:
        doubts = self._doubts
        for node in self._seeds:
            if node not in self._asking:
                self._asking[node] = asyncio.create_task(self._ask(node))
        asked = dict(self._asking)
        prompt = {task for node, task in asked.items() if node not in self._silent}
        if prompt:
            await asyncio.wait(prompt, timeout=self._timeout_s / 2)
        if not any(_has_word(task) for task in asked.values()):
            await asyncio.wait(asked.values(), timeout=self._timeout_s / 2)
        words, problems = self._hear(asked)
        if words:
            self._learn(words)
            self._settled = doubts
            return
        barred = next((problem for problem in problems if isinstance(problem, BARRED)), None)
        said = "; ".join(str(problem) for problem in problems) or f"nothing within {self._timeout_s:g} s"
        raise barred or ConnectionError(f"no Sentinel answers: {said}")

    def _hear(self, asked: "Mapping[Node, asyncio.Task[Word]]") -> tuple[list[Word], list[BaseException]]:
        words: list[Word] = []
        problems: list[BaseException] = []
        for node, task in asked.items():
            self._silent.add(node)
            if not task.done():
                continue
            del self._asking[node]
            problem = None if task.cancelled() else task.exception()
            if problem is not None:
                problems.append(problem)
            elif not task.cancelled():
                words.append(task.result())
                self._silent.discard(node)
        return words, problems

    def _learn(self, words: list[Word]) -> None:
        found, known = max(words, key=lambda word: word.epoch), self._known
        if known is not None and found.epoch < known.epoch:
            now_s = self._now_s()
            if len(words) * 2 <= len(self._seeds):
                self._old_since_s = None
            elif self._old_since_s is None:
                self._old_since_s = now_s
            if self._old_since_s is None or now_s - self._old_since_s < OLD_NEWS_S:
                raise ConnectionError(
                    f"the Sentinels tell of epoch {found.epoch}, and epoch {known.epoch} was met already"
                )
        self._old_since_s = None
        if known is None or known.primary != found.primary:
            self._followers.clear()
        same = [word for word in words if word.primary == found.primary]
        up = frozenset[Node]().union(*(word.up for word in same))
        listed = frozenset[Node]().union(*(word.listed for word in same))
        replicas = max(word.replicas for word in same)
        if len(words) * 2 <= len(self._seeds):
            # Those that do not answer may reach a replica that these take for down, and make it the primary.
            up, replicas = up | listed, max(replicas, len(listed))
        self._known = Word(found.primary, found.epoch, up, replicas, listed)
        if self._ask_followers is not None and self._asking_followers is None:
            self._asking_followers = asyncio.create_task(self._ask_followers(found.primary))
            self._asking_followers.add_done_callback(partial(self._has_followers, found.primary))

    def _has_followers(self, node: Node, task: "asyncio.Task[frozenset[Node]]") -> None:
        self._asking_followers = None
        is_known = not task.cancelled() and task.exception() is None
        if is_known and self._known is not None and self._known.primary == node:
            self._followers.append((self._now_s(), task.result()))


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
        except ConnectionError as error:
            if isinstance(error.__cause__, BARRED):  # redis-py wraps what comes up while it connects
                raise error.__cause__ from error
            raise
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


def _has_word(task: "asyncio.Task[Word]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
