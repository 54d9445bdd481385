"""How far two clocks are apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.clock_skew import Sample, is_skewed, skew_ms


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=5),
)
def test_the_skew_is_told_to_half_of_the_quickest_trip(skew: int, trips: list[tuple[int, int]]) -> None:
    samples = [Sample(10**12, 10**12 + there + skew, 10**12 + there + back) for there, back in trips]

    found = skew_ms(samples)

    assert found is not None
    assert abs(found - skew) <= min(there + back for there, back in trips) / 2


def test_samples_during_which_our_clock_stepped_back_tell_nothing() -> None:
    assert skew_ms([Sample(2_000, 1_500, 1_000)]) is None
    assert skew_ms([Sample(2_000, 1_500, 1_000), Sample(1_000, 1_010, 1_020)]) == 0


@pytest.mark.parametrize(
    ("skew", "was_skewed", "expected"),
    [
        (1_001, False, True),
        (-1_001, False, True),
        (1_000, False, False),
        (501, True, True),
        (-500, True, False),
    ],
)
def test_clocks_are_together_again_only_well_within_the_bound(
    skew: float, was_skewed: bool, expected: bool
) -> None:
    assert is_skewed(skew, most_ms=1_000, was_skewed=was_skewed) is expected
