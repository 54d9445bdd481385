from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, Alert, AlertContent
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderReport, OrderType, Side
from libs.common.wire import codec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.decimals(allow_nan=False, allow_infinity=False)
MAYBE_NUMBER = st.none() | NUMBER
MAYBE_TEXT = st.none() | TEXT
CONTENT = st.builds(
    AlertContent,
    dialect=TEXT,
    action=st.sampled_from(Action),
    symbol=TEXT,
    quantity=MAYBE_NUMBER,
    price=MAYBE_NUMBER,
    strategy=MAYBE_TEXT,
    sender_id=MAYBE_TEXT,
    fired_at_ms=st.none() | st.integers(0, 2**48),
)
ALERT = st.builds(
    Alert,
    alert_id=TEXT,
    webhook=TEXT,
    content=CONTENT,
    received_at_ms=st.integers(0, 2**48),
    accounts=st.lists(TEXT, max_size=3).map(tuple),
    raw=TEXT,
)
INSTRUCTION = st.builds(
    Instruction,
    alert_id=TEXT,
    account=TEXT,
    market=TEXT,
    action=st.sampled_from(Action),
    quantity=MAYBE_NUMBER,
    price=MAYBE_NUMBER,
    strategy=MAYBE_TEXT,
)
PLAN = st.builds(
    OrderPlan,
    side=st.sampled_from(Side),
    quantity=NUMBER,
    type=st.sampled_from(OrderType),
    limit_price=MAYBE_NUMBER,
    stop_price=MAYBE_NUMBER,
    take_profit=MAYBE_NUMBER,
    stop_loss=MAYBE_NUMBER,
    reduce_only=st.booleans(),
    time_in_force=MAYBE_TEXT,
    reference_price=MAYBE_NUMBER,
)
REPORT = st.builds(
    OrderReport,
    order_id=TEXT,
    state=st.sampled_from(OrderState),
    filled_quantity=NUMBER,
    average_price=MAYBE_NUMBER,
    fee=MAYBE_NUMBER,
    detail=MAYBE_TEXT,
)


def same(one: Any, other: Any) -> bool:
    """Equal in every digit: `Decimal("1.0") == Decimal("1.00")`, but they are not written alike."""
    return one == other and repr(one) == repr(other)


@given(ALERT)
def test_an_alert_comes_back_as_it_was(alert: Alert) -> None:
    assert same(codec.ALERT.decode(codec.ALERT.encode(alert)), alert)


@given(ALERT)
def test_the_strategy_that_is_read_alone_is_that_of_the_alert(alert: Alert) -> None:
    assert codec.strategy_of(codec.ALERT.encode(alert)) == alert.content.strategy


@given(INSTRUCTION)
def test_an_instruction_comes_back_as_it_was(instruction: Instruction) -> None:
    assert same(codec.INSTRUCTION.decode(codec.INSTRUCTION.encode(instruction)), instruction)


@given(PLAN)
def test_a_plan_comes_back_as_it_was(plan: OrderPlan) -> None:
    assert same(codec.ORDER_PLAN.decode(codec.ORDER_PLAN.encode(plan)), plan)


@given(REPORT)
def test_a_report_comes_back_as_it_was(report: OrderReport) -> None:
    assert same(codec.ORDER_REPORT.decode(codec.ORDER_REPORT.encode(report)), report)


@pytest.mark.parametrize(
    "decode",
    [
        codec.ALERT.decode,
        codec.strategy_of,
        codec.INSTRUCTION.decode,
        codec.ORDER_PLAN.decode,
        codec.ORDER_REPORT.decode,
    ],
)
@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"nonsense", b"\xff", b"[" * 100_000, b'{"action":"hold"}']
)
def test_what_cannot_be_decoded_is_one_corrupt_record(decode: Callable[[bytes], object], raw: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode(raw)


def test_numbers_are_stored_as_texts() -> None:
    assert b'"0.10"' in codec.ORDER_PLAN.encode(OrderPlan(side=Side.BUY, quantity=Decimal("0.10")))
