"""Parts of orders, and what may be reduced."""

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.order import Side
from libs.common.domain.venue import FINEST_STEP
from libs.common.policy.book import Book
from libs.common.policy.exact import is_multiple
from libs.common.policy.matching import draw_part, reducible

STEPS = st.sampled_from([None, Decimal("0.001"), Decimal("0.5"), Decimal(1), Decimal(3)])


@given(st.integers(1, 10**9), st.floats(0, 1), STEPS, st.integers(0, 99))
def test_a_part_is_more_than_nothing_at_most_all_and_a_multiple_of_the_step(
    steps: int, share: float, step: Decimal | None, seed: int
) -> None:
    whole = steps * (step or FINEST_STEP)
    part = draw_part(whole, whole, share, step, random.Random(seed).uniform)
    assert 0 < part <= whole
    assert is_multiple(part, step or FINEST_STEP)


def test_one_step_is_never_parted() -> None:
    one = Decimal("0.5")
    assert draw_part(one, one, 1.0, one, random.Random(1).uniform) == one


def test_without_a_share_the_dice_are_not_touched() -> None:
    def no_dice(low: float, high: float) -> float:
        raise AssertionError(f"no dice were asked for, {low} to {high}")

    assert draw_part(Decimal(5), Decimal(5), 0.0, None, no_dice) == 5


@pytest.mark.parametrize(
    ("held", "side", "expected"),
    [
        (2, Side.SELL, 2),
        (2, Side.BUY, 0),
        (-3, Side.BUY, 3),
        (-3, Side.SELL, 0),
        (0, Side.BUY, 0),
        (0, Side.SELL, 0),
    ],
)
def test_only_the_other_side_reduces_and_no_more_than_is_held(held: int, side: Side, expected: int) -> None:
    assert reducible(Book(quantity=Decimal(held)), side) == expected


def test_what_can_be_reduced_is_told_to_the_last_digit() -> None:
    held = Decimal("1234567890123456789012345678901234567.899")
    assert reducible(Book(quantity=held.copy_negate()), Side.BUY) == held
    assert reducible(Book(quantity=held), Side.SELL) == held
