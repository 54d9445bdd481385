"""Orders between our words and ccxt's."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.errors import OrderRejected
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.venue import OrderAbilities
from libs.common.runtime.account_settings import MarketType
from services.worker.brokers.ccxt_orders import TICK_SIZE, UnusableOrder, ask, instrument, report
from services.worker.brokers.ccxt_venues import UNKNOWN

ID = ClientOrderId("a" * 26)
MARKET: dict[str, Any] = {
    "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "active": True, "contract": False,
    "precision": {"amount": "0.001", "price": "0.05"},
    "limits": {"amount": {"min": "0.002", "max": "1000"}, "cost": {"min": "5"}},
}  # fmt: skip
CONTRACTS = {**MARKET, "contract": True, "contractSize": "0.01", "settle": "USDT"}


def order(**fields: Any) -> dict[str, Any]:
    return {"id": "7", "clientOrderId": ID, "status": "open", "filled": "0", "amount": "2", **fields}


@pytest.mark.parametrize(
    ("fields", "state", "filled"),
    [
        ({}, OrderState.ACCEPTED, "0"),
        ({"filled": "1"}, OrderState.PARTIAL, "1"),
        ({"filled": "2"}, OrderState.FILLED, "2"),
        ({"status": "closed", "filled": "2"}, OrderState.FILLED, "2"),
        ({"status": "closed", "filled": None}, OrderState.FILLED, "2"),
        ({"status": "closed", "filled": "1"}, OrderState.CANCELED, "1"),
        ({"status": "canceled", "filled": "1"}, OrderState.CANCELED, "1"),
        ({"status": "expired"}, OrderState.EXPIRED, "0"),
        ({"status": "rejected"}, OrderState.REJECTED, "0"),
        ({"status": None, "filled": None, "amount": None}, OrderState.ACCEPTED, "0"),
        ({"filled": "0.000000000000000001"}, OrderState.PARTIAL, "0.000000000000000001"),
    ],
    ids=str,
)
def test_an_order_s_state_is_what_its_numbers_make_it(
    fields: dict[str, Any], state: OrderState, filled: str
) -> None:
    found = report(order(**fields), MARKET, ID)
    assert (found.state, found.filled_quantity) == (state, Decimal(filled))


@pytest.mark.parametrize(
    "fields",
    [{"id": None}, {"id": ""}, {"clientOrderId": "another"}, {"filled": "NaN"}, {"amount": "x"}],
    ids=str,
)
def test_what_is_not_our_order_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(UnusableOrder):
        report(order(**fields), MARKET, ID)


def test_contracts_are_counted_in_base_units() -> None:
    found = report(order(filled="150", amount="200"), CONTRACTS, ID)
    assert (found.state, found.filled_quantity) == (OrderState.PARTIAL, Decimal("1.5"))
    steps = instrument(CONTRACTS, TICK_SIZE)
    assert (steps.quantity_step, steps.min_quantity) == (Decimal("0.00001"), Decimal("0.00002"))
    asked = ask(
        plan(quantity=Decimal("1.5")), ID, CONTRACTS, TICK_SIZE, OrderAbilities(), UNKNOWN, MarketType.SWAP
    )
    assert asked.amount == "150"


@pytest.mark.parametrize(
    ("fee", "expected"),
    [
        (None, None),
        ({"cost": "0.3", "currency": "USDT"}, "0.3"),
        ({"cost": "0.001", "currency": "BTC"}, "0.1"),
        ({"cost": "1", "currency": "BNB"}, None),
    ],
)
def test_fees_are_told_in_the_quote_currency(fee: Any, expected: str | None) -> None:
    found = report(order(fee=fee, average="100"), MARKET, ID).fee
    assert found == (None if expected is None else Decimal(expected))


def plan(**fields: Any) -> OrderPlan:
    return OrderPlan(**{"side": Side.BUY, "quantity": Decimal(1), **fields})


def asked(made: OrderPlan) -> Any:
    return ask(made, ID, MARKET, TICK_SIZE, OrderAbilities(), UNKNOWN, MarketType.SPOT)


@given(
    quantity=st.decimals("0.002", "100", places=12),
    price=st.decimals("10000", "99999", places=9),
    side=st.sampled_from(Side),
)
def test_an_order_is_never_more_and_its_limit_never_worse_than_was_asked_for(
    quantity: Decimal, price: Decimal, side: Side
) -> None:
    sent = asked(plan(side=side, quantity=quantity, type=OrderType.LIMIT, limit_price=price))
    amount, limit = Decimal(sent.amount), Decimal(sent.price)
    assert quantity - Decimal("0.001") < amount <= quantity
    assert amount % Decimal("0.001") == 0
    assert limit % Decimal("0.05") == 0
    assert limit <= price if side is Side.BUY else limit >= price
    assert abs(limit - price) < Decimal("0.05")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"quantity": Decimal("0.0009")}, "too_small"),
        ({"quantity": Decimal("0.0019")}, "too_small"),
        ({"quantity": Decimal(1001)}, "too_large"),
        ({"quantity": Decimal("0.01"), "reference_price": Decimal(100)}, "too_small"),
        ({"type": OrderType.LIMIT}, "invalid"),
        (
            {
                "type": OrderType.LIMIT,
                "limit_price": Decimal("0.01"),
                "quantity": Decimal(100),
                "is_exit": True,
            },
            "invalid",
        ),
    ],
    ids=str,
)
def test_what_the_market_does_not_take_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(OrderRejected) as caught:
        asked(plan(**fields))
    assert caught.value.code == code


def test_what_closes_may_be_worth_less_than_the_least() -> None:
    sent = asked(plan(side=Side.SELL, quantity=Decimal("0.01"), reference_price=Decimal(100), is_exit=True))
    assert sent.amount == "0.01"
