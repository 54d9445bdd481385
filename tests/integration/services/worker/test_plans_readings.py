"""Instructions that turn on what a venue tells: positions, money, limits, and whether it may be asked."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, MarketPosition
from libs.common.domain.errors import BrokerThrottled, LookUpUnavailable
from libs.common.domain.ids import Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import Side
from libs.common.domain.venue import Balance
from libs.common.policy.risk_rules import RiskBook, RiskRules
from libs.common.store.published import PublishedPosition
from tests.integration.services.worker.plans import BTC, sent
from tests.integration.services.worker.rig import DESK, Worker, WorkerRig
from tests.support.scripted_broker import ScriptedBroker, fails, refused, reports


async def test_a_venue_that_does_not_say_its_position_is_asked_again_until_the_alert_is_too_old(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
):
    async def silent(_: Market) -> Decimal:
        raise LookUpUnavailable("503")

    monkeypatch.setattr(broker, "position", silent)
    alert = await rig.admit(action=Action.CLOSE_ALL, quantity=None, max_age_ms=30_000)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert broker.requests == []


async def test_a_breach_of_a_risk_limit_names_rule_limit_and_value(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_order_quantity=Decimal(2))))
    alert = await rig.admit(quantity="2.5")
    await worker.run_lane()
    assert rig.ended(alert) == ("REJECTED", "risk")
    detail = rig.instruction(alert)["detail"]
    assert "max_order_quantity" in detail
    assert "2.5" in detail
    assert broker.requests == []


EXPOSED = RiskBook(RiskRules(max_exposure=Decimal(150)))


async def test_an_account_of_which_nothing_was_ever_read_has_room_up_to_its_exposure(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(risk=EXPOSED, is_reconciled=True)
    first = await rig.admit(quantity="1", price=Decimal(100))
    second = await rig.admit("ETH", quantity="1", price=Decimal(100))
    await worker.run_lane()
    await worker.run_lane()
    # The first is filled, and no reading has seen it yet.
    assert (rig.ended(first), rig.ended(second)) == (("EXECUTED", "filled"), ("REJECTED", "risk"))


async def test_what_was_read_long_ago_says_nothing_of_an_exposure(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(risk=EXPOSED, is_reconciled=True)
    old = PublishedPosition(quantity=Decimal(1), at_ms=rig.clock.now_ms() - 111_000)
    await worker.published.publish_position(DESK, BTC, old)
    alert = await rig.admit(price=Decimal(100), max_age_ms=5_000)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")


async def test_a_market_that_cannot_be_read_any_more_does_not_stop_the_others(rig: WorkerRig, worker: Worker):
    rig.accounts[DESK] = rig.account(risk=EXPOSED, is_reconciled=True)
    delisted = PublishedPosition(quantity=Decimal(0), at_ms=rig.clock.now_ms() - 999_000)
    await worker.published.publish_position(DESK, Market("GONE"), delisted)
    alert = await rig.admit(price=Decimal(100))
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_second_attempt_is_judged_as_the_first_one_was(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_daily_loss=Decimal(100))))
    broker.balance = Balance(equity=Decimal(1_000), day_pnl=Decimal(0))
    broker.then(fails(BrokerThrottled("slow down", retry_after_ms=7_000)))
    alert = await rig.admit()
    await worker.run_lane()
    broker.balance = Balance(equity=Decimal(500), day_pnl=Decimal(-500))
    await rig.run_to_rest()
    assert rig.ended(alert) == ("REJECTED", "risk")
    assert broker.executed == []


async def test_the_day_of_a_venue_that_tells_no_profit_begins_with_the_first_equity_seen(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_daily_loss=Decimal(100))))
    broker.balance = Balance(equity=Decimal(1_000))
    first = await rig.admit()
    await worker.run_lane()
    broker.balance = Balance(equity=Decimal(899))
    second = await rig.admit()
    await worker.run_lane()
    assert (rig.ended(first), rig.ended(second)) == (("EXECUTED", "filled"), ("REJECTED", "risk"))


async def test_a_replayed_target_is_planned_by_what_is_open_now(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(refused())
    target: dict[str, Any] = {"action": Action.TARGET, "quantity": "3", "position": MarketPosition.LONG}
    alert = await rig.admit(**target)
    await worker.run_lane()
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    broker.positions[BTC] = Decimal(3)
    [(letter, _)] = rig.redis.xrange(rig.keys.dead)
    await rig.replay(letter)
    await worker.run_lane()
    assert rig.ended(alert) == ("SKIPPED", "already_there")
    assert len(broker.requests) == 1


async def test_what_depends_on_a_position_waits_for_a_market_order_that_is_not_filled_yet(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(reports(OrderState.ACCEPTED))
    bought = await rig.admit()
    close = await rig.admit(action=Action.CLOSE_ALL, quantity=None, max_age_ms=600_000)
    await worker.run_lane()
    assert rig.ended(bought) == ("EXECUTED", "accepted")
    assert rig.history(close)[-1] == ("PARKED", "awaiting_fill")
    broker.positions[BTC] = Decimal(1)
    rig.redis.zrem(rig.keys.following, rig.order_id(bought))  # as the follower does at its end
    await rig.run_to_rest()
    assert sent(broker)[-1] == (Side.SELL, Decimal(1), True)
    assert rig.ended(close) == ("EXECUTED", "filled")


async def test_a_position_is_not_believed_before_the_venues_lag_has_passed_since_the_last_fill(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = replace(broker.capabilities, look_up_lag_ms=2_000)
    rig.accounts[DESK] = rig.account(is_reconciled=True)
    await rig.admit()
    close = await rig.admit(action=Action.CLOSE_ALL, quantity=None)
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": 2_000}
    broker.positions[BTC] = Decimal(1)
    await rig.run_to_rest()
    assert rig.ended(close) == ("EXECUTED", "filled")


async def test_orders_that_do_not_turn_on_the_position_wait_for_no_lag(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = replace(broker.capabilities, look_up_lag_ms=2_000)
    rules = RiskRules(max_order_quantity=Decimal(2))
    rig.accounts[DESK] = rig.account(is_reconciled=True, risk=RiskBook(rules))
    alerts = [await rig.admit() for _ in range(3)]
    await worker.run_lane()
    assert {rig.ended(alert) for alert in alerts} == {("EXECUTED", "filled")}


async def test_a_lane_that_is_paused_by_hand_leaves_its_venue_alone(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    async def position(market: Market) -> Decimal:
        asked.append(market)
        return Decimal(1)

    monkeypatch.setattr(broker, "position", position)
    scope = "account=desk;strategy=*;symbol=*"
    rig.redis.hset(rig.keys.halts, scope, "pause|0|ops|why")
    alert = await rig.admit(action=Action.CLOSE_ALL, quantity=None)
    await worker.run_lane()
    assert rig.history(alert)[-1] == ("PARKED", "halted")
    assert asked == []
    rig.redis.hdel(rig.keys.halts, scope)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")
