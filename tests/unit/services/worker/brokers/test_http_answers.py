from decimal import Decimal
from email.utils import formatdate

import pytest

from libs.common.domain.errors import BrokerThrottled
from libs.common.domain.ids import ClientOrderId
from services.worker.brokers.http_answers import LONGEST_RETRY_AFTER_MS, Answer, placed
from tests.support.clock import START_MS

NOW_S = START_MS // 1_000


def retry_after_ms(header: str, **others: str) -> int | None:
    answer = Answer(429, {"retry-after": header, **others}, b"")
    with pytest.raises(BrokerThrottled) as raised:
        placed(answer, ClientOrderId("a"), Decimal(1), now_ms=START_MS)
    return raised.value.retry_after_ms


def test_a_date_to_come_back_at_counts_from_now() -> None:
    assert retry_after_ms(formatdate(NOW_S + 30, usegmt=True)) == 30_000


def test_a_date_counts_from_the_answers_own_where_it_has_one() -> None:
    # The venue's clock is an hour ahead of ours.
    ahead_s = NOW_S + 3_600
    date = formatdate(ahead_s, usegmt=True)
    assert retry_after_ms(formatdate(ahead_s + 7, usegmt=True), date=date) == 7_000


def test_a_date_that_has_passed_means_at_once() -> None:
    assert retry_after_ms(formatdate(NOW_S - 60, usegmt=True)) == 0


def test_a_date_far_away_is_cut() -> None:
    assert retry_after_ms(formatdate(NOW_S + 10**8, usegmt=True)) == LONGEST_RETRY_AFTER_MS


@pytest.mark.parametrize("header", ["", "soon", "Thu, 99 Foo 2026 99:99:99 GMT", "1e3", "²"])
def test_what_is_neither_seconds_nor_a_date_says_nothing(header: str) -> None:
    assert retry_after_ms(header) is None
