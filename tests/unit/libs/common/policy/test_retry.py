import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.retry import backoff_ms


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 1_000_000), st.floats(0, 1))
def test_a_delay_lies_within_its_bounds(attempt: int, base_ms: int, cap_ms: int, share: float):
    bound = min(cap_ms, base_ms * 2 ** (attempt - 1))
    delay = backoff_ms(
        attempt, base_ms=base_ms, cap_ms=cap_ms, uniform=lambda low, high: low + share * (high - low)
    )
    assert 0 <= delay <= bound


@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 100), (2, 200), (3, 400), (6, 3_200), (7, 5_000), (100, 5_000), (10**9, 5_000)]
)
def test_bounds_double_up_to_the_cap(attempt: int, bound: int):
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    assert backoff_ms(attempt, base_ms=100, cap_ms=5_000, uniform=uniform) == bound
    assert asked == [(0, bound)]


@pytest.mark.parametrize("attempt", [0, -1])
def test_there_is_no_attempt_before_the_first(attempt: int):
    with pytest.raises(ValueError, match="attempt"):
        backoff_ms(attempt, base_ms=1, cap_ms=1, uniform=lambda low, high: high)
