from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_prices import OrderPrices, order_prices, order_type

TAKES = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit",),
    OrderType.STOP: ("stop",),
    OrderType.STOP_LIMIT: ("limit", "stop"),
}
PRICES = {"limit": "5", "stop": "6"}


def of(values: dict[str, str]) -> Fields:
    return Fields.of_pairs(values.items())


def prices(values: dict[str, str], kind: OrderType, **how: Any) -> OrderPrices:
    return order_prices(of(values), kind, limit="limit", stop="stop", **how)


def refused(values: dict[str, str], kind: OrderType, **how: Any) -> tuple[str, str | None]:
    with pytest.raises(AdmissionError) as caught:
        prices(values, kind, **how)
    assert caught.value.status == 422
    return caught.value.code, caught.value.field


@pytest.mark.parametrize("zero_is_none", [False, True])
@pytest.mark.parametrize("kind", list(OrderType))
def test_an_order_takes_the_prices_of_its_type_and_no_others(kind: OrderType, zero_is_none: bool) -> None:
    values = {name: PRICES[name] for name in TAKES[kind]}
    found = prices(values, kind, zero_is_none=zero_is_none)
    assert (found.limit, found.stop) == tuple(
        Decimal(PRICES[name]) if name in values else None for name in ("limit", "stop")
    )
    for name in ("limit", "stop"):
        if name in values:
            without = {one: price for one, price in values.items() if one != name}
            assert refused(without, kind, zero_is_none=zero_is_none) == ("missing_field", name)
        else:
            beside = values | {name: PRICES[name]}
            assert refused(beside, kind, zero_is_none=zero_is_none) == ("contradiction", name)


@pytest.mark.parametrize("nothing", ["0", "0.00", ""])
def test_0_is_no_price_where_a_tool_writes_it_so(nothing: str) -> None:
    market = prices({"limit": nothing, "stop": nothing}, OrderType.MARKET, zero_is_none=True)
    assert market == OrderPrices(None, None)
    assert refused({"limit": nothing}, OrderType.LIMIT, zero_is_none=True) == ("missing_field", "limit")
    assert refused({"limit": nothing}, OrderType.MARKET) == ("invalid_number", "limit")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, OrderType.MARKET),
        ({"type": ""}, OrderType.MARKET),
        ({"type": "Limit"}, OrderType.LIMIT),
        ({"type": "STOP"}, OrderType.STOP),
        ({"type": "stop_limit"}, OrderType.STOP_LIMIT),
    ],
)
def test_the_type_is_a_word_and_market_unless_said(values: dict[str, str], kind: OrderType) -> None:
    assert order_type(of(values), "type") is kind


@pytest.mark.parametrize(("word", "code"), [("trailing_stop", "not_supported"), ("iceberg", "invalid_value")])
def test_a_type_that_cannot_be_placed_is_refused(word: str, code: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        order_type(of({"type": word}), "type")
    assert (caught.value.code, caught.value.field) == (code, "type")
