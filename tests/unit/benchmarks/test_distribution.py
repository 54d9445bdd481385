import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.distribution import Distribution, percentile


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (90, 90), (99, 99), (99.1, 100), (100, 100)]
)
def test_a_percentile_of_one_to_a_hundred_is_its_own_number(percent, expected) -> None:
    assert percentile(range(1, 101), percent) == expected


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 100))
def test_a_percentile_occurred_and_is_not_exceeded_by_so_many(values, percent) -> None:
    found = percentile(sorted(values), percent)

    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-6


def test_a_distribution_tells_its_highest_value_and_a_rising_curve() -> None:
    found = Distribution.of([5.0, 1.0, 3.0])

    assert (found.count, found.p50, found.p99, found.highest) == (3, 3.0, 5.0, 5.0)
    assert found.curve[0] == (0, 1.0)
    assert found.curve[-1] == (100, 5.0)
    assert found.curve == sorted(found.curve)


def test_nothing_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Distribution.of([])
