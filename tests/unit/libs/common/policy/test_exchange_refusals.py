"""What the simulated exchange refuses."""

from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.venue import Instrument
from libs.common.policy.exchange import MOST_OPEN
from libs.common.policy.order_checks import Rules
from tests.unit.libs.common.policy.exchange_market import BUY, LIMIT, SELL, STOP, STOP_LIMIT, Market

pytestmark = pytest.mark.usefixtures("exact_sums")


GRID = Instrument(
    quantity_step=Decimal("0.01"),
    price_step=Decimal("0.5"),
    min_quantity=Decimal("0.1"),
    max_quantity=Decimal(10),
    min_value=Decimal(20),
)


@pytest.mark.parametrize(
    ("quantity", "plan", "code"),
    [
        ("0.205", {}, "lot_size"),
        ("0.09", {}, "min_quantity"),
        ("10.01", {}, "max_quantity"),
        ("0.19", {}, "min_value"),
        ("1", {"order_type": LIMIT, "limit_price": "99.7"}, "tick_size"),
        ("1", {"order_type": STOP, "stop_price": "101.2"}, "tick_size"),
        ("1", {"take_profit": "101.2"}, "tick_size"),
        ("0.2", {"order_type": LIMIT, "limit_price": "99.5"}, "min_value"),
        ("1", {"order_type": LIMIT}, "invalid_order"),
        ("1", {"limit_price": "99"}, "invalid_order"),
        ("1", {"order_type": STOP_LIMIT, "limit_price": "99"}, "invalid_order"),
        ("1", {"time_in_force": "opg"}, "unsupported"),
        ("1", {"time_in_force": "someday"}, "unsupported"),
        ("NaN", {}, "out_of_range"),
        ("-1", {}, "out_of_range"),
        ("1", {"order_type": LIMIT, "limit_price": "-1"}, "out_of_range"),
    ],
)
def test_what_does_not_fit_the_market_is_refused(quantity: str, plan: dict[str, Any], code: str) -> None:
    assert Market(Rules(instrument=GRID)).refusal(BUY, quantity, **plan) == code


def test_what_fits_the_market_to_the_last_step_is_taken() -> None:
    market = Market(Rules(instrument=GRID))
    market.must(BUY, "0.2")
    market.must(BUY, "10.00", LIMIT, limit_price="99.50")


def test_the_rest_of_a_position_can_be_closed_however_small_it_is() -> None:
    market = Market(Rules(instrument=GRID))
    market.must(BUY, "0.25")
    market.must(SELL, "0.2")
    assert market.refusal(SELL, "0.05") == "min_quantity"
    assert market.must(SELL, "0.05", reduce_only=True).state is OrderState.FILLED


def test_a_market_order_needs_a_price() -> None:
    assert Market(price=None).refusal(BUY, "1") == "no_price"


def test_a_market_holds_so_many_resting_orders_and_still_takes_market_orders() -> None:
    market = Market()
    for _ in range(MOST_OPEN):
        market.must(BUY, "1", LIMIT, limit_price="99")
    assert market.refusal(BUY, "1", LIMIT, limit_price="99") == "too_many_orders"
    market.must(SELL, "1")
    market.cancel("7")
    market.must(BUY, "1", LIMIT, limit_price="99")


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "1E+30"])
def test_a_price_out_of_range_is_no_price(price: str) -> None:
    market = Market()
    assert market.refusal(BUY, "1", price=price) == "out_of_range"
    with pytest.raises(ValueError, match="price"):
        market.tick(price)
