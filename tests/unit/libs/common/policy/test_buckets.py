import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.buckets import estimate

BOUNDS = (1.0, 2.0, 5.0, 10.0, math.inf)


def buckets(*values: float) -> dict[float, float]:
    return {bound: sum(value <= bound for value in values) for bound in BOUNDS}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ((0.3, 0.4), 0.5, 0.5),
        ((1.5, 1.5, 1.5, 1.5), 0.5, 1.5),
        ((0.5, 1.5, 3, 4), 0.75, 3.5),
        ((0.5,) * 99 + (7,), 0.99, 1.0),
        ((0.5,) * 98 + (7, 7), 0.99, 7.5),
        ((20, 30), 0.5, 10.0),
        ((), 0.5, None),
    ],
)
def test_values_are_taken_to_be_spread_evenly_within_a_bucket(
    values: tuple[float, ...], share: float, expected: float | None
) -> None:
    assert estimate(buckets(*values), share) == (None if expected is None else pytest.approx(expected))


def test_no_bucket_tells_nothing() -> None:
    assert estimate({}, 0.5) is None


@given(st.lists(st.floats(0.001, 20), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.9, 0.99]))
def test_an_estimate_lies_in_the_bucket_of_the_true_percentile(values: list[float], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    at = bisect_left(BOUNDS, exact)

    found = estimate(buckets(*values), share)

    assert found is not None
    assert (0, *BOUNDS)[at] <= found <= min(BOUNDS[at], BOUNDS[-2]) + 1e-9


@given(st.dictionaries(st.sampled_from(BOUNDS), st.integers(0, 50)), st.floats(0.01, 0.99))
def test_histograms_with_unlike_bounds_that_were_added_up_still_give_a_bound(
    unlike: dict[float, int], share: float
) -> None:
    found = estimate(dict(unlike), share)

    assert found is None or 0 <= found <= BOUNDS[-2]
