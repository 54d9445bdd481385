"""What goes wrong, how often, and how long answers take."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.faults import Fault, Faults, Latency


def no_dice(low: float, high: float) -> float:
    raise AssertionError(f"no dice were asked for, {low} to {high}")


def test_without_faults_the_dice_are_not_touched() -> None:
    assert Faults().draw(no_dice) is None
    assert Faults(refused=1.0).draw_for_look_up(no_dice) is None


@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_of_share_one_always_happens(fault: Fault) -> None:
    faults = Faults(**{fault.value: 1.0})  # type: ignore[arg-type]
    assert faults.draw(random.Random(1).uniform) is fault
    assert faults.share(fault) == 1


@pytest.mark.parametrize(
    ("thrown", "expected"),
    [
        (0.0, Fault.TIMEOUT_BEFORE),
        (0.29, Fault.TIMEOUT_BEFORE),
        (0.3, Fault.THROTTLED),
        (0.49, Fault.THROTTLED),
        (0.5, None),
    ],
)
def test_each_fault_has_its_share_of_the_dice(thrown: float, expected: Fault | None) -> None:
    faults = Faults(timeout_before=0.3, throttled=0.2)
    assert faults.draw(lambda low, high: thrown) is expected


def test_a_request_that_only_asks_meets_no_fault_of_orders() -> None:
    faults = Faults(timeout_after=0.4, throttled=0.3, maintenance=0.3)
    uniform = random.Random(1).uniform
    found = Counter(faults.draw_for_look_up(uniform) for _ in range(500))
    assert set(found) == {Fault.THROTTLED, Fault.MAINTENANCE, None}


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 99))
def test_a_latency_lies_between_its_bounds(least_ms: int, more_ms: int, seed: int) -> None:
    latency = Latency(least_ms=least_ms, most_ms=least_ms + more_ms)
    assert least_ms <= latency.draw_ms(random.Random(seed).uniform) <= least_ms + more_ms


def test_most_answers_take_little_more_than_the_least() -> None:
    uniform = random.Random(1).uniform
    drawn = sorted(Latency(least_ms=100, most_ms=1_100).draw_ms(uniform) for _ in range(999))
    assert drawn[499] < 350
    assert drawn[-1] > 1_000


def test_a_fixed_latency_needs_no_dice() -> None:
    assert Latency(least_ms=70).draw_ms(no_dice) == 70
