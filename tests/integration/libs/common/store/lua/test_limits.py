"""The rate limits inside `begin`: what leaves, in which order, and how often lanes have to ask."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest

from libs.common.domain.ids import AlertId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Head
from libs.common.store.order_answers import Expired, Go, Wait
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig

HOUR_MS = 3_600_000

Limit = tuple[int, int]
"""Microseconds between orders in the long run, and how many at once."""

NONE: Limit = (0, 0)


@dataclass
class Traffic:
    """Lanes that ask, wait as they are told, and ask again."""

    rig: Rig
    account: Limit = NONE
    symbol: Limit = NONE
    lateness_ms: random.Random | None = None
    begins: int = 0
    left: list[tuple[int, Hold]] = field(default_factory=list)
    """When each left, in the order of their Gos."""
    expired: list[Hold] = field(default_factory=list)
    gap_ms: Callable[[], int] | None = None
    """After an order has left, how long until its lane asks for the next alert; None where each has one."""
    _sent: set[AlertId] = field(default_factory=set)

    async def run(
        self, asks: list[tuple[int, Hold]], *, until_ms: int | None = None
    ) -> list[tuple[int, Hold]]:
        """Let each lane ask at its time; returns those that would still ask after `until_ms`."""
        queue = [(at_ms, n, hold) for n, (at_ms, hold) in enumerate(asks)]
        heapq.heapify(queue)
        n = len(queue)
        while queue and (until_ms is None or queue[0][0] <= until_ms):
            at_ms = queue[0][0]
            together: list[Hold] = []
            while queue and queue[0][0] == at_ms and len(together) < 128:
                together.append(heapq.heappop(queue)[2])
            self.rig.now_ms = at_ms
            together = [following for hold in together if (following := await self._following(hold))]
            for hold, begun in zip(together, await self._begin(together), strict=True):
                if isinstance(begun, Go):
                    self.left.append((at_ms + begun.wait_ms, hold))
                    self._sent.add(hold.head.alert_id)
                    if self.gap_ms is not None:
                        n += 1
                        heapq.heappush(queue, (at_ms + begun.wait_ms + self.gap_ms(), n, hold))
                elif isinstance(begun, Wait):
                    assert begun.until_ms > at_ms
                    n += 1
                    heapq.heappush(queue, (begun.until_ms + self._late_ms(), n, hold))
                else:
                    assert isinstance(begun, Expired), begun
                    self.expired.append(hold)
        return [(at_ms, hold) for at_ms, _, hold in sorted(queue, key=lambda one: one[:2])]

    async def _following(self, hold: Hold) -> Hold | None:
        """Return a head that has not left yet: this one, or the one after it once it has."""
        if hold.head.alert_id not in self._sent:
            return hold
        following = await self.rig.orders().settle.submit(self.rig.settlement(hold))
        return Hold(hold.held, following, "a") if isinstance(following, Head) else None

    def _late_ms(self) -> int:
        if self.lateness_ms is None:
            return 0
        return self.lateness_ms.choice([0, 0, 0, 1, 7, 60, 900, 4_000])

    async def _begin(self, holds: list[Hold]) -> list[object]:
        self.begins += len(holds)
        assert self.begins < 10_000, "they ask for ever"
        orders = self.rig.orders()
        futures = [
            orders.begin.submit(self.rig.intent(hold, account=self.account, symbol=self.symbol))
            for hold in holds
        ]
        return [await future for future in futures]

    def assert_within_limits(self) -> None:
        times = sorted(at_ms for at_ms, _ in self.left)
        assert_within(times, self.account)
        by_market = sorted((hold.held.lane, at_ms) for at_ms, hold in self.left)
        for _, group in groupby(by_market, key=lambda one: one[0].split(":")[1]):
            assert_within([at_ms for _, at_ms in group], self.symbol)


def assert_within(times_ms: list[int], limit: Limit) -> None:
    """Check every window: at most burst + time / interval."""
    interval_us, burst = limit
    if interval_us == 0:
        return
    # As a leaky bucket: it must never hold more than the burst.
    full_at_us = 0
    for at_ms in times_ms:
        full_at_us = max(full_at_us, at_ms * 1_000) + interval_us
        assert full_at_us - at_ms * 1_000 <= burst * interval_us, f"too many left by {at_ms - START_MS} ms"


async def hold_lanes(rig: Rig, *markets: str, **options) -> list[Hold]:
    """Admit an alert for each market, and hold all their lanes, in this order."""
    options.setdefault("max_age_ms", 10 * HOUR_MS)
    await rig.admit_each(*markets, **options)
    holds: dict[str, Hold] = {}
    while found := await rig.read():
        heads: list[Any] = [rig.lanes().open.submit(held) for held in found]
        holds |= {held.lane: Hold(held, await head, "a") for held, head in zip(found, heads, strict=True)}
    rig.check_moves()
    return [holds[f"desk:{market}"] for market in dict.fromkeys(markets)]


def markets(count: int) -> list[str]:
    return [f"M{n:04d}" for n in range(count)]


async def test_a_thousand_lanes_of_one_account_are_served_in_order_with_under_three_begins_each(rig: Rig):
    holds = await hold_lanes(rig, *markets(1_000))
    traffic = Traffic(rig, account=(100_000, 20))
    await traffic.run([(START_MS, hold) for hold in holds])
    assert [hold for _, hold in traffic.left] == holds
    assert traffic.begins < 3 * 1_000
    traffic.assert_within_limits()
    # Nothing of the rate is wasted either.
    assert traffic.left[-1][0] == START_MS + (1_000 - 20) * 100


async def test_lanes_that_ask_one_after_the_other_are_served_in_the_order_they_asked(rig: Rig):
    holds = await hold_lanes(rig, *markets(120))
    rng = random.Random(1)
    asks = sorted((START_MS + rng.randrange(8_000), n) for n in range(120))
    traffic = Traffic(rig, account=(100_000, 3))
    await traffic.run([(at_ms, holds[n]) for at_ms, n in asks])
    assert [hold for _, hold in traffic.left] == [holds[n] for _, n in asks]
    assert traffic.begins < 3 * 120


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_lateness_no_window_sees_more_than_burst_and_rate(rig: Rig, seed: int):
    rng = random.Random(seed)
    account = (rng.choice([1_000, 33_333, 100_000, 250_000]), rng.choice([1, 2, 5, 20]))
    symbol = (rng.choice([0, 50_000, 200_000, 1_000_000]), rng.choice([1, 3, 10]))
    names = [f"M{n}" for n in range(12)]
    holds = await hold_lanes(rig, *names * 12)
    traffic = Traffic(
        rig, account=account, symbol=symbol, lateness_ms=rng, gap_ms=lambda: rng.choice([0, 1, 20, 700])
    )
    await traffic.run([(START_MS + rng.choice([0, 0, 5, 300, 2_000]), hold) for hold in holds])
    assert len(traffic.left) == 12 * 12
    assert rig.is_at_rest()
    traffic.assert_within_limits()


async def test_lanes_that_are_all_late_do_not_bunch_and_do_not_ask_in_a_herd(rig: Rig):
    # Their worker died while they waited, and its successor gets them all at once.
    holds = await hold_lanes(rig, *markets(300))
    traffic = Traffic(rig, account=(100_000, 5))
    waiting = await traffic.run([(START_MS, hold) for hold in holds], until_ms=START_MS)
    asked = traffic.begins
    back_ms = START_MS + 60_000
    late = [(max(at_ms, back_ms), hold) for at_ms, hold in waiting]
    await traffic.run(late)
    assert len(traffic.left) == 300
    traffic.assert_within_limits()
    assert traffic.begins - asked < 4 * len(late)
    assert traffic.left[-1][0] <= back_ms + 300 * 100


async def test_who_comes_late_is_served_before_those_who_asked_long_after(rig: Rig):
    holds = await hold_lanes(rig, *markets(200))
    traffic = Traffic(rig, account=(100_000, 1))
    waiting = await traffic.run([(START_MS, hold) for hold in holds], until_ms=START_MS)
    late_by = {hold.held.lane: 3_000 if n < 20 else 0 for n, (_, hold) in enumerate(waiting)}
    await traffic.run([(at_ms + late_by[hold.held.lane], hold) for at_ms, hold in waiting])
    places = {hold.held.lane: place for place, (_, hold) in enumerate(traffic.left)}
    assert max(places[lane] for lane, by in late_by.items() if by) < 120
    traffic.assert_within_limits()


async def test_after_a_pause_a_whole_burst_may_leave_at_once(rig: Rig):
    holds = await hold_lanes(rig, *markets(12))
    traffic = Traffic(rig, account=(100_000, 5))
    await traffic.run([(START_MS, hold) for hold in holds[:6]])
    assert [at_ms - START_MS for at_ms, _ in traffic.left] == [0] * 5 + [100]
    traffic.left.clear()
    await traffic.run([(START_MS + 60_000, hold) for hold in holds[6:]])
    assert [at_ms - START_MS - 60_000 for at_ms, _ in traffic.left] == [0] * 5 + [100]


async def test_a_lane_that_waits_for_its_symbol_takes_no_slot_of_its_account(rig: Rig):
    holds = await hold_lanes(rig, "SLOW", "A", "B", "C")
    account = (100_000, 1)
    rig.redis.set(
        rig.keys.symbol_bucket("desk", "SLOW"), f"{(START_MS + 5_000) * 1_000}|0|0|{START_MS * 1_000}", ex=600
    )
    first = await rig.begin(holds[0], symbol=(1_000, 1), account=account)
    assert first == Wait(START_MS + 5_000, Reason.RATE_LIMIT, START_MS)
    assert not rig.redis.exists(rig.keys.account_bucket("desk"))
    traffic = Traffic(rig, account=account)
    await traffic.run([(START_MS, hold) for hold in holds[1:]])
    assert [at_ms - START_MS for at_ms, _ in traffic.left] == [0, 100, 200]


async def test_accounts_and_symbols_have_limits_of_their_own(rig: Rig):
    [one, two] = await hold_lanes(rig, "A", "B")
    assert isinstance(await rig.begin(one, symbol=(HOUR_MS * 1_000, 1)), Go)
    assert isinstance(await rig.begin(two, symbol=(HOUR_MS * 1_000, 1)), Go)


async def test_a_second_attempt_is_counted_too(rig: Rig):
    [hold] = await hold_lanes(rig, "A")
    await rig.go(hold, nonce="n1", account=(1_000_000, 1))
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="n1")
    waits = await rig.begin(hold, attempt=2, nonce="n2", account=(1_000_000, 1))
    assert waits == Wait(START_MS + 1_000, Reason.RATE_LIMIT, START_MS)
    rig.now_ms += 1_000
    await rig.go(hold, attempt=2, nonce="n2", account=(1_000_000, 1))


async def test_what_would_wait_long_at_the_gate_has_no_intent_on_disk_meanwhile(rig: Rig):
    first, second = await hold_lanes(rig, "A", "B")
    limit = (5_000_000, 1)
    await rig.go(first, account=limit)
    # Nothing is reserved, but what left fills the gate for five seconds.
    bucket = rig.keys.account_bucket("desk")
    _, gate, late, seen = rig.redis.get(bucket).split("|")
    rig.redis.set(bucket, f"0|{gate}|{late}|{seen}", ex=60)
    assert await rig.begin(second, account=limit) == Wait(START_MS + 5_000, Reason.RATE_LIMIT, START_MS)
    assert not rig.order(second.order_id)
    rig.now_ms += 5_000
    assert (await rig.go(second, account=limit)).wait_ms == 0


# Deadlines.


async def test_a_reservation_past_the_deadline_is_not_made(rig: Rig):
    holds = await hold_lanes(rig, *markets(3))
    [short] = await hold_lanes(rig, "SHORT", max_age_ms=1_500)
    limit = (1_000_000, 1)
    traffic = Traffic(rig, account=limit)
    waiting = await traffic.run([(START_MS, hold) for hold in holds[:2]], until_ms=START_MS)
    charged = rig.redis.get(rig.keys.account_bucket("desk"))
    # Its slot would be due at 2,000.
    assert await rig.begin(short, account=limit) == Wait(START_MS + 1_500, Reason.RATE_LIMIT, START_MS)
    assert rig.redis.get(rig.keys.account_bucket("desk")) == charged
    waiting += await traffic.run([(START_MS, holds[2])], until_ms=START_MS)
    rig.now_ms = START_MS + 1_500
    assert await rig.begin(short, account=limit) == Expired()
    await traffic.run(waiting)
    assert [at_ms - START_MS for at_ms, _ in traffic.left] == [0, 1_000, 2_000]


async def test_what_would_leave_after_its_deadline_waits_for_it_instead(rig: Rig):
    [first] = await hold_lanes(rig, "A")
    [short] = await hold_lanes(rig, "B", max_age_ms=100)
    await rig.go(first, account=(200_000, 1))
    bucket = rig.keys.account_bucket("desk")
    # Nothing is reserved, but what left fills the gate until after the deadline.
    _, gate, late, seen = rig.redis.get(bucket).split("|")
    rig.redis.set(bucket, f"0|{gate}|{late}|{seen}", ex=60)
    assert await rig.begin(short, account=(200_000, 1)) == Wait(START_MS + 100, Reason.RATE_LIMIT, START_MS)
    rig.now_ms += 100
    assert await rig.begin(short, account=(200_000, 1)) == Expired()


# Clocks.


@pytest.mark.parametrize("step_ms", [-HOUR_MS, -1_000, -60])
async def test_a_clock_that_steps_back_does_not_block_an_account(rig: Rig, step_ms: int):
    holds = await hold_lanes(rig, *markets(40))
    traffic = Traffic(rig, account=(100_000, 2), symbol=(500_000, 1))
    waiting = await traffic.run([(START_MS, hold) for hold in holds[:30]], until_ms=START_MS + 500)
    now_ms = START_MS + 500 + step_ms
    # Parked lanes are promoted when they would have been, since promote moves their due times.
    traffic.left.clear()
    asks = [(at_ms + step_ms, hold) for at_ms, hold in waiting] + [(now_ms, hold) for hold in holds[30:]]
    await traffic.run(asks)
    assert len(traffic.left) == len(asks)
    traffic.assert_within_limits()
    # All are out as soon as the rate allows, with a slot lost here and there, and not an hour later.
    assert traffic.left[-1][0] <= now_ms + 100 * len(asks) * 2 + 4_000


async def test_a_gate_that_lies_ahead_after_a_clock_step_opens_as_time_goes(rig: Rig):
    [hold] = await hold_lanes(rig, "A")
    # 600 ms of what left, an hour ago by the new clock; nothing is reserved.
    old_us = (START_MS + HOUR_MS) * 1_000
    rig.redis.set(rig.keys.account_bucket("desk"), f"0|{old_us + 600_000}|0|{old_us}", ex=600)
    traffic = Traffic(rig, account=(100_000, 1))
    await traffic.run([(START_MS, hold)])
    assert traffic.left[0][0] - START_MS <= 600
    assert traffic.begins <= 3


async def test_a_clock_step_is_made_good_once_in_a_bucket_that_is_only_looked_at(rig: Rig):
    [hold] = await hold_lanes(rig, "A")
    before_us = (START_MS + HOUR_MS) * 1_000
    rig.redis.set(rig.keys.account_bucket("desk"), f"{before_us + 2_000_000}|0|0|{before_us}", ex=600)
    rig.redis.set(
        rig.keys.symbol_bucket("desk", "A"), f"{(START_MS + 5_000) * 1_000}|0|0|{START_MS * 1_000}", ex=600
    )
    limits = {"symbol": (1_000, 1), "account": (1_000, 1)}
    assert await rig.begin(hold, **limits) == Wait(START_MS + 5_000, Reason.RATE_LIMIT, START_MS)
    rig.now_ms += 5_000
    # The account's slots lay two seconds ahead, which are over.
    assert isinstance(await rig.begin(hold, **limits), Go)


async def test_a_clock_that_steps_forward_only_frees_the_rate(rig: Rig):
    holds = await hold_lanes(rig, *markets(20))
    traffic = Traffic(rig, account=(1_000_000, 1))
    waiting = await traffic.run([(START_MS, hold) for hold in holds[:10]], until_ms=START_MS)
    traffic.left.clear()
    await traffic.run([(START_MS + HOUR_MS, hold) for _, hold in waiting])
    assert len(traffic.left) == 9
    traffic.assert_within_limits()


# Parking and promoting as a worker and the reaper do it.


async def test_parked_lanes_come_back_in_the_order_of_their_slots(rig: Rig):
    limit = (50_000, 2)
    names = markets(60)
    await rig.admit_each(*names, max_age_ms=HOUR_MS)
    left, begins = [], 0
    while rig.redis.hlen(rig.keys.lanes) or rig.redis.zcard(rig.keys.parked):
        while found := await rig.read(count=16):
            for held in found:
                head = await rig.open(held)
                hold = Hold(held, head, "a")
                begun = await rig.begin(hold, account=limit)
                begins += 1
                if isinstance(begun, Wait):
                    await rig.park(hold, wait_ms=None, due_at_ms=begun.until_ms, reason=Reason.RATE_LIMIT)
                else:
                    left.append((rig.now_ms + begun.wait_ms, held.lane))
                    await rig.settle(hold)
        waits_ms = (await rig.upkeep.promote()).next_in_ms
        if waits_ms:
            rig.now_ms += waits_ms + 3
            await rig.upkeep.promote()
    assert [lane for _, lane in left] == [f"desk:{name}" for name in names]
    assert begins < 3 * 60
    assert_within([at_ms for at_ms, _ in left], limit)
    assert rig.is_at_rest()


async def test_every_bucket_expires(rig: Rig):
    holds = await hold_lanes(rig, *markets(30))
    traffic = Traffic(rig, account=(100_000, 1), symbol=(1_000_000, 1))
    await traffic.run([(START_MS, hold) for hold in holds], until_ms=START_MS)
    for key in rig.redis.keys(f"{rig.keys.prefix}bucket:*"):
        assert 0 < rig.redis.pttl(key) <= 3_000 + 60_000
