"""Several flights of one script under way: silent, executed late, sent again or overtaken, each lane goes on as if it were alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.batch import Batch
from libs.common.store.client import connect
from libs.common.store.head import Head
from libs.common.store.order_answers import Go
from libs.common.store.orders import MOST_FLIGHTS, WORTH_A_FLIGHT, Intent
from libs.common.store.scripts import Script
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig
from tests.support.eventually import eventually
from tests.support.proxy import Proxy

FLIGHTS: Final = (1, *[WORTH_A_FLIGHT + 3] * (MOST_FLIGHTS - 1))
"""How many leave on each."""

LANES: Final = sum(FLIGHTS) + 4
"""The last few wait for one of the flights."""

LIMIT: Final = (2_000, 2 * LANES)
"""Interval, us, and burst of the account's limit: all may leave at once."""


@pytest.fixture
async def proxy(rig: Rig) -> AsyncIterator[Proxy]:
    """What the calls of the rig pass through; they are soon given up."""
    with Proxy(rig.server.url) as proxy:
        rig.client = connect(proxy.url, timeout_s=0.4)
        yield proxy
        await rig.client.aclose()


async def hold_all(rig: Rig) -> list[Hold]:
    """Hold many lanes of two alerts each."""
    for _ in range(2):
        await rig.admit_each(*(f"M{number:03}" for number in range(LANES)))
    held = await rig.read(count=LANES)
    heads = await rig.do(*(rig.lanes().open.submit(one) for one in held))
    return [Hold(one, head, "a") for one, head in zip(held, heads, strict=True)]


def intents_of(rig: Rig, holds: Sequence[Hold]) -> list[Intent]:
    return [rig.intent(hold, nonce=f"nonce of {hold.held.lane}", account=LIMIT) for hold in holds]


async def let_fly(batch: Batch[Any, Any], items: Sequence[Any]) -> list[asyncio.Future[Any]]:
    """Have as many flights leave as may; the last few wait. Returns the answers to be."""
    answers: list[asyncio.Future[Any]] = []
    for number, count in enumerate(FLIGHTS, 1):
        answers += [batch.submit(item) for item in items[len(answers) :][:count]]
        await eventually(lambda count=number: batch._aloft == count and not batch._queue, interval_s=0)  # type: ignore[misc, arg-type]
    return answers + [batch.submit(item) for item in items[len(answers) :]]


async def persist(batch: Batch[Any, Any], item: Any, answer: asyncio.Future[Any]) -> Any:
    """Return the answer; send the item again until there is one."""
    while True:
        try:
            return await answer
        except StoreUnavailable:
            answer = batch.submit(item)


async def persist_all(
    batch: Batch[Any, Any], items: Sequence[Any], answers: Sequence[asyncio.Future[Any]]
) -> list[Any]:
    return await asyncio.gather(*(persist(batch, *each) for each in zip(items, answers, strict=True)))


async def have_executed_late(rig: Rig, batch: Batch[Any, Any], items: Sequence[Any]) -> list[Any]:
    """Have all flights leave while Redis stands still, and go on once they were given up and sent again."""
    before = executed(rig)
    rig.server.freeze()
    try:
        answers = await let_fly(batch, items)
        persisting = asyncio.create_task(persist_all(batch, items, answers))
        await asyncio.wait(answers[: sum(FLIGHTS)])
        assert all(isinstance(one.exception(), StoreUnavailable) for one in answers[: sum(FLIGHTS)])
    finally:
        rig.server.thaw()
    found = await persisting
    assert executed(rig) - before > len(FLIGHTS), "those that were given up were executed too"
    return found


def executed(rig: Rig) -> int:
    """Return how many calls of scripts Redis has executed."""
    return int(rig.redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def orders_charged(rig: Rig, account: Any = "desk") -> float:
    """Return how many orders the account's limit has counted."""
    tat_us = int(rig.redis.get(rig.keys.account_bucket(account)).split("|")[0])
    return (tat_us - START_MS * 1_000) / LIMIT[0]


def events(rig: Rig) -> Counter[str]:
    return Counter(event for event, _ in rig.journal())


async def test_what_is_executed_after_it_was_given_up_and_sent_again_counts_once(rig: Rig, proxy: Proxy):
    for name in ("begin", "settle"):
        rig.redis.script_load(Script(name).source)
    holds = await hold_all(rig)

    begun = await have_executed_late(rig, rig.orders().begin, intents_of(rig, holds))

    assert all(isinstance(one, Go) for one in begun)
    assert orders_charged(rig) == LANES
    rig.check_moves()

    settled = await have_executed_late(rig, rig.orders().settle, [rig.settlement(hold) for hold in holds])

    rig.check_moves()
    assert [one.alert_id for one in settled if isinstance(one, Head)] == [
        f"alert{LANES + number:05d}" for number in range(1, LANES + 1)
    ]
    assert events(rig) == {"QUEUED": 2 * LANES, "SENDING": LANES, "EXECUTED": LANES}


async def test_flights_that_all_meet_a_redis_without_the_script_are_executed_once(rig: Rig, proxy: Proxy):
    holds = await hold_all(rig)
    batch, intents = rig.orders().begin, intents_of(rig, holds)
    rig.redis.script_flush()
    rig.server.freeze()
    try:
        answers = await let_fly(batch, intents)
    finally:
        rig.server.thaw()

    assert all(isinstance(one, Go) for one in await persist_all(batch, intents, answers))
    assert orders_charged(rig) == LANES
    assert events(rig)["SENDING"] == LANES


async def test_a_flight_without_an_answer_holds_up_none_of_the_others(rig: Rig, proxy: Proxy):
    holds = await hold_all(rig)
    batch, script, intents = rig.orders().begin, Script("begin"), intents_of(rig, holds)
    rig.redis.script_load(script.source)
    proxy.lose_next_reply(script.sha.encode(), is_silent=True)
    first = batch.submit(intents[0])
    await eventually(lambda: proxy.lost_replies)

    rest = await asyncio.gather(*(batch.submit(intent) for intent in intents[1:]))

    assert all(isinstance(one, Go) for one in rest)
    assert not first.done()
    assert isinstance(await persist(batch, intents[0], first), Go)
    assert orders_charged(rig) == LANES
    assert events(rig)["SENDING"] == LANES
