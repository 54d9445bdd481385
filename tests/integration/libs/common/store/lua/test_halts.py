"""What keeps `begin` from letting an order out: halts, and a venue that asked to be left alone."""

import pytest

from libs.common.domain.ids import AccountName
from libs.common.domain.reasons import Reason
from libs.common.store.breakers import BreakerReport, Pause
from libs.common.store.order_answers import Expired, Go, Halted, Wait
from tests.integration.libs.common.store.lua.rig import START_MS, Rig

DESK = AccountName("desk")


def halt(rig: Rig, mode: str, *, account: str = "*", strategy: str = "*", symbol: str = "*") -> str:
    scope = f"account={account};strategy={strategy};symbol={symbol}"
    rig.redis.hset(f"{rig.keys.prefix}halts", scope, f"{mode}|{START_MS}|ops|why")
    return scope


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"account": "desk"},
        {"strategy": "trend"},
        {"symbol": "BTC"},
        {"account": "desk", "symbol": "BTC"},
        {"account": "desk", "strategy": "trend", "symbol": "BTC"},
    ],
)
async def test_a_halt_of_its_scope_refuses_an_order_and_says_why(rig: Rig, scope: dict[str, str]):
    hold = await rig.hold()
    name = halt(rig, "reject", **scope)
    assert await rig.begin(hold, strategy="trend") == Halted(f"reject of {name}: why")
    assert not rig.order(hold.order_id)


@pytest.mark.parametrize("scope", [{"account": "fund"}, {"strategy": "other"}, {"symbol": "ETH"}])
async def test_a_halt_of_another_scope_lets_it_go(rig: Rig, scope: dict[str, str]):
    hold = await rig.hold()
    halt(rig, "reject", **scope)
    await rig.go(hold, strategy="trend")


async def test_where_nothing_is_halted_orders_that_begin_together_ask_for_halts_once(rig: Rig):
    holds = [await rig.hold(market) for market in ("A", "B", "C")]
    with rig.server.client() as watcher, watcher.monitor() as monitor:
        await rig.do(*[rig.orders().begin.submit(rig.intent(hold)) for hold in holds])
        rig.redis.ping()
        asked = []
        for command in monitor.listen():
            words = command["command"].split(" ")
            if words[0] == "PING":
                break
            if command["client_type"] == "lua" and words[1].endswith(":halts"):
                asked.append(words[0])
    # Each order's own scopes take Redis several microseconds, at every order.
    assert asked == ["EXISTS"]


async def test_a_pause_has_it_ask_again_until_it_is_too_old(rig: Rig):
    hold = await rig.hold(max_age_ms=3_000)
    name = halt(rig, "pause")
    waits = Wait(START_MS + 2_000, Reason.HALTED, START_MS, f"pause of {name}: why")
    assert await rig.begin(hold) == waits
    rig.now_ms += 2_500
    begun = await rig.begin(hold)
    assert begun.until_ms == START_MS + 3_000
    rig.now_ms += 500
    assert await rig.begin(hold) == Expired()


async def test_close_only_lets_exits_through_and_refuses_the_rest(rig: Rig):
    entry, leaves = await rig.hold("A"), await rig.hold("B")
    name = halt(rig, "close-only")
    assert await rig.begin(entry) == Halted(f"close-only of {name}: why")
    await rig.go(leaves, is_exit=True)


async def test_of_several_halts_the_strictest_rules(rig: Rig):
    hold = await rig.hold()
    halt(rig, "pause")
    name = halt(rig, "reject", account="desk")
    assert await rig.begin(hold) == Halted(f"reject of {name}: why")


async def test_a_lost_go_is_given_again_though_a_halt_was_set_since(rig: Rig):
    hold = await rig.hold()
    go = await rig.go(hold)
    halt(rig, "reject")
    again = await rig.begin(hold)
    assert isinstance(again, Go)
    assert again.expires_at_ms == go.expires_at_ms


async def test_a_resumed_account_goes_on(rig: Rig):
    hold = await rig.hold()
    name = halt(rig, "pause")
    assert isinstance(await rig.begin(hold), Wait)
    rig.redis.hdel(f"{rig.keys.prefix}halts", name)
    await rig.go(hold)


async def test_a_venues_wish_holds_for_all_lanes_of_the_account_and_no_other(rig: Rig):
    first, second = await rig.hold("A"), await rig.hold("B")
    other = await rig.hold("A", accounts=("fund",))
    await rig.do(rig.breakers.pause(Pause(DESK, 7_000)))
    for hold in (first, second):
        assert await rig.begin(hold) == Wait(START_MS + 7_000, Reason.THROTTLED, START_MS)
    await rig.go(other)
    rig.now_ms += 7_000
    await rig.go(first)


async def test_the_longer_of_two_pauses_holds(rig: Rig):
    hold = await rig.hold()
    assert await rig.do(rig.breakers.pause(Pause(DESK, 7_000)))
    assert not await rig.do(rig.breakers.pause(Pause(DESK, 1_000)))
    assert (await rig.begin(hold)).until_ms == START_MS + 7_000
    assert await rig.do(rig.breakers.pause(Pause(DESK, 9_000)))
    assert (await rig.begin(hold)).until_ms == START_MS + 9_000


async def test_an_exit_may_pass_an_open_breaker_but_no_pause(rig: Rig):
    hold = await rig.hold()
    for scope in ("desk", "desk:BTC"):
        await rig.do(rig.breakers.report(BreakerReport(scope, 0, opens=True, reset_ms=10_000)))
    assert isinstance(await rig.begin(hold), Wait)
    await rig.do(rig.breakers.pause(Pause(DESK, 500)))
    assert (await rig.begin(hold, is_exit=True, passes_breaker=True)).reason is Reason.THROTTLED
    rig.now_ms += 500
    go = await rig.go(hold, is_exit=True, passes_breaker=True)
    assert not go.market_breaker.is_probe
    assert not go.account_breaker.is_probe


async def test_a_halt_that_cannot_be_read_refuses(rig: Rig):
    hold = await rig.hold()
    rig.redis.hset(f"{rig.keys.prefix}halts", "account=*;strategy=*;symbol=*", "junk")
    assert await rig.begin(hold, is_exit=True) == Halted("junk of account=*;strategy=*;symbol=*: ")
