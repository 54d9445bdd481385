"""When refused posts count as a rise."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.rise import HISTORY_MS, Counts, Rate, RiseRules, counted, rate

WINDOW_MS = 600_000
RULES = RiseRules(window_ms=WINDOW_MS, factor=3.0, least=10)
START_MS = 1_000 * WINDOW_MS


def after(times: list[int], start_ms: int = START_MS) -> Counts:
    counts = Counts(window_ms=WINDOW_MS, since_ms=start_ms)
    for time in times:
        counts = counted(counts, time, WINDOW_MS)
    return counts


def steadily(count: int, windows: int) -> list[int]:
    return [START_MS + n * WINDOW_MS // count for n in range(count * windows)]


def test_below_the_least_nothing_is_a_rise() -> None:
    counts = after([START_MS + 100 * WINDOW_MS] * 9)

    assert not rate(counts, START_MS + 100 * WINDOW_MS + 1, RULES, is_raised=False).is_rising


def test_from_the_least_on_what_never_happened_before_is_a_rise() -> None:
    counts = after([START_MS + 100 * WINDOW_MS] * 10)

    found = rate(counts, START_MS + 100 * WINDOW_MS + 1, RULES, is_raised=False)

    assert found == Rate(10, 0, is_rising=True)


def test_what_always_happens_is_no_rise_and_three_times_as_much_is_one() -> None:
    times, now_ms = steadily(20, 50), START_MS + 50 * WINDOW_MS

    assert not rate(after(times), now_ms, RULES, is_raised=False).is_rising
    found = rate(after([*times, *[now_ms] * 60]), now_ms + WINDOW_MS - 1, RULES, is_raised=False)
    assert (found.usual, found.is_rising) == (20, True)


def test_a_rise_is_over_only_well_below_what_began_it() -> None:
    now_ms = START_MS + 100 * WINDOW_MS
    for count, goes_on in ((6, True), (4, False)):
        counts = after([now_ms] * count)
        assert rate(counts, now_ms + 1, RULES, is_raised=True).is_rising is goes_on


def test_the_window_before_counts_as_far_as_it_reaches_into_the_last_window() -> None:
    counts = after([START_MS] * 100)

    at = [
        rate(counts, START_MS + WINDOW_MS + part * WINDOW_MS // 4, RULES, is_raised=False).count
        for part in range(5)
    ]

    assert at == [100, 75, 50, 25, 0]


def test_a_window_of_another_length_begins_anew() -> None:
    counts = counted(after([START_MS] * 50), START_MS + 1, 1_000)

    assert counts == Counts(window_ms=1_000, since_ms=START_MS + 1, windows={(START_MS + 1) // 1_000: 1})
    assert not rate(after([START_MS] * 50), START_MS, RiseRules(1_000, 3.0, 10), is_raised=False).is_rising


def test_of_nothing_there_is_no_rise() -> None:
    assert rate(None, START_MS, RULES, is_raised=True) == Rate(0, 0, is_rising=False)


def test_after_a_clock_stepped_back_what_comes_counts_as_if_nothing_had_been_later() -> None:
    before = after([START_MS + HISTORY_MS * 2] * 50)
    now_ms = START_MS
    counts = before
    for _ in range(10):
        counts = counted(counts, now_ms, WINDOW_MS)

    assert rate(counts, now_ms + 1, RULES, is_raised=False) == Rate(10, 0, is_rising=True)


@given(st.lists(st.integers(0, 30 * HISTORY_MS // 7), max_size=200))
def test_what_is_kept_is_bounded_and_counts_what_came(offsets: list[int]) -> None:
    counts = after([START_MS + one for one in sorted(offsets)])

    assert len(counts.windows) <= HISTORY_MS // WINDOW_MS + 1
    if offsets:
        last = START_MS + max(offsets)
        assert counts.windows[last // WINDOW_MS] == sum(
            (START_MS + one) // WINDOW_MS == last // WINDOW_MS for one in offsets
        )
