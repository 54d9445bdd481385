"""Which of the Sentinels is believed, and when they are asked."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from libs.common.store.connections import Unfit
from libs.common.store.routing import Node
from libs.common.store.sentinel import (
    FOLLOWED_S,
    FRESH_S,
    OLD_NEWS_S,
    STALE_S,
    Sentinels,
)
from libs.common.store.sentinel_asking import Word, _is_up
from tests.support.eventually import eventually

OLD, NEW = ("old", 1), ("new", 2)
AWAY = RedisConnectionError("refused")


def named(count: int) -> frozenset[Node]:
    return frozenset((f"r{number}", 1) for number in range(count))


class Three:
    """Sentinels a, b and c that answer what a test says; one of none does not answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.now_s = 100.0
        self.following: int | frozenset[Node] = 0
        self.has_silent_primary = False
        self.sentinels = Sentinels(
            [("a", 1), ("b", 1), ("c", 1)],
            self.ask,
            timeout_s=0.4,
            followers=self.followers,
            now_s=lambda: self.now_s,
        )

    async def until_asked(self) -> None:
        """Return once one of them was asked: a look is under way then."""
        while not self.asked:
            await asyncio.sleep(0)

    async def ask(self, node: Node) -> Word:
        self.asked.append(node[0])
        await asyncio.sleep(0)
        answer = self.answers.get(node[0], AWAY)
        if answer == "silent":
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        primary, epoch, *counts = answer
        up, replicas, listed = (*counts, 0, 0, 0)[:3]
        return Word(primary, epoch, named(up), replicas, named(listed))

    async def followers(self, _: Node) -> frozenset[Node]:
        if self.has_silent_primary:
            await asyncio.Event().wait()
        return self.following if isinstance(self.following, frozenset) else named(self.following)

    async def look(self, **answers: Any) -> None:
        self.answers.update(answers)
        self.sentinels.doubt(0)
        await self.primary()
        await self.has_heard()

    async def primary(self) -> Node:
        return await self.sentinels.primary(0)

    async def looked(self, before: int) -> None:
        await eventually(lambda: len(self.asked) >= before + 3)
        await self.has_heard()

    async def has_heard(self) -> None:
        await eventually(lambda: not self.sentinels._look.is_under_way)


async def test_of_sentinels_that_differ_the_one_that_knows_of_the_latest_fail_over_is_believed():
    three = Three(a=(OLD, 3), b=(NEW, 4), c=(OLD, 3))
    assert await three.primary() == NEW


async def test_who_wants_to_know_at_the_same_time_shares_one_look():
    three = Three(a=(OLD, 3), b=(OLD, 3), c=(OLD, 3))
    assert await asyncio.gather(*(three.primary() for _ in range(20))) == [OLD] * 20
    assert sorted(three.asked) == ["a", "b", "c"]


@pytest.mark.parametrize("rest", [{}, {"b": "silent", "c": "silent"}, {"b": AWAY, "c": "silent"}])
async def test_one_that_answers_is_enough(rest: dict[str, Any]):
    three = Three(a=(OLD, 3), **rest)
    assert await three.primary() == OLD


async def test_sentinels_that_were_silent_are_not_waited_for_again():
    three = Three(a=(OLD, 3), b="silent", c="silent")
    await three.primary()
    three.sentinels.doubt(0)
    three.answers["a"] = (NEW, 4)
    async with asyncio.timeout(0.15):
        assert await three.primary() == NEW


async def test_what_was_said_is_taken_for_a_while_and_then_looked_at_while_calls_go_on():
    three = Three(a=(OLD, 3), b=(OLD, 3), c=(OLD, 3))
    assert await three.primary() == OLD
    three.answers.update(a=(NEW, 4), b=(NEW, 4), c=(NEW, 4))
    three.now_s += FRESH_S / 2
    assert await three.primary() == OLD
    assert len(three.asked) == 3
    three.now_s += FRESH_S
    assert await three.primary() == OLD
    await three.looked(3)
    assert await three.primary() == NEW


async def test_after_a_long_time_without_calls_the_first_waits_for_a_look():
    three = Three(a=(OLD, 3), b=(OLD, 3), c=(OLD, 3))
    await three.primary()
    three.answers.update(a=(NEW, 4), b=(NEW, 4), c=(NEW, 4))
    three.now_s += STALE_S
    assert await three.primary() == NEW


async def test_sentinels_that_are_away_leave_what_is_known_unless_it_is_in_doubt():
    three = Three(a=(OLD, 3), b=(OLD, 3), c=(OLD, 3))
    await three.primary()
    three.answers.clear()
    three.now_s += STALE_S
    assert await three.primary() == OLD
    three.sentinels.doubt(0)
    with pytest.raises(RedisConnectionError, match="refused"):
        await three.primary()
    three.answers.update(b=(NEW, 4))
    assert await three.primary() == NEW


async def test_one_that_missed_a_fail_over_is_not_believed_by_who_knows_of_it():
    three = Three(b=(NEW, 4), c=(NEW, 4))
    await three.primary()
    three.answers = {"a": (OLD, 3)}
    three.sentinels.doubt(0)
    with pytest.raises(RedisConnectionError, match="epoch 3"):
        await three.primary()
    three.now_s += 2 * OLD_NEWS_S
    with pytest.raises(RedisConnectionError, match="epoch 3"):
        await three.primary()


async def test_sentinels_that_were_made_anew_are_believed_after_a_while():
    three = Three(a=(OLD, 7), b=(OLD, 7), c=(OLD, 7))
    await three.primary()
    three.answers.update(a=(NEW, 0), b=(NEW, 0), c=(NEW, 0))
    three.sentinels.doubt(0)
    with pytest.raises(RedisConnectionError, match="epoch 0"):
        await three.primary()
    three.now_s += OLD_NEWS_S
    assert await three.primary() == NEW


@pytest.mark.parametrize("barred", [NoPermissionError("no"), Unfit("no", remedy="do")])
async def test_one_that_bars_us_is_told_of_where_none_answers(barred: Exception):
    three = Three(a=AWAY, b=barred)
    with pytest.raises(type(barred)):
        await three.primary()
    three.answers["c"] = (OLD, 1)
    assert await three.primary() == OLD


async def test_a_doubt_that_comes_while_they_are_asked_has_them_asked_again():
    three = Three(a=(OLD, 3), b=(OLD, 3), c=(OLD, 3))
    first = asyncio.create_task(three.primary())
    await three.until_asked()
    three.sentinels.doubt(0)
    await first
    await three.primary()
    await three.primary()
    assert len(three.asked) == 6


async def test_who_asks_after_a_doubt_is_not_told_what_was_asked_before_it():
    three = Three(a=(OLD, 3), b=(OLD, 3), c=(OLD, 3))
    before = asyncio.create_task(three.primary())
    await three.until_asked()
    three.sentinels.doubt(0)
    after = asyncio.create_task(three.primary())
    await before
    three.answers.update(a=(NEW, 4), b=(NEW, 4), c=(NEW, 4))
    assert await after == NEW


@pytest.mark.parametrize(
    ("up", "replicas", "following", "expected"),
    [
        (2, 2, 2, 2),
        (2, 2, 1, 2),  # the primary was replaced by one of them, and does not know it
        (2, 1, 2, 2),  # a Sentinel has not heard yet that one follows
        (2, 1, 1, 1),  # one came back as the primary that it was
        (1, 1, 2, 2),  # one is down, as they think, and WAIT counts it
        (0, 0, 2, 2),
    ],
)
async def test_every_server_that_may_take_over_counts(up: int, replicas: int, following: int, expected: int):
    three = Three(a=(OLD, 3, up, replicas))
    three.following = following
    await three.look()
    assert three.sentinels.electable(OLD) == expected


@pytest.mark.parametrize(
    ("following", "expected"),
    [({"r0"}, 1), ({"r0", "r1"}, 2), ({"r1"}, 2), ({"other"}, 1), ({"other", "another"}, 2), (set(), 0)],
)
async def test_whoever_follows_and_cannot_take_over_does_not_stand_in_for_who_can(
    following: set[str], expected: int
):
    """Of r0 and r1 the Sentinels reach r0; others they do not know, or by another name."""
    three = Three(a=(OLD, 3, 1, 0, 2), b=(OLD, 3, 1, 0, 2))
    three.following = frozenset((name, 1) for name in following)
    await three.look()
    await three.look()
    assert three.sentinels.electable(OLD) == expected


@pytest.mark.parametrize(("answering", "expected"), [("a", 2), ("ab", 1), ("abc", 1)])
async def test_a_replica_counts_as_down_only_by_the_word_of_most(answering: str, expected: int):
    """Those that do not answer may reach it, and make it the primary."""
    word = (OLD, 3, 1, 1, 2)
    three = Three(**dict.fromkeys(answering, word))
    three.following = 1
    await three.look()
    assert three.sentinels.electable(OLD) == expected


async def test_one_that_followed_counts_as_long_as_what_sentinels_know_may_be_old():
    three = Three(a=(OLD, 3, 2, 1))
    three.following = 2
    await three.look()
    three.following = 1
    three.now_s += FOLLOWED_S / 2
    await three.look()
    assert three.sentinels.electable(OLD) == 2
    three.now_s += FOLLOWED_S
    await three.look()
    assert three.sentinels.electable(OLD) == 1


async def test_of_a_primary_that_was_replaced_nothing_counts_any_more():
    three = Three(a=(OLD, 3, 2, 2))
    three.following = 2
    await three.look()
    await three.look(a=(NEW, 4, 2, 0))
    with pytest.raises(RedisConnectionError, match="primary no more"):
        three.sentinels.electable(OLD)
    three.following = 1
    await three.look()
    assert three.sentinels.electable(NEW) == 2


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, True),
        ({b"flags": b"slave,disconnected"}, True),  # cut off by its Sentinel, as it was just made the primary
        ({b"flags": b"slave,s_down,disconnected"}, False),
        ({b"master-link-down-time": b"50000", b"down-after-milliseconds": b"5000"}, True),
        (
            {b"master-link-down-time": b"50001", b"down-after-milliseconds": b"5000"},
            False,
        ),  # no Sentinel chooses it
        ({b"master-link-down-time": b"-1000", b"down-after-milliseconds": b"5000"}, True),  # never linked
        ({b"runid": b""}, False),  # not reached since the last fail-over
        ({b"slave-priority": b"0"}, True),  # never, but WAIT counts it like those that may
    ],
)
def test_who_is_waited_for_is_told_by_what_cannot_be_old(facts: dict[bytes, bytes], expected: bool):
    assert _is_up({b"flags": b"slave", b"runid": b"a", b"slave-priority": b"100", **facts}) == expected


async def test_closing_ends_all_that_is_asked():
    three = Three(a=(OLD, 3), b="silent", c="silent")
    three.has_silent_primary = True
    before = asyncio.all_tasks()
    await three.primary()
    three.now_s += FRESH_S
    await three.primary()
    assert len(asyncio.all_tasks() - before) == 4, "two Sentinels, the primary, and a look"
    await three.sentinels.aclose()
    assert asyncio.all_tasks() == before
