from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.policy.reconciliation import (
    FORGOTTEN_MS,
    IN_DOUBT,
    SETTLING_MS,
    Agreed,
    Base,
    Drifted,
    FillEntry,
    Look,
    Suspected,
    Unsettled,
    bought_quantity,
    expected_quantity,
    judge,
    next_base,
    surprise,
)

BTC = Market("BTC")
NOW = 1_780_000_000_000
LOOK = Look(at_ms=NOW, venue=Decimal(3), expected=Decimal(3), fills_id="5-0", last_fill_ms=0, is_still=True)
DIFFERS = replace(LOOK, expected=Decimal(2))
quantities = st.decimals(-(10**6), 10**6, allow_nan=False, places=18)


def fill(entry_id: str, quantity: Decimal | str) -> FillEntry:
    return FillEntry(entry_id, BTC, Decimal(quantity))


@given(quantities, st.lists(quantities, max_size=12), st.integers(0, 12))
def test_what_is_expected_is_the_base_and_every_later_fill_exactly(base, sums, counted):
    fills = [fill(f"{number + 1}-0", one) for number, one in enumerate(sums)]
    found = expected_quantity(Base(quantity=base, fills_id=f"{counted}-0", active_at_ms=0), fills)
    later = sum(int(one.scaleb(18)) for one in sums[counted:])
    assert int(found.scaleb(18)) == int(base.scaleb(18)) + later


def test_what_was_sold_pays_no_fee_in_the_coin():
    assert bought_quantity([fill("1-0", "1.5"), fill("2-0", "-7"), fill("3-0", "2")]) == Decimal("3.5")


def test_fills_are_told_apart_by_their_ids_as_numbers():
    base = Base(quantity=Decimal(0), fills_id="9-9", active_at_ms=0)
    fills = [fill("9-10", "1"), fill("10-0", "2"), fill("9-8", "4")]
    assert expected_quantity(base, fills) == 3


@pytest.mark.parametrize(
    ("look", "before", "verdict"),
    [
        (LOOK, None, Agreed()),
        (LOOK, DIFFERS, Agreed()),
        (replace(LOOK, expected=None), None, Agreed()),
        (DIFFERS, None, Suspected()),
        (DIFFERS, DIFFERS, Drifted(Decimal(2), Decimal(3))),
        # The fee of what was bought, in the coin itself; fees only take away.
        (replace(LOOK, expected=Decimal("3.02"), bought=Decimal(2)), None, Agreed()),
        (replace(LOOK, expected=Decimal("3.0200000001"), bought=Decimal(2)), None, Suspected()),
        (replace(LOOK, expected=Decimal("2.99"), bought=Decimal(2)), None, Suspected()),
        # Something is under way.
        (replace(LOOK, is_still=False), None, Unsettled()),
        (replace(DIFFERS, is_still=False), None, Unsettled()),
        (replace(DIFFERS, is_still=False), DIFFERS, Unsettled()),
        (replace(DIFFERS, last_fill_ms=NOW - SETTLING_MS + 1), None, Unsettled()),
        (replace(DIFFERS, last_fill_ms=NOW - SETTLING_MS), None, Suspected()),
        # The venue, or what we know, has moved between the looks.
        (replace(DIFFERS, venue=Decimal(4)), DIFFERS, Unsettled()),
        (replace(DIFFERS, expected=Decimal(1)), DIFFERS, Unsettled()),
        (replace(DIFFERS, is_followed_up=False), DIFFERS, Unsettled()),
    ],
)
def test_a_difference_counts_only_where_it_stands_in_two_looks_with_nothing_under_way(look, before, verdict):
    assert judge(look, before) == verdict


def test_a_drift_is_told_in_plain_numbers():
    assert Drifted(Decimal("1E-18"), Decimal("1E+3")).words == (
        "expected 0.000000000000000001, the venue says 1000"
    )


def test_after_a_look_the_venues_word_is_counted_from():
    before = Base(quantity=Decimal(2), fills_id="4-0", active_at_ms=NOW - 9_000)
    after = next_base(replace(DIFFERS, last_fill_ms=NOW - 4_000), before)
    assert after == Base(quantity=Decimal(3), fills_id="5-0", active_at_ms=NOW)


@pytest.mark.parametrize(
    ("active_ms", "last_fill_ms", "is_kept"),
    [
        (NOW - FORGOTTEN_MS - 1, 0, False),
        (NOW - FORGOTTEN_MS, 0, True),
        (NOW - FORGOTTEN_MS - 1, NOW - FORGOTTEN_MS, True),
    ],
)
def test_a_market_with_nothing_open_is_forgotten_a_day_after_its_last_fill(active_ms, last_fill_ms, is_kept):
    before = Base(quantity=Decimal(0), fills_id="4-0", active_at_ms=active_ms)
    flat = replace(LOOK, venue=Decimal(0), expected=Decimal(0), last_fill_ms=last_fill_ms)
    assert (next_base(flat, before) is not None) == is_kept
    assert next_base(replace(flat, venue=Decimal(-1)), before) is not None
    assert next_base(flat, None) is not None


@pytest.mark.parametrize("state", [*OrderState, None])
def test_an_order_that_rests_surprises_unless_our_records_have_it_open(state: OrderState | None):
    words = surprise(ClientOrderId("abc"), state)
    assert (words is None) == (state in IN_DOUBT)
    assert words is None or "abc" in words
