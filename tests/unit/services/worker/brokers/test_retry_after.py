from email.utils import formatdate

import pytest

from services.worker.brokers.retry_after import LONGEST_RETRY_AFTER_MS, retry_after_ms
from tests.support.clock import START_MS

NOW_S = START_MS // 1_000


def wait_ms(header: str, **others: str) -> int | None:
    return retry_after_ms({"retry-after": header, **others}, START_MS)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("0", 0), ("7", 7_000), (" 7 ", 7_000), ("9" * 30, LONGEST_RETRY_AFTER_MS)],
)
def test_seconds_to_wait_are_taken_up_to_a_day(header: str, expected: int) -> None:
    assert wait_ms(header) == expected


def test_a_date_to_come_back_at_counts_from_now() -> None:
    assert wait_ms(formatdate(NOW_S + 30, usegmt=True)) == 30_000


def test_a_date_counts_from_the_answers_own_where_it_has_one() -> None:
    # The venue's clock is an hour ahead of ours.
    ahead_s = NOW_S + 3_600
    date = formatdate(ahead_s, usegmt=True)
    assert wait_ms(formatdate(ahead_s + 7, usegmt=True), date=date) == 7_000


def test_a_date_that_has_passed_means_at_once() -> None:
    assert wait_ms(formatdate(NOW_S - 60, usegmt=True)) == 0


def test_a_date_far_away_is_cut() -> None:
    assert wait_ms(formatdate(NOW_S + 10**8, usegmt=True)) == LONGEST_RETRY_AFTER_MS


@pytest.mark.parametrize("header", ["", "soon", "Thu, 99 Foo 2026 99:99:99 GMT", "1e3", "²"])
def test_what_is_neither_seconds_nor_a_date_says_nothing(header: str) -> None:
    assert wait_ms(header) is None
