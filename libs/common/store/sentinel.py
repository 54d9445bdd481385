"""Connections to the primary that Redis Sentinel watches over.

redis-py's own client of Sentinels is not used: it asks them only when a connection is made, and believes the first that
answers. A primary that was replaced while nobody looked would be written to on connections that are open, until a
Sentinel gets round to make it a replica, which takes it ten seconds and more.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the name is redis-py's
    ReadOnlyError,
)

from libs.common.store.connections import barrier_of
from libs.common.store.routing import Node, Routed, in_words
from libs.common.store.sentinel_asking import Word
from libs.common.store.shared_look import SharedLook

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
        self._look = SharedLook(self._look_at_all)

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
            await self._look.finish()
            if self._settled < doubts:  # it had begun before the doubt
                await self._look.finish()
            known = self._known
            assert known is not None
            return known.primary
        age_s = self._now_s() - self._looked_at_s
        if age_s >= FRESH_S:
            looking = self._look.begin()
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
        """End what is under way, and close the connections to them."""
        await self._look.aclose()
        asking: list[asyncio.Task[Any]] = [*self._asking.values()]
        self._asking.clear()
        if self._asking_followers is not None:
            asking.append(self._asking_followers)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._close is not None:
            await self._close()

    async def _look_at_all(self) -> None:
        try:
            await self._ask_all()
        finally:
            self._looked_at_s = self._now_s()

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
        barrier = next(filter(None, map(barrier_of, problems)), None)
        said = "; ".join(str(problem) for problem in problems) or f"nothing within {self._timeout_s:g} s"
        raise barrier or ConnectionError(f"no Sentinel answers: {said}")

    def _hear(self, asked: Mapping[Node, asyncio.Task[Word]]) -> tuple[list[Word], list[BaseException]]:
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

    def _has_followers(self, node: Node, task: asyncio.Task[frozenset[Node]]) -> None:
        self._asking_followers = None
        is_known = not task.cancelled() and task.exception() is None
        if is_known and self._known is not None and self._known.primary == node:
            self._followers.append((self._now_s(), task.result()))


def _has_word(task: asyncio.Task[Word]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
