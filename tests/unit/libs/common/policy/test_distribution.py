import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.distribution import EXACT_BELOW, Distribution, quantile

NUMBERS = st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=60)


def spread(*values: int) -> Distribution:
    found = Distribution()
    for value in values:
        found.add(value)
    return found


@pytest.mark.parametrize(
    ("values", "per_mille", "expected"),
    [
        ((7,), 1, 7),
        ((7,), 1_000, 7),
        ((4, 1, 3, 2), 500, 2),
        ((4, 1, 3, 2), 501, 3),
        (tuple(range(1, 101)), 990, 99),
        (tuple(range(1, 101)), 991, 100),
        ((-5, -1, 0), 500, -1),
        ((5, 5, 5, 9), 750, 5),
    ],
)
def test_a_percentile_is_the_smallest_number_that_so_many_are_not_above(
    values: tuple[int, ...], per_mille: int, expected: int
) -> None:
    assert spread(*values).percentile(per_mille) == expected


def test_nothing_counted_has_no_percentile() -> None:
    assert spread().percentile(500) is None
    assert (spread().count, spread().smallest, spread().largest) == (0, None, None)


@given(NUMBERS, st.integers(1, 1_000))
def test_a_percentile_is_exact_near_zero_and_a_2048th_off_at_most_elsewhere(
    values: list[int], per_mille: int
) -> None:
    exact = sorted(values)[-(-len(values) * per_mille // 1_000) - 1]

    found = spread(*values).percentile(per_mille)

    assert found is not None
    assert abs(found - exact) <= (0 if abs(exact) < EXACT_BELOW else abs(exact) / 2_048)


@given(NUMBERS)
def test_the_extremes_are_exact(values: list[int]) -> None:
    found = spread(*values)

    assert (found.smallest, found.largest, found.count) == (min(values), max(values), len(values))
    assert found.percentile(1_000) is not None
    assert found.percentile(1_000) <= max(values)  # type: ignore[operator]


@given(NUMBERS, NUMBERS, st.integers(1, 1_000))
def test_what_was_counted_apart_is_merged_as_if_it_had_been_counted_together(
    some: list[int], others: list[int], per_mille: int
) -> None:
    merged, together = spread(*some), spread(*some, *others)
    merged.merge(spread(*others))

    assert merged.percentile(per_mille) == together.percentile(per_mille)
    assert (merged.smallest, merged.largest, merged.count) == (
        together.smallest,
        together.largest,
        together.count,
    )


def test_any_number_of_numbers_takes_little_memory() -> None:
    assert len(spread(*range(200_000)).counts) <= EXACT_BELOW + 7 * EXACT_BELOW // 2


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.9, 0), ([5], 0.9, 5), (list(range(1, 11)), 0.9, 9), ([3, 1, 2], 0.5, 2), ([1, 2], 1.0, 2)],
)
def test_a_quantile_is_one_of_the_values(values: list[int], share: float, expected: int) -> None:
    assert quantile(values, share) == expected
