from decimal import Decimal
from typing import Any

import orjson
import pytest

from libs.common.domain.errors import (
    BrokerError,
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderType, Side
from libs.common.domain.venue import OpenOrder
from services.worker.brokers.http_answers import NOT_OFFERED, Answer
from services.worker.brokers.http_orders import STATES, check_cancelled, found, open_orders, placed
from tests.support.clock import START_MS

BTC, ETH = Market("BTC/USDT"), Market("ETH/USDT")
OURS = ClientOrderId("ours")
ORDER = {"order_id": "v-1", "symbol": BTC, "side": "buy", "quantity": "1"}


def told(document: Any, status: int = 200) -> Answer:
    return Answer(status, {}, orjson.dumps(document))


def report(**fields: Any) -> OrderReport:
    return placed(told({"order_id": "v-1", **fields}), OURS, Decimal(2), now_ms=START_MS)


# ----------------------------------------------------------------------------------------------------------------------
# Reports
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted(set(STATES) - {"rejected"}))
def test_every_word_for_a_state_is_understood_in_any_case(word: str) -> None:
    for written in (word, word.upper(), word.title()):
        assert report(status=written, filled_quantity="1").state is STATES[word]


@pytest.mark.parametrize(
    ("fields", "filled"),
    [
        ({"status": "filled"}, "2"),
        ({"status": "filled", "quantity": "1.9"}, "1.9"),
        ({"status": "filled", "quantity": "1.9", "filled_quantity": "1.8"}, "1.8"),
        ({"status": "accepted"}, "0"),
        ({"status": "canceled", "filled_quantity": 0.5}, "0.5"),
        ({"status": "expired", "filled_quantity": None}, "0"),
    ],
)
def test_what_is_filled_is_what_the_venue_says_else_what_its_status_implies(fields: Any, filled: str) -> None:
    assert report(**fields).filled_quantity == Decimal(filled)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "partial"},
        {"status": "filled", "filled_quantity": "-1"},
        {"status": "filled", "filled_quantity": "1E999999999"},
        {"status": "filled", "average_price": "NaN"},
        {"status": "filled", "fee": "Infinity"},
        {"status": "queued"},
        {"status": "filled", "client_order_id": "another"},
        {"status": "filled", "order_id": ""},
    ],
)
def test_an_order_that_cannot_be_read_is_unknown_and_not_found(fields: Any) -> None:
    with pytest.raises(OrderOutcomeUnknown):
        report(**fields)
    with pytest.raises(LookUpUnavailable):
        found(told({"order_id": "v-1", **fields}), OURS)


# ----------------------------------------------------------------------------------------------------------------------
# Open orders
# ----------------------------------------------------------------------------------------------------------------------


def test_an_open_order_has_every_field_of_the_wire_exactly() -> None:
    document = {
        "order_id": 17,
        "client_order_id": OURS,
        "symbol": BTC,
        "side": "SELL",
        "type": "stop_limit",
        "quantity": "123456789.123456789",
        "filled_quantity": "0.000000001",
        "limit_price": 100.5,
        "stop_price": "101",
        "status": "partial",
        "more": {},
    }
    assert open_orders(told([document]), BTC) == (
        OpenOrder(
            order_id="17",
            symbol=BTC,
            side=Side.SELL,
            quantity=Decimal("123456789.123456789"),
            client_order_id=OURS,
            type=OrderType.STOP_LIMIT,
            filled_quantity=Decimal("0.000000001"),
            limit_price=Decimal("100.5"),
            stop_price=Decimal(101),
        ),
    )


def test_an_order_of_somebody_else_needs_no_client_order_id() -> None:
    listed = open_orders(told([ORDER, {**ORDER, "client_order_id": ""}]), None)
    assert listed is not None
    assert [order.client_order_id for order in listed] == [None, None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, OrderType.LIMIT),
        ({"type": "LIMIT"}, OrderType.LIMIT),
        ({"type": "market"}, OrderType.MARKET),
        ({"type": "iceberg", "limit_price": "1"}, OrderType.LIMIT),
        ({"type": "take_profit", "stop_price": "1"}, OrderType.STOP),
        ({"type": "oco", "stop_price": "1", "limit_price": "1"}, OrderType.STOP_LIMIT),
    ],
)
def test_a_type_that_only_the_venue_knows_is_told_by_its_prices(fields: Any, expected: OrderType) -> None:
    listed = open_orders(told([{**ORDER, **fields}]), None)
    assert listed is not None
    assert listed[0].type is expected


def test_a_venue_may_list_all_markets_whatever_was_asked_for() -> None:
    answer = told([ORDER, {**ORDER, "order_id": "v-2", "symbol": ETH}])
    assert [order.order_id for order in open_orders(answer, ETH) or ()] == ["v-2"]
    assert [order.order_id for order in open_orders(answer, None) or ()] == ["v-1", "v-2"]


@pytest.mark.parametrize("word", sorted(STATES))
def test_orders_that_are_over_are_left_out(word: str) -> None:
    rests = STATES[word] in {OrderState.ACCEPTED, OrderState.PARTIAL}
    assert len(open_orders(told([{**ORDER, "status": word}]), None) or ()) == rests


@pytest.mark.parametrize("status", sorted(NOT_OFFERED))
def test_a_venue_may_list_no_orders_at_all(status: int) -> None:
    assert open_orders(told({}, status), BTC) is None
    assert open_orders(told([]), BTC) == ()


@pytest.mark.parametrize(
    "entry",
    [
        "v-1",
        {**ORDER, "order_id": ""},
        {**ORDER, "order_id": None},
        {**ORDER, "side": "long"},
        {**ORDER, "quantity": "-1"},
        {**ORDER, "quantity": None},
        {**ORDER, "filled_quantity": "NaN"},
        {**ORDER, "limit_price": "1E999999999"},
        {key: value for key, value in ORDER.items() if key != "symbol"},
    ],
)
def test_one_order_that_cannot_be_read_spoils_the_list(entry: Any) -> None:
    with pytest.raises(LookUpUnavailable):
        open_orders(told([ORDER, entry]), BTC)


@pytest.mark.parametrize("document", [{}, {"orders": []}, None, "none"])
def test_a_list_of_orders_is_a_list(document: Any) -> None:
    with pytest.raises(LookUpUnavailable):
        open_orders(told(document), BTC)


# ----------------------------------------------------------------------------------------------------------------------
# Cancellations
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [Answer(200, {}, b""), Answer(204, {}, b""), told(["v-1"]), told({"cancelled": []})]
)
def test_orders_are_cancelled_whatever_the_body_says_of_them(answer: Answer) -> None:
    check_cancelled(answer, now_ms=START_MS)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, OrderRejected) for status in (400, 404, 405, 422, 501)],
        *[(status, BrokerUnavailable) for status in (301, 307, 308, 401, 403, 413, 414)],
        (429, BrokerThrottled),
        *[(status, OrderOutcomeUnknown) for status in (201, 202, 302, 408, 409, 418, 500, 502, 503, 504)],
    ],
)
def test_a_cancellation_is_classed_by_whether_it_may_have_taken_effect(
    status: int, expected: type[BrokerError]
) -> None:
    with pytest.raises(BrokerError) as raised:
        check_cancelled(Answer(status, {"retry-after": "3"}, b"<html>"), now_ms=START_MS)
    assert type(raised.value) is expected
    if isinstance(raised.value, BrokerThrottled):
        assert raised.value.retry_after_ms == 3_000
    if isinstance(raised.value, OrderRejected):
        assert raised.value.code == ("not_supported" if status in NOT_OFFERED else f"http_{status}")
