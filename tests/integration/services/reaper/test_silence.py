"""Passes over what strategies left in the journal, on one shard and on several."""

import pytest
from redis.asyncio import Redis
from structlog.typing import EventDict

from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import StoreUnavailable
from libs.common.policy.silence import LEAST_ALERTS, heard
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.shards import Shard, Shards
from libs.common.store.streams import PAGE
from services.reaper import silence as silence_module
from tests.integration.services.reaper.watchdog import HOUR_MS, Watchdog, said
from tests.support.eventually import eventually


async def hourly(watchdog: Watchdog, *, until_ms: int, shards: int = 1) -> None:
    for n in range(8 * 24, 0, -1):
        watchdog.admitted(at_ms=until_ms - (n - 1) * HOUR_MS, shard=n % shards)


@pytest.mark.parametrize("shards", [1, 2])
async def test_whoever_was_heard_each_hour_for_a_week_and_is_no_more_is_silent(
    watchdog: Watchdog, events: list[EventDict], shards: int
) -> None:
    now_ms = await watchdog.now_ms()
    await hourly(watchdog, until_ms=now_ms - 5 * HOUR_MS, shards=shards)
    one, other = watchdog.silence("one"), watchdog.silence("other")

    for _ in range(3):
        await one.run_once()
        await other.run_once()

    assert "not heard for 5 h" in (await watchdog.raised())["trend"]
    assert said(events) == [("alarm_raised", "trend")]

    watchdog.admitted(at_ms=await watchdog.now_ms() + 1, shard=shards - 1)
    await one.run_once()

    assert await watchdog.raised() == {}
    assert said(events) == [("alarm_raised", "trend"), ("alarm_cleared", "trend")]


async def test_a_clock_that_stepped_back_makes_nobody_deaf(watchdog: Watchdog) -> None:
    # Redis goes on from the time before the step, until that has come again.
    watchdog.admitted(at_ms=await watchdog.now_ms() + HOUR_MS)
    silence = watchdog.silence(trend=300)
    await silence.run_once()
    assert await watchdog.raised() == {}

    async def is_raised() -> bool:
        await silence.run_once()
        return list(await watchdog.raised()) == ["trend"]

    await eventually(is_raised)


async def test_whoever_takes_over_goes_on_where_the_other_one_was(watchdog: Watchdog) -> None:
    now_ms = await watchdog.now_ms()
    await hourly(watchdog, until_ms=now_ms - HOUR_MS)
    one = watchdog.silence("one")
    await one.run_once()
    await one._turn.give_back()
    other = watchdog.silence("other")
    await eventually(other._turn.take)
    watchdog.admitted(at_ms=now_ms)
    await other.run_once()

    habits = await watchdog.watch.habits()

    assert habits["trend"].alerts == 8 * 24 + 1
    assert await one.run_once() == silence_module.LISTEN_S


async def test_what_an_operator_sends_says_nothing_of_a_strategy(watchdog: Watchdog) -> None:
    watchdog.admitted(at_ms=await watchdog.now_ms(), webhook="operator")
    await watchdog.silence().run_once()

    assert await watchdog.watch.habits() == {}


async def test_alerts_without_a_strategy_are_their_webhooks(watchdog: Watchdog) -> None:
    watchdog.admitted(at_ms=await watchdog.now_ms(), strategy="", webhook="btc")
    await watchdog.silence().run_once()

    assert set(await watchdog.watch.habits()) == {"webhook:btc"}


async def test_a_strategy_whose_time_is_set_is_waited_for_before_it_was_ever_heard(
    watchdog: Watchdog,
) -> None:
    silence = watchdog.silence(asleep=1)
    await silence.run_once()

    async def is_raised() -> bool:
        silence._judged_at_s = float("-inf")
        await silence.run_once()
        return set(await watchdog.raised()) == {"asleep"}

    await eventually(is_raised)


async def test_what_is_switched_off_is_cleared(watchdog: Watchdog, events: list[EventDict]) -> None:
    await hourly(watchdog, until_ms=await watchdog.now_ms() - 5 * HOUR_MS)
    await watchdog.silence().run_once()
    assert set(await watchdog.raised()) == {"trend"}

    await watchdog.silence(trend=0).run_once()

    assert await watchdog.raised() == {}
    assert events[-1]["detail"] == "not waited for any more"


async def test_who_was_not_heard_for_weeks_is_forgotten(watchdog: Watchdog) -> None:
    old = heard(None, await watchdog.now_ms() - 40 * DAY_MS)
    await watchdog.watch.learn_habits("journal:0", None, "1-0", {"old": old, "kept": old})

    await watchdog.silence(kept=10**12).run_once()

    assert set(await watchdog.watch.habits()) == {"kept"}


async def test_past_the_bound_a_fleeting_strategy_makes_room_and_a_known_one_does_not(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch, events: list[EventDict]
) -> None:
    monkeypatch.setattr(silence_module, "STRATEGIES_AT_MOST", 2)
    now_ms = await watchdog.now_ms()
    for n in range(LEAST_ALERTS):
        watchdog.admitted(at_ms=now_ms - 1_000 + n, strategy="known")
    for n, name in enumerate(("first", "second", "third")):
        watchdog.admitted(at_ms=now_ms - 500 + n, strategy=name)
    await watchdog.silence().run_once()

    assert set(await watchdog.watch.habits()) == {"known", "third"}
    assert [one["event"] for one in events] == ["strategies_unwatched"]


async def test_a_long_journal_is_read_in_pages_and_nobody_is_judged_before_its_end(
    watchdog: Watchdog,
) -> None:
    now_ms = await watchdog.now_ms()
    await hourly(watchdog, until_ms=now_ms - 5 * HOUR_MS)
    with watchdog.rig.redis.pipeline() as pipeline:
        for _ in range(PAGE):
            pipeline.xadd(watchdog.rig.keys.journal, {"event": "PARKED"})
        pipeline.execute()
    silence = watchdog.silence()

    assert await silence.run_once() == silence_module.BEHIND_S
    assert await watchdog.raised() == {}
    await silence.run_once()
    assert set(await watchdog.raised()) == {"trend"}


async def test_while_a_shard_is_away_nobody_is_called_silent_and_the_others_are_heard(
    watchdog: Watchdog,
) -> None:
    await hourly(watchdog, until_ms=await watchdog.now_ms() - 5 * HOUR_MS)
    away: Redis = connect("redis://127.0.0.1:1/0", timeout_s=0.2)
    watchdog.shards = Shards([watchdog.shards.first, Shard(1, Keys(1), away)])
    silence = watchdog.silence()
    # Its cursors are with the first shard, so that it begins although another one is away.
    with pytest.raises(StoreUnavailable):
        await silence.run_once()
    await away.aclose()

    assert await watchdog.raised() == {}
    assert (await watchdog.watch.habits())["trend"].alerts == 8 * 24
