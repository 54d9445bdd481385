"""What a ccxt broker must make of everything that goes wrong at an exchange: never less than what happened."""

import asyncio

import pytest

from libs.common.domain.errors import (
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderType, Side
from tests.contract.ccxt_bench import CcxtBench
from tests.contract.orders import ours
from tests.support.eventually import eventually
from tests.support.exchange_modes import DONE_AFTER_ALL, Trouble

REFUSED_AT_THE_DOOR = frozenset({Trouble.THROTTLED, Trouble.BANNED})
NOT_FOR_QUESTIONS = frozenset({Trouble.LATE_ACCEPT, Trouble.REFUSED, Trouble.TIMED_OUT_AFTER})


class ExchangeTroubles:
    """Subclasses give a `bench` with a short timeout."""

    @pytest.mark.parametrize("trouble", list(Trouble))
    async def test_an_order_in_trouble_is_never_told_to_have_done_less_than_it_did(
        self, bench: CcxtBench, trouble: Trouble
    ) -> None:
        bench.exchange.control(trouble=trouble, late_by_ms=600)
        request = bench.order()
        with pytest.raises((BrokerUnavailable, OrderRejected, OrderOutcomeUnknown)) as told:
            await bench.broker.place(request, ours)
        is_unknown = isinstance(told.value, OrderOutcomeUnknown)
        if trouble is Trouble.LATE_ACCEPT:
            await eventually(lambda: bench.exchange.desk.executions()[request.client_order_id] == 1)
        has_traded = bool((await bench.executions())[request.client_order_id])
        assert is_unknown or not has_traded
        assert has_traded == (trouble in DONE_AFTER_ALL or trouble is Trouble.LATE_ACCEPT)

    @pytest.mark.parametrize("trouble", sorted(DONE_AFTER_ALL))
    async def test_an_order_whose_answer_was_lost_is_found(self, bench: CcxtBench, trouble: Trouble) -> None:
        bench.exchange.control(trouble=trouble)
        request = bench.order()
        with pytest.raises(OrderOutcomeUnknown):
            await bench.broker.place(request, ours)
        found = await bench.broker.find(request.client_order_id, request.symbol)
        assert found is not None
        assert (found.state, found.filled_quantity) == (OrderState.FILLED, 1)

    @pytest.mark.parametrize("trouble", sorted(REFUSED_AT_THE_DOOR))
    async def test_too_many_requests_are_not_executed_and_come_back_later(
        self, bench: CcxtBench, trouble: Trouble
    ) -> None:
        bench.exchange.control(trouble=trouble, retry_after_s="3")
        with pytest.raises(BrokerThrottled) as told:
            await bench.broker.place(bench.order(), ours)
        assert told.value.retry_after_ms in {3_000, None}
        assert not await bench.executions()

    async def test_insufficient_money_is_refused_for_good(self, bench: CcxtBench) -> None:
        side = Side.SELL if bench.exchange.desk.coins() else Side.BUY
        with pytest.raises(OrderRejected):
            await bench.broker.place(bench.order(side, bench.fine * 200), ours)
        assert not await bench.executions()

    async def test_an_order_that_expires_on_its_way_to_the_book_is_not_executed(
        self, bench: CcxtBench
    ) -> None:
        bench.exchange.control(latency_ms=200)
        request = bench.order(expires_in_ms=100)
        with pytest.raises((BrokerUnavailable, OrderRejected)):
            await bench.broker.place(request, ours)
        assert bench.exchange.desk.counts["expired"] == 1
        assert not await bench.executions()

    async def test_an_order_whose_sender_gave_up_and_that_has_expired_is_never_accepted(
        self, bench: CcxtBench
    ) -> None:
        bench.exchange.control(trouble="late_accept", late_by_ms=700)
        with pytest.raises(OrderOutcomeUnknown):
            await bench.broker.place(bench.order(expires_in_ms=450), ours)
        await eventually(lambda: bench.exchange.desk.counts["expired"] == 1)
        assert not await bench.executions()

    async def test_a_slow_exchange_is_waited_for(self, bench: CcxtBench) -> None:
        bench.exchange.control(latency_ms=150)
        request = bench.order()
        await bench.broker.place(request, ours)
        assert (await bench.executions())[request.client_order_id] == 1

    @pytest.mark.parametrize("trouble", sorted(set(Trouble) - NOT_FOR_QUESTIONS))
    async def test_a_look_up_in_trouble_is_never_told_as_not_found(
        self, bench: CcxtBench, trouble: Trouble
    ) -> None:
        request = bench.order()
        await bench.broker.place(request, ours)
        bench.exchange.control(asking=trouble)
        broker = bench.broker
        questions = {
            "find": broker.find(request.client_order_id, request.symbol),
            "position": broker.position(request.symbol),
            "open_orders": broker.open_orders(request.symbol),
            "account": broker.account(),
            "price": broker.price(request.symbol),
        }
        told = await asyncio.gather(*questions.values(), return_exceptions=True)
        answered = {
            name: answer
            for name, answer in zip(questions, told, strict=True)
            if not isinstance(answer, LookUpUnavailable)
        }
        assert not answered, f"taken for an answer: {answered}"

    async def test_an_order_is_not_found_while_the_exchange_lags(self, bench: CcxtBench) -> None:
        bench.exchange.control(look_up_lag_ms=60_000, trouble="hang_after")
        request = bench.order()
        with pytest.raises(OrderOutcomeUnknown):
            await bench.broker.place(request, ours)
        assert await bench.broker.find(request.client_order_id, request.symbol) is None

    @pytest.mark.parametrize("trouble", sorted(set(Trouble) - {Trouble.LATE_ACCEPT, Trouble.REFUSED}))
    async def test_a_cancellation_in_trouble_is_never_told_to_have_done_less_than_it_did(
        self, bench: CcxtBench, trouble: Trouble
    ) -> None:
        request = bench.resting_order()
        report = await bench.broker.place(request, ours)
        bench.exchange.control(cancelling=trouble)
        is_unknown = is_told = False
        try:
            await bench.broker.cancel_open(bench.market, [report.order_id], ours)
            is_told = True
        except OrderOutcomeUnknown:
            is_unknown = True
        except BrokerUnavailable:
            pass
        bench.exchange.control(reset=True)
        rests = request.client_order_id in await bench.listed(bench.market)
        assert rests == (trouble not in DONE_AFTER_ALL)
        assert not (is_told and rests), "it said that it cancelled"
        assert rests or is_told or is_unknown, "it said that it cancelled nothing"

    async def test_a_key_that_is_refused_executes_nothing(self, bench: CcxtBench) -> None:
        bench.exchange.wire.secret = "another"
        request = bench.order()
        with pytest.raises(BrokerUnavailable) as told:
            await bench.broker.place(request, ours)
        assert "test-exchange" not in str(told.value)
        assert bench.exchange.desk.counts["bad_signature"] == 1
        assert not await bench.executions()

    async def test_stop_orders_are_asked_for_where_they_are_offered_and_nowhere_else(
        self, bench: CcxtBench
    ) -> None:
        types = bench.broker.capabilities.orders.types
        assert (OrderType.STOP in types) == isinstance(self, StopTroubles)

    async def test_an_order_of_a_quantity_that_no_step_reaches_is_refused(self, bench: CcxtBench) -> None:
        request = bench.order(market=bench.coarse_market, quantity=bench.smallest, price=None)
        with pytest.raises(OrderRejected):
            await bench.broker.place(request, ours)
        assert not await bench.executions()


class StopTroubles(ExchangeTroubles):
    """For an exchange whose stops are orders like any other."""

    async def test_a_stop_order_rests_until_its_price_and_then_trades(self, bench: CcxtBench) -> None:
        request = bench.order(type=OrderType.STOP, stop_price=bench.price * 2)
        await bench.broker.place(request, ours)
        assert (await bench.listed(bench.market))[request.client_order_id].stop_price == bench.price * 2
        bench.exchange.desk.set_price(bench.listing(), bench.price * 2, bench.kind)
        found = await bench.broker.find(request.client_order_id, request.symbol)
        assert found is not None
        assert (found.state, found.average_price) == (OrderState.FILLED, bench.price * 2)
