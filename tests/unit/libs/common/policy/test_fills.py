"""Fills on paper, by properties and by example."""

from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.order import Side
from libs.common.policy.exact import MOST_DECIMALS
from libs.common.policy.fills import LARGEST, Fill, Position, Unfillable, fill

ZERO = Decimal(0)


@pytest.fixture(autouse=True, scope="module")
def _exact_sums() -> Iterator[None]:
    """Lets the tests' own sums keep every digit; Python's default keeps 28."""
    with localcontext(prec=200):
        yield


def numbers(decimals: int = 9) -> st.SearchStrategy[Decimal]:
    return st.decimals(
        min_value=Decimal("1e-9"), max_value=Decimal(10) ** 9, places=decimals, allow_nan=False
    ).filter(lambda number: number > 0)


TRADES = st.lists(st.tuples(st.sampled_from(Side), numbers(), numbers()), min_size=1, max_size=12)
BPS = st.decimals(min_value=0, max_value=500, places=2)


def trade(
    position: Position,
    side: Side,
    quantity: str | Decimal,
    price: str | Decimal,
    slippage: str | Decimal = "0",
    fee: str | Decimal = "0",
) -> Fill[Position]:
    filled = fill(
        position,
        side,
        Decimal(quantity),
        Decimal(price),
        slippage_bps=Decimal(slippage),
        fee_bps=Decimal(fee),
    )
    assert isinstance(filled, Fill)
    return filled


def shown(position: Position) -> tuple[str, str, str]:
    """Return quantity, average price and realised profit."""
    return str(position.quantity), str(position.average_price), str(position.realised)


@given(TRADES, BPS, BPS)
def test_cash_is_profit_less_fees_less_what_the_open_quantity_cost(
    trades: list[tuple[Side, Decimal, Decimal]], slippage: Decimal, fee: Decimal
) -> None:
    position = Position()
    for side, quantity, price in trades:
        position = trade(position, side, quantity, price, slippage, fee).position
        assert position.cash == position.realised - position.fees - position.cost


@given(TRADES, BPS, BPS)
def test_no_trade_makes_or_loses_money_but_for_the_fee(
    trades: list[tuple[Side, Decimal, Decimal]], slippage: Decimal, fee: Decimal
) -> None:
    position = Position()
    for side, quantity, price in trades:
        filled = trade(position, side, quantity, price, slippage, fee)
        worth_before = position.cash + position.quantity * filled.price
        worth_after = filled.position.cash + filled.position.quantity * filled.price
        assert worth_after == worth_before - filled.fee
        position = filled.position


@given(TRADES)
def test_the_quantity_is_the_signed_sum_to_the_last_digit(
    trades: list[tuple[Side, Decimal, Decimal]],
) -> None:
    position = Position()
    for side, quantity, price in trades:
        position = trade(position, side, quantity, price).position
    assert position.quantity == sum(q if side is Side.BUY else -q for side, q, _ in trades)


@given(TRADES)
def test_quantity_average_and_profit_are_those_of_exact_fractions(
    trades: list[tuple[Side, Decimal, Decimal]],
) -> None:
    position, held, average, realised = Position(), Fraction(0), Fraction(0), Fraction(0)
    for side, quantity, price in trades:
        position = trade(position, side, quantity, price).position
        signed, paid = Fraction(quantity if side is Side.BUY else -quantity), Fraction(price)
        if held * signed >= 0:
            average = (held * average + signed * paid) / (held + signed)
        else:
            closed = min(abs(signed), abs(held)) * (1 if held > 0 else -1)
            realised += closed * (paid - average)
            average = paid if abs(signed) > abs(held) else average
        held += signed
    # Each reduction may round the cost of what it closes in the last decimal.
    rounding = len(trades) * Fraction(1, 10**MOST_DECIMALS)
    assert Fraction(position.quantity) == held
    assert abs(Fraction(position.realised) - realised) <= rounding
    if position.average_price is None:
        assert held == position.cost == 0
    else:
        assert abs(Fraction(position.average_price) - average) <= rounding * (1 + 1 / abs(held))


@given(TRADES, BPS, BPS)
def test_the_callers_own_decimal_context_changes_nothing(
    trades: list[tuple[Side, Decimal, Decimal]], slippage: Decimal, fee: Decimal
) -> None:
    outcomes = []
    for digits in (5, 200):
        position = Position()
        with localcontext(prec=digits):
            for side, quantity, price in trades:
                position = trade(position, side, quantity, price, slippage, fee).position
            outcomes.append((position, position.average_price))
    assert outcomes[0] == outcomes[1]


@given(TRADES, BPS)
def test_a_flat_position_has_no_cost_and_all_its_cash_is_profit_less_fees(
    trades: list[tuple[Side, Decimal, Decimal]], fee: Decimal
) -> None:
    position = Position()
    for side, quantity, price in trades:
        position = trade(position, side, quantity, price, fee=fee).position
    if position.quantity:
        side = Side.SELL if position.quantity > 0 else Side.BUY
        position = trade(position, side, abs(position.quantity), Decimal(7), fee=fee).position
    assert not position.quantity
    assert not position.cost
    assert position.average_price is None
    assert position.cash == position.realised - position.fees


@given(TRADES)
def test_cost_has_the_sign_of_what_is_held(trades: list[tuple[Side, Decimal, Decimal]]) -> None:
    position = Position()
    for side, quantity, price in trades:
        position = trade(position, side, quantity, price).position
        assert position.cost * position.quantity >= 0
        assert (position.quantity == 0) <= (position.cost == 0)


@given(numbers(), BPS)
def test_slippage_is_never_to_the_traders_advantage(price: Decimal, slippage: Decimal) -> None:
    assert trade(Position(), Side.BUY, "1", price, slippage).price >= price
    assert trade(Position(), Side.SELL, "1", price, slippage).price <= price


def test_a_buy_pays_slippage_on_top_and_a_sale_gets_less() -> None:
    assert str(trade(Position(), Side.BUY, "1", "100", "5").price) == "100.05"
    assert str(trade(Position(), Side.SELL, "1", "100", "5").price) == "99.95"


def test_the_fee_is_a_share_of_the_value_at_the_fill_price() -> None:
    filled = trade(Position(), Side.BUY, "2", "100", "100", "10")
    assert (str(filled.price), str(filled.fee)) == ("101", "0.202")


def test_adding_to_a_position_averages_its_price() -> None:
    position = trade(trade(Position(), Side.BUY, "1", "100").position, Side.BUY, "3", "200").position
    assert shown(position) == ("4", "175", "0")


def test_reducing_a_long_realises_a_share_and_keeps_the_average() -> None:
    position = trade(trade(Position(), Side.BUY, "4", "100").position, Side.SELL, "1", "110").position
    assert shown(position) == ("3", "100", "10")


def test_reducing_a_short_realises_what_it_was_bought_back_cheaper() -> None:
    position = trade(trade(Position(), Side.SELL, "2", "100").position, Side.BUY, "1", "90").position
    assert shown(position) == ("-1", "100", "10")


def test_a_flip_closes_at_a_profit_and_opens_at_the_new_price() -> None:
    position = trade(trade(Position(), Side.BUY, "2", "100").position, Side.SELL, "5", "120").position
    assert shown(position) == ("-3", "120", "40")
    assert position.cash == -200 + 600


def test_the_last_price_is_the_markets_without_slippage() -> None:
    assert trade(Position(), Side.BUY, "1", "100", "50").position.last_price == 100


def test_numbers_carry_neither_exponents_nor_trailing_zeros() -> None:
    position = trade(Position(), Side.BUY, "1000.00", "10.0", fee="10").position
    assert [str(n) for n in (position.quantity, position.cost, position.cash)] == ["1000", "10000", "-10010"]


@pytest.mark.parametrize("number", ["0", "-1", "NaN", "Infinity", "1E-25", str(LARGEST + 1), "1E+400"])
def test_a_quantity_or_price_out_of_range_is_refused(number: str) -> None:
    for quantity, price in ((Decimal(number), Decimal(1)), (Decimal(1), Decimal(number))):
        refused = fill(Position(), Side.BUY, quantity, price, slippage_bps=ZERO, fee_bps=ZERO)
        assert isinstance(refused, Unfillable)
        assert refused.code == "out_of_range"


def test_the_largest_and_finest_numbers_stay_exact() -> None:
    fine = Decimal("1E-24")
    long = trade(Position(), Side.BUY, LARGEST, LARGEST).position
    after = trade(trade(long, Side.SELL, fine, fine).position, Side.BUY, fine, fine).position
    assert after.quantity == LARGEST
    assert after.cash == long.cash == -(LARGEST * LARGEST)


def test_a_sale_that_would_slip_to_nothing_is_refused() -> None:
    refused = fill(
        Position(), Side.SELL, Decimal(1), Decimal(100), slippage_bps=Decimal(10_000), fee_bps=ZERO
    )
    assert isinstance(refused, Unfillable)
