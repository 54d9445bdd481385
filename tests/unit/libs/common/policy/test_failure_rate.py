from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.failure_rate import FailureRate


def test_a_share_of_failures_is_too_high_from_its_bound_on():
    rate = FailureRate(share=0.7, at_least=10, window_ms=1_000)
    for n in range(10):
        rate.add(n, is_failure=n >= 3)
    assert rate.is_too_high
    rate.add(11, is_failure=False)
    assert not rate.is_too_high


def test_a_few_outcomes_say_nothing():
    rate = FailureRate(share=0.5, at_least=10, window_ms=1_000)
    for n in range(9):
        rate.add(n, is_failure=True)
        assert not rate.is_too_high
    rate.add(9, is_failure=True)
    assert rate.is_too_high


def test_outcomes_leave_with_the_window():
    rate = FailureRate(share=0.5, at_least=2, window_ms=100)
    rate.add(0, is_failure=True)
    rate.add(1, is_failure=True)
    assert rate.is_too_high
    rate.add(100, is_failure=False)
    assert rate.is_too_high  # the one of 1 still counts, the one of 0 does not
    rate.add(101, is_failure=False)
    assert not rate.is_too_high


def test_after_clear_nothing_counts():
    rate = FailureRate(share=0.5, at_least=1, window_ms=100)
    rate.add(0, is_failure=True)
    assert rate.is_too_high
    rate.clear()
    assert not rate.is_too_high
    rate.add(1, is_failure=False)
    assert not rate.is_too_high


def test_without_outcomes_nothing_is_too_high():
    assert not FailureRate(share=0.1, at_least=1, window_ms=1).is_too_high


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60),
    st.floats(0.05, 1),
    st.integers(1, 8),
    st.integers(1, 120),
)
def test_it_says_what_a_recount_of_the_window_says(
    steps: list[tuple[int, bool]], share: float, at_least: int, window_ms: int
):
    rate = FailureRate(share=share, at_least=at_least, window_ms=window_ms)
    told: deque[tuple[int, bool]] = deque()
    now_ms = 0
    for step_ms, is_failure in steps:
        now_ms += step_ms
        rate.add(now_ms, is_failure=is_failure)
        told.append((now_ms, is_failure))
        inside = [failed for at_ms, failed in told if at_ms > now_ms - window_ms]
        assert rate.is_too_high == (len(inside) >= at_least and sum(inside) >= share * len(inside))
