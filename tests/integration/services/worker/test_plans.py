"""Instructions of several steps: what is closed before something is opened, what is cancelled, what is only asked."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, MarketPosition
from libs.common.domain.errors import BrokerThrottled, LookUpUnavailable
from libs.common.domain.ids import AlertId, ClientOrderId, Market, client_order_id
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest, OrderType, Side
from libs.common.domain.venue import Balance, OpenOrder
from libs.common.policy.risk_rules import RiskBook, RiskRules
from libs.common.policy.symbols import SymbolEntry
from libs.common.runtime.account_settings import OnUnknown
from libs.common.store.published import PublishedPosition
from tests.integration.services.worker.rig import DESK, Worker, WorkerRig, lose_answers
from tests.support.scripted_broker import (
    HOLDS_NOTHING,
    ScriptedBroker,
    Step,
    answer_lost,
    fails,
    fills,
    knows_nothing,
    lost,
    refused,
    reports,
)

BTC = Market("BTC")
LONG = {"position": MarketPosition.LONG, "position_size": Decimal(2)}
FLIP = {"action": Action.FLIP, "quantity": "3", "position": MarketPosition.LONG}


def second(alert: AlertId) -> ClientOrderId:
    return client_order_id(DESK, alert, 1)


def sent(broker: ScriptedBroker) -> list[tuple[Side, Decimal, bool]]:
    return [(one.plan.side, one.plan.quantity, one.plan.reduce_only) for one in broker.requests]


def moves_position(broker: ScriptedBroker) -> None:
    """Have what the venue executes change what it says of its positions."""
    execute = broker.execute

    def executes(request: OrderRequest, *args: Any, **options: Any) -> OrderReport:
        report = execute(request, *args, **options)
        sign = 1 if request.plan.side is Side.BUY else -1
        held = broker.positions.get(request.symbol, Decimal(0))
        broker.positions[request.symbol] = held + sign * report.filled_quantity
        return report

    broker.execute = executes  # type: ignore[method-assign]


def rests(order_id: str, market: str = "BTC") -> OpenOrder:
    return OpenOrder(order_id=order_id, symbol=Market(market), side=Side.BUY, quantity=Decimal(1))


async def test_a_flip_closes_and_then_opens(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.positions[BTC] = Decimal(-2)
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    assert sent(broker) == [(Side.BUY, Decimal(2), True), (Side.BUY, Decimal(3), False)]
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert), second(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.is_at_rest()


async def test_a_target_on_the_other_side_of_zero_is_reached_by_two_orders(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(5)
    alert = await rig.admit(action=Action.TARGET, quantity="1", position=MarketPosition.SHORT)
    await worker.run_lane()
    assert sent(broker) == [(Side.SELL, Decimal(5), True), (Side.SELL, Decimal(1), False)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


@pytest.mark.parametrize("losses", range(4))
async def test_a_lost_answer_of_redis_sends_no_order_of_a_flip_twice(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, losses: int
):
    broker.positions[BTC] = Decimal(-2)
    moves_position(broker)
    batches = [worker.orders.begin, worker.orders.resolve, worker.orders.settle, worker.lanes.open]
    lose_answers(batches[losses], 2)
    alert = await rig.admit(**FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert broker.positions[BTC] == 3


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("leg", [0, 1])
async def test_a_worker_that_dies_while_it_sends_leaves_a_flip_that_another_one_completes(
    rig: WorkerRig, broker: ScriptedBroker, leg: int, arrives: bool
):
    broker.positions[BTC] = Decimal(-2)
    moves_position(broker)
    alert = await rig.admit(max_age_ms=600_000, **FLIP)
    broker.then(*[fills] * leg)
    await rig.worker("dies").die_while_placing(arrives=arrives)
    await rig.reclaim()
    await rig.run_to_rest(rig.worker("takes over"))
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert broker.positions[BTC] == 3
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_nothing_is_opened_while_the_close_is_not_filled(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(reports(OrderState.PARTIAL, filled=Decimal(1)))
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.history(alert)[-1] == ("PARKED", "awaiting_fill")
    broker.known[rig.order_id(alert)] = OrderReport(
        order_id="1", state=OrderState.FILLED, filled_quantity=Decimal(2)
    )
    await rig.run_to_rest()
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert), second(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_close_that_is_not_filled_in_time_ends_the_flip_and_is_followed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(reports(OrderState.ACCEPTED))
    alert = await rig.admit(max_age_ms=5_000, **FLIP)
    await rig.run_to_rest()
    assert len(broker.requests) == 1
    assert rig.ended(alert) == ("EXPIRED", "not_confirmed")
    assert rig.redis.zscore(rig.keys.following, rig.order_id(alert))
    assert rig.redis.pttl(rig.keys.order(rig.order_id(alert))) == -1


@pytest.mark.parametrize(
    "step",
    [
        reports(OrderState.CANCELED),
        reports(OrderState.EXPIRED, filled=Decimal(1)),
        reports(OrderState.REJECTED, filled=Decimal(1)),
        refused(),
    ],
)
async def test_a_close_that_ends_without_being_filled_opens_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, step: Step
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(step)
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.ended(alert) == ("REJECTED", "not_confirmed")


@pytest.mark.parametrize(
    ("says", "order", "fills"),
    [
        (OrderReport(order_id="1", state=OrderState.ACCEPTED), "PARTIAL", ["1"]),
        (OrderReport(order_id="1", state=OrderState.REJECTED), "CANCELED", ["1"]),
        (OrderReport(order_id="1", state=OrderState.CANCELED, filled_quantity=Decimal("1.5")), "CANCELED", ["1", "0.5"]),
        (OrderReport(order_id="1", state=OrderState.FILLED), "FILLED", ["1", "1"]),
    ],
)  # fmt: skip
async def test_what_a_close_has_filled_once_stays_filled_whatever_the_venue_says_later(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, says: OrderReport, order: str, fills: list[str]
):
    rig.accounts[DESK] = rig.account(is_reconciled=True)
    broker.positions[BTC] = Decimal(-2)
    broker.then(reports(OrderState.PARTIAL, filled=Decimal(1)))
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    broker.always_find(lambda venue, order_id: says)
    await rig.until_due()
    await worker.run_lane()
    broker.always_find(None)
    assert rig.order_state(alert) == (order, 1)
    noted = [fields for _, fields in rig.redis.xrange(rig.keys.fills(DESK))]
    assert [one["quantity"] for one in noted if one["order"] == rig.order_id(alert)] == fills


async def test_a_close_whose_answer_was_lost_is_found_before_anything_is_opened(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(answer_lost())
    alert = await rig.admit(**FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert), second(alert)]


async def test_the_opening_order_of_an_old_flip_is_not_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)

    async def fills_slowly(venue: ScriptedBroker, request: OrderRequest) -> OrderReport:
        report = venue.execute(request)
        rig.clock.advance(4_000)
        return report

    broker.then(fills_slowly)
    alert = await rig.admit(max_age_ms=3_000, **FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXPIRED", "too_old")


@pytest.mark.parametrize(
    ("held", "action", "end"),
    [
        (0, Action.CLOSE_LONG, "nothing_to_close"),
        (-1, Action.CLOSE_LONG, "nothing_to_close"),
        (1, Action.CLOSE_SHORT, "nothing_to_close"),
        (0, Action.CLOSE_ALL, "nothing_to_close"),
    ],
)
async def test_with_nothing_to_close_an_instruction_is_skipped(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, held: int, action: Action, end: str
):
    broker.positions[BTC] = Decimal(held)
    alert = await rig.admit(action=action, quantity=None)
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("SKIPPED", end)
    assert rig.letters() == []


async def test_a_close_never_turns_a_position_around(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.positions[BTC] = Decimal("0.3")
    await rig.admit(action=Action.CLOSE_LONG, quantity="5")
    await worker.run_lane()
    assert sent(broker) == [(Side.SELL, Decimal("0.3"), True)]


async def test_a_cancel_takes_back_what_rests_in_its_market_and_nothing_else(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.resting = [rests("1"), rests("2"), rests("3", "ETH")]
    alert = await rig.admit(action=Action.CANCEL, quantity=None)
    await worker.run_lane()
    assert broker.cancelled == [(BTC, ("1", "2"))]
    assert rig.ended(alert) == ("EXECUTED", "canceled")
    assert ("PLANNED", "") in rig.history(alert)
    assert broker.requests == []


async def test_a_cancel_that_is_taken_over_cancels_only_what_rested_when_it_was_planned(
    rig: WorkerRig, broker: ScriptedBroker
):
    broker.resting = [rests("1")]
    dying, alert = rig.worker("dies"), await rig.admit(action=Action.CANCEL, quantity=None)

    async def dies() -> None:
        broker.before_sending = None
        raise RuntimeError("killed")

    broker.before_sending = dies
    await dying.run_lane()
    broker.resting.append(rests("2"))  # placed since, by whoever
    await rig.run_to_rest(rig.worker("takes over"))
    assert broker.cancelled == [(BTC, ("1",))]
    assert rig.ended(alert) == ("EXECUTED", "canceled")


async def test_with_nothing_that_rests_a_cancel_is_skipped(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit(action=Action.CANCEL, quantity=None)
    await worker.run_lane()
    assert rig.ended(alert) == ("SKIPPED", "nothing_to_cancel")
    assert broker.cancelled == []


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
    target = {"action": Action.TARGET, "quantity": "3", "position": MarketPosition.LONG}
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
    await worker.run_lane()  # the first one waited long enough for others to have their turn
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


async def test_a_recorded_cancel_obeys_a_halt_too(rig: WorkerRig, broker: ScriptedBroker):
    broker.resting = [rests("1")]
    alert = await rig.admit(action=Action.CANCEL, quantity=None)

    async def dies() -> None:
        broker.before_sending = None
        raise RuntimeError("killed")

    broker.before_sending = dies
    await rig.worker("dies").run_lane()
    rig.redis.hset(rig.keys.halts, "account=*;strategy=*;symbol=*", "reject|0|ops|why")
    await rig.run_to_rest(rig.worker("takes over"))
    assert rig.ended(alert) == ("REJECTED", "halted")
    assert broker.cancelled == []


async def test_the_opening_order_of_a_flip_is_judged_again_where_another_worker_goes_on(
    rig: WorkerRig, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    moves_position(broker)
    broker.balance = Balance(equity=Decimal(1_000), day_pnl=Decimal(0))
    rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_daily_loss=Decimal(100))))
    alert = await rig.admit(max_age_ms=600_000, **FLIP)
    await rig.worker("dies").die_while_placing(arrives=True)
    await rig.reclaim()
    broker.balance = Balance(equity=Decimal(500), day_pnl=Decimal(-500))
    await rig.run_to_rest(rig.worker("takes over"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("REJECTED", "risk")


async def test_a_429_pauses_every_lane_of_the_account(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.then(fails(BrokerThrottled("slow down", retry_after_ms=7_000)))
    first, other = await rig.admit("BTC"), await rig.admit("ETH")
    await worker.run_lane()
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.parked() == {"desk:BTC": 7_000, "desk:ETH": 7_000}
    assert await rig.pass_time(7_000) == 2
    await worker.run_lane()
    await worker.run_lane()
    assert {rig.ended(one) for one in (first, other)} == {("EXECUTED", "filled")}
    assert worker.count("bascule_waits_total", reason="throttled") == 2


async def test_an_account_that_would_rather_skip_goes_on_behind_an_order_that_nobody_can_tell(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = HOLDS_NOTHING
    rig.accounts[DESK] = rig.account(on_unknown=OnUnknown.SKIP)
    broker.then(lost())
    broker.always_find(knows_nothing)
    alert, behind = await rig.admit(max_age_ms=10_000), await rig.admit(max_age_ms=600_000)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("DEAD", "outcome_unknown")
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    assert rig.ended(behind) == ("EXECUTED", "filled")


async def test_a_market_order_that_is_only_taken_is_waited_for_a_moment(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(reports(OrderState.ACCEPTED))

    def fills_later(venue: ScriptedBroker, order_id: ClientOrderId) -> OrderReport:
        return OrderReport(order_id="1", state=OrderState.FILLED, filled_quantity=Decimal(1))

    broker.then_find(lambda venue, order_id: venue.known[order_id], fills_later)
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert not rig.redis.exists(rig.keys.following)


async def test_a_limit_order_ends_its_instruction_as_soon_as_it_rests(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(reports(OrderState.ACCEPTED))
    alert = await rig.admit(order_type=OrderType.LIMIT, limit_price=Decimal(10))
    await worker.run_lane()
    assert rig.slept_ms == []
    assert rig.ended(alert) == ("EXECUTED", "accepted")
    assert rig.redis.zscore(rig.keys.following, rig.order_id(alert))


async def test_the_journal_says_what_led_to_an_order_and_what_the_venue_answered(
    rig: WorkerRig,
):
    rig.symbols.append(SymbolEntry("BTCUSDT.P", BTC))
    alert = await rig.admit(quantity="0.25", symbol="BTCUSDT.P", price=Decimal(100))
    await rig.worker("reads the table").run_lane()
    entries = dict(rig.redis.xrange(rig.keys.journal))
    ids = rig.instruction(alert)["journal"].split()
    notes = {entries[one]["event"]: entries[one].get("note", "") for one in ids}
    assert '"BTCUSDT.P\\" is BTC"' in notes["SENDING"]
    assert '"quantity":"0.25"' in notes["SENDING"]
    assert '"order_id":"venue-1"' in notes["EXECUTED"]


async def test_fills_are_noted_where_positions_are_compared(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(is_reconciled=True)
    broker.positions[BTC] = Decimal("0.7")
    await rig.admit(action=Action.CLOSE_ALL, quantity=None)
    await worker.run_lane()
    [(_, fields)] = rig.redis.xrange(rig.keys.fills(DESK))
    assert fields["quantity"] == "-0.7"
